-- +goose Up
-- Places that bundles are deployed to, as wherry.Environment in settings.
CREATE TABLE environment (
  workspace_id BIGINT NOT NULL,
  -- The name in lower case: as on GitHub, names differ by more than case.
  key TEXT NOT NULL,
  target TEXT NOT NULL,
  settings TEXT NOT NULL,
  updated_by TEXT NOT NULL,
  updated_at BIGINT NOT NULL,
  revision BIGINT NOT NULL,
  PRIMARY KEY (workspace_id, key)
);
CREATE UNIQUE INDEX environment_target ON environment (workspace_id, target);
