-- +goose Up
-- Environments are the installation's, no workspace's. Of two with one name or
-- one target that of the older workspace stays.
CREATE TABLE environment_of_all (
  -- The name in lower case: as on GitHub, names differ by more than case.
  key TEXT NOT NULL,
  target TEXT NOT NULL,
  settings TEXT NOT NULL,
  updated_by TEXT NOT NULL,
  updated_at BIGINT NOT NULL,
  revision BIGINT NOT NULL,
  PRIMARY KEY (key)
);
INSERT INTO environment_of_all (key, target, settings, updated_by, updated_at, revision)
  SELECT e.key, e.target, e.settings, e.updated_by, e.updated_at, e.revision FROM environment e
  WHERE NOT EXISTS (SELECT 1 FROM environment o WHERE o.workspace_id < e.workspace_id AND (o.key = e.key OR o.target = e.target));
DROP TABLE environment;
ALTER TABLE environment_of_all RENAME TO environment;
CREATE UNIQUE INDEX environment_target ON environment (target);
