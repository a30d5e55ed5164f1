-- +goose Up
-- Files on disk are the truth; a row gives one its id. Path is relative to the
-- workspace's tree, with the extension the file has on disk.
CREATE TABLE workspace_object (
  workspace_id BIGINT NOT NULL,
  path TEXT NOT NULL,
  object_id BIGINT NOT NULL UNIQUE,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (workspace_id, path)
);
CREATE TABLE secret_scope (
  workspace_id BIGINT NOT NULL,
  name TEXT NOT NULL,
  stand_in BOOLEAN NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (workspace_id, name)
);
CREATE TABLE secret (
  workspace_id BIGINT NOT NULL,
  scope TEXT NOT NULL,
  name TEXT NOT NULL,
  sealed BYTEA NOT NULL, -- AES-256-GCM: nonce, then ciphertext
  updated_at BIGINT NOT NULL,
  PRIMARY KEY (workspace_id, scope, name),
  FOREIGN KEY (workspace_id, scope) REFERENCES secret_scope (workspace_id, name) ON DELETE CASCADE
);
CREATE TABLE secret_acl (
  workspace_id BIGINT NOT NULL,
  scope TEXT NOT NULL,
  principal TEXT NOT NULL,
  permission TEXT NOT NULL,
  PRIMARY KEY (workspace_id, scope, principal),
  FOREIGN KEY (workspace_id, scope) REFERENCES secret_scope (workspace_id, name) ON DELETE CASCADE
);
-- Who may do what with an object: stored and shown, not enforced.
CREATE TABLE object_permission (
  workspace_id BIGINT NOT NULL,
  object_type TEXT NOT NULL,
  object_id TEXT NOT NULL,
  principal_kind TEXT NOT NULL, -- user_name, group_name or service_principal_name
  principal TEXT NOT NULL,
  level TEXT NOT NULL,
  PRIMARY KEY (workspace_id, object_type, object_id, principal_kind, principal)
);
