-- +goose Up
CREATE TABLE deployment (
  id TEXT PRIMARY KEY,
  workspace_id BIGINT NOT NULL,
  -- '' for one made through the public API, which names none.
  root_path TEXT NOT NULL,
  file_path TEXT NOT NULL,
  bundle TEXT NOT NULL,
  target TEXT NOT NULL,
  mode TEXT NOT NULL,
  display_name TEXT NOT NULL,
  status TEXT NOT NULL,
  last_version BIGINT NOT NULL,
  -- The files that are live, '' for none.
  tree_digest TEXT NOT NULL,
  created_by TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  destroyed_by TEXT NOT NULL,
  destroyed_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX deployment_root ON deployment (workspace_id, root_path) WHERE root_path <> '' AND destroyed_at = 0;

-- A version in progress is the deployment's lock until expires_at.
CREATE TABLE deployment_version (
  deployment_id TEXT NOT NULL REFERENCES deployment (id),
  version BIGINT NOT NULL,
  kind TEXT NOT NULL,
  status TEXT NOT NULL,
  reason TEXT NOT NULL,
  display_name TEXT NOT NULL,
  target TEXT NOT NULL,
  mode TEXT NOT NULL,
  cli_version TEXT NOT NULL,
  git TEXT NOT NULL,
  dirty_digest TEXT NOT NULL,
  tree_digest TEXT NOT NULL,
  created_by TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  completed_by TEXT NOT NULL,
  completed_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  -- How a deploy that ended half-way is taken back: by the server that finds it.
  resumable BOOLEAN NOT NULL,
  PRIMARY KEY (deployment_id, version)
);

CREATE TABLE deployment_resource (
  deployment_id TEXT NOT NULL REFERENCES deployment (id),
  key TEXT NOT NULL,
  kind TEXT NOT NULL,
  resource_id TEXT NOT NULL,
  state TEXT NOT NULL,
  action TEXT NOT NULL,
  version BIGINT NOT NULL,
  -- Made by this deployment, so taken away with it; false for what was there before.
  owned BOOLEAN NOT NULL,
  PRIMARY KEY (deployment_id, key)
);
CREATE INDEX deployment_resource_id ON deployment_resource (kind, resource_id);

-- What a version did, and the settings it found: written before the change is
-- made, so that a failed or killed deploy can be taken back.
CREATE TABLE deployment_operation (
  deployment_id TEXT NOT NULL REFERENCES deployment (id),
  version BIGINT NOT NULL,
  number BIGINT NOT NULL,
  key TEXT NOT NULL,
  kind TEXT NOT NULL,
  action TEXT NOT NULL,
  status TEXT NOT NULL,
  resource_id TEXT NOT NULL,
  message TEXT NOT NULL,
  state TEXT NOT NULL,
  before TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (deployment_id, version, key)
);

-- What was made because a project takes it for granted.
CREATE TABLE stand_in (
  workspace_id BIGINT NOT NULL,
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  resource_id TEXT NOT NULL,
  created_by TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (workspace_id, kind, name)
);
