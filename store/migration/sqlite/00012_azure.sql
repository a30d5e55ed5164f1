-- +goose Up
-- What Entra calls a principal; '' for those made before, which have one made
-- of their client id or number.
ALTER TABLE principal ADD COLUMN object_id TEXT NOT NULL DEFAULT '';
CREATE UNIQUE INDEX principal_object ON principal (object_id) WHERE object_id <> '';
-- Graph shows who a secret was made under, and its first letters.
ALTER TABLE principal_secret ADD COLUMN display_name TEXT NOT NULL DEFAULT '';
ALTER TABLE principal_secret ADD COLUMN hint TEXT NOT NULL DEFAULT '';
ALTER TABLE principal_secret ADD COLUMN owner TEXT NOT NULL DEFAULT '';
-- Whose tokens of which issuer a service principal signs in with, instead of a
-- secret. surface says which API it belongs to: graph or account.
CREATE TABLE federation (
  id TEXT PRIMARY KEY,
  principal_id BIGINT NOT NULL REFERENCES principal (id),
  surface TEXT NOT NULL,
  name TEXT NOT NULL,
  issuer TEXT NOT NULL,
  subject TEXT NOT NULL,
  subject_claim TEXT NOT NULL,
  audiences TEXT NOT NULL,
  keys TEXT NOT NULL,
  description TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  UNIQUE (principal_id, surface, name)
);

ALTER TABLE workspace ADD COLUMN removed BOOLEAN NOT NULL DEFAULT false;
ALTER TABLE storage_account ADD COLUMN key2_generation BIGINT NOT NULL DEFAULT 1;
ALTER TABLE storage_account ADD COLUMN shared_key BOOLEAN NOT NULL DEFAULT true;
-- A removed account's row stays until its files are gone.
ALTER TABLE storage_account ADD COLUMN removed BOOLEAN NOT NULL DEFAULT false;

-- Resources of the management API. Ids are compared in lower case: id_key.
CREATE TABLE arm_resource (
  id_key TEXT PRIMARY KEY,
  id TEXT NOT NULL,
  subscription TEXT NOT NULL,
  resource_group TEXT NOT NULL,
  type TEXT NOT NULL,
  name TEXT NOT NULL,
  document TEXT NOT NULL,
  created_by TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  version BIGINT NOT NULL DEFAULT 1
);
CREATE INDEX arm_resource_group ON arm_resource (subscription, resource_group, type);
CREATE INDEX arm_resource_type ON arm_resource (type, name);
CREATE TABLE role_assignment (
  id_key TEXT PRIMARY KEY,
  id TEXT NOT NULL,
  scope_key TEXT NOT NULL,
  role TEXT NOT NULL,
  object_id TEXT NOT NULL,
  document TEXT NOT NULL,
  created_by TEXT NOT NULL,
  created_at BIGINT NOT NULL
);
CREATE INDEX role_assignment_object ON role_assignment (object_id);
CREATE TABLE vault_secret (
  vault TEXT NOT NULL,
  name TEXT NOT NULL,
  version TEXT NOT NULL,
  sealed BLOB NOT NULL,
  document TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  deleted_at BIGINT NOT NULL DEFAULT 0,
  PRIMARY KEY (vault, name, version)
);

-- Objects of the directory that are not principals by themselves, and what
-- Graph keeps of those that are.
CREATE TABLE graph_object (
  id TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  app_id TEXT NOT NULL,
  principal_id BIGINT NOT NULL,
  document TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  version BIGINT NOT NULL DEFAULT 1
);
CREATE INDEX graph_object_app ON graph_object (app_id, kind);
-- rel is owner or member.
CREATE TABLE graph_link (
  object_id TEXT NOT NULL,
  rel TEXT NOT NULL,
  target_id TEXT NOT NULL,
  PRIMARY KEY (object_id, rel, target_id)
);
CREATE INDEX graph_link_target ON graph_link (target_id, rel);
-- App roles of a resource's service principal that a principal has.
CREATE TABLE graph_grant (
  id TEXT PRIMARY KEY,
  object_id TEXT NOT NULL,
  resource_id TEXT NOT NULL,
  app_role TEXT NOT NULL,
  created_at BIGINT NOT NULL
);
CREATE INDEX graph_grant_object ON graph_grant (object_id);
