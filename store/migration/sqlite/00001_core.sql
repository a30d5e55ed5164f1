-- +goose Up
CREATE TABLE sequence (name TEXT PRIMARY KEY, value BIGINT NOT NULL);
CREATE TABLE lease (name TEXT PRIMARY KEY, holder TEXT NOT NULL, epoch BIGINT NOT NULL, expires_at BIGINT NOT NULL);
CREATE TABLE workspace (id BIGINT PRIMARY KEY, name TEXT NOT NULL UNIQUE, created_at BIGINT NOT NULL);
CREATE TABLE setting (workspace_id BIGINT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (workspace_id, name));

CREATE TABLE event (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  workspace_id BIGINT NOT NULL,
  kind TEXT NOT NULL,
  subject TEXT NOT NULL,
  actor TEXT NOT NULL,
  run_id BIGINT NOT NULL,
  at BIGINT NOT NULL,
  payload TEXT NOT NULL
);
CREATE INDEX event_subject ON event (kind, subject);
-- A consumer keeps the newest id it has read, and reads again a while back: ids
-- commit out of order on PostgreSQL.
CREATE TABLE consumer (name TEXT PRIMARY KEY, position BIGINT NOT NULL);

CREATE TABLE principal (
  id BIGINT PRIMARY KEY,
  kind TEXT NOT NULL,
  user_name TEXT NOT NULL UNIQUE,
  display_name TEXT NOT NULL,
  application_id TEXT NOT NULL,
  admin BOOLEAN NOT NULL,
  active BOOLEAN NOT NULL,
  created_at BIGINT NOT NULL,
  version BIGINT NOT NULL DEFAULT 1
);
-- Secrets of service principals: only the hash is kept.
CREATE TABLE principal_secret (
  id TEXT PRIMARY KEY,
  principal_id BIGINT NOT NULL REFERENCES principal (id),
  hash TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL
);
CREATE TABLE token (
  id TEXT PRIMARY KEY,
  hash TEXT NOT NULL UNIQUE,
  workspace_id BIGINT NOT NULL,
  principal_id BIGINT NOT NULL REFERENCES principal (id),
  run_id BIGINT NOT NULL,
  comment TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL
);
CREATE INDEX token_run ON token (run_id);
