-- +goose Up
-- Everything that the catalog names. The one METASTORE row is its own parent and
-- the parent of catalogs, storage credentials and external locations.
CREATE TABLE securable (
  id TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  parent_id TEXT NOT NULL REFERENCES securable (id),
  name TEXT NOT NULL, -- lower case
  owner TEXT NOT NULL,
  table_type TEXT NOT NULL DEFAULT '', -- MANAGED, EXTERNAL or VIEW; of volumes MANAGED or EXTERNAL
  location TEXT NOT NULL DEFAULT '',
  doc TEXT NOT NULL, -- all other fields, as received
  created_at BIGINT NOT NULL,
  created_by TEXT NOT NULL,
  updated_at BIGINT NOT NULL,
  updated_by TEXT NOT NULL,
  version BIGINT NOT NULL DEFAULT 1,
  UNIQUE (parent_id, kind, name)
);
CREATE INDEX securable_location ON securable (location);
-- What was granted; securable is KIND:id, or KIND:full name for what another
-- area keeps (models). Stored and shown, not enforced.
CREATE TABLE catalog_grant (
  securable TEXT NOT NULL,
  principal TEXT NOT NULL,
  privilege TEXT NOT NULL,
  PRIMARY KEY (securable, principal, privilege)
);
CREATE TABLE catalog_tag (
  securable TEXT NOT NULL,
  tag_key TEXT NOT NULL,
  tag_value TEXT NOT NULL,
  PRIMARY KEY (securable, tag_key)
);
-- Ids and places reserved for managed tables that are being written.
CREATE TABLE catalog_staging (
  id TEXT PRIMARY KEY,
  full_name TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  created_by TEXT NOT NULL
);
-- Folders still to be moved, and those whose rows are gone still to be removed
-- (target ''), relative to the state directory, in the order of id. Worked off
-- after the commit and at every start.
CREATE TABLE folder_move (id BIGINT PRIMARY KEY, source TEXT NOT NULL, target TEXT NOT NULL);
