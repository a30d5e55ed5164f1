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

-- The settings that a resource had right after its deploy, as its API gives
-- them, what the server fills in among them: drift is what differs from these.
ALTER TABLE deployment_resource ADD COLUMN live TEXT NOT NULL DEFAULT '';

-- Deployed resources that were written to, by anyone but their deployment, and
-- have yet to be compared: a row of the transaction that wrote.
CREATE TABLE drift_check (
  id BIGSERIAL PRIMARY KEY,
  deployment_id TEXT NOT NULL,
  resource TEXT NOT NULL,
  actor TEXT NOT NULL,
  run_id BIGINT NOT NULL,
  way TEXT NOT NULL,
  at BIGINT NOT NULL
);

CREATE TABLE drift (
  id BIGINT PRIMARY KEY,
  workspace_id BIGINT NOT NULL,
  -- '' for what Terraform made: source then names its state.
  deployment_id TEXT NOT NULL,
  source TEXT NOT NULL,
  version BIGINT NOT NULL,
  resource TEXT NOT NULL,
  resource_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  fields TEXT NOT NULL,
  digest TEXT NOT NULL,
  actor TEXT NOT NULL,
  run_id BIGINT NOT NULL,
  found_at BIGINT NOT NULL,
  -- open; adopted, which waits for the next deploy; settled.
  state TEXT NOT NULL,
  way TEXT NOT NULL,
  settled_by TEXT NOT NULL,
  settled_at BIGINT NOT NULL,
  note TEXT NOT NULL
);
CREATE UNIQUE INDEX drift_open ON drift (workspace_id, deployment_id, source, resource) WHERE state <> 'settled';
CREATE INDEX drift_deployment ON drift (deployment_id, found_at);

-- What an apply of Terraform left, by its state.
CREATE TABLE infra_resource (
  workspace_id BIGINT NOT NULL,
  source TEXT NOT NULL,
  address TEXT NOT NULL,
  type TEXT NOT NULL,
  resource_id TEXT NOT NULL,
  -- resource_id in lower case: ARM's ids differ in case from call to call.
  resource_key TEXT NOT NULL,
  digest TEXT NOT NULL,
  serial BIGINT NOT NULL,
  PRIMARY KEY (workspace_id, source, address)
);
CREATE INDEX infra_resource_key ON infra_resource (workspace_id, resource_key);

-- The versions that a job has to prove, or has.
CREATE TABLE verification (
  deployment_id TEXT NOT NULL REFERENCES deployment (id),
  version BIGINT NOT NULL,
  workspace_id BIGINT NOT NULL,
  environment TEXT NOT NULL,
  job_id BIGINT NOT NULL,
  since BIGINT NOT NULL,
  -- waiting, rolling back, verified, failed, superseded
  state TEXT NOT NULL,
  job_run_id BIGINT NOT NULL,
  rolled_back_to BIGINT NOT NULL,
  note TEXT NOT NULL,
  decided_at BIGINT NOT NULL,
  PRIMARY KEY (deployment_id, version)
);
CREATE INDEX verification_open ON verification (state) WHERE state IN ('waiting', 'rolling back');
