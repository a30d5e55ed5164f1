-- +goose Up
CREATE TABLE storage_account (
  name TEXT PRIMARY KEY,
  key_generation BIGINT NOT NULL,
  created_by TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  version BIGINT NOT NULL DEFAULT 1
);
-- What a principal who is not an admin may do; container '' is the whole account.
CREATE TABLE storage_grant (
  account TEXT NOT NULL REFERENCES storage_account (name),
  container TEXT NOT NULL,
  principal_id BIGINT NOT NULL REFERENCES principal (id),
  can_write BOOLEAN NOT NULL,
  PRIMARY KEY (account, container, principal_id)
);
