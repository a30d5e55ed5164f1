-- +goose Up
CREATE TABLE job (
  id BIGINT PRIMARY KEY,
  workspace_id BIGINT NOT NULL,
  name TEXT NOT NULL,
  name_folded TEXT NOT NULL,
  creator TEXT NOT NULL,
  run_as BIGINT NOT NULL REFERENCES principal (id),
  settings TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  version BIGINT NOT NULL DEFAULT 1,
  -- Raised by each transaction that admits or ends a run of the job: it puts
  -- them in an order.
  admissions BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX job_name ON job (workspace_id, name_folded);

-- What the trigger loop knows of a schedule: the next time to fire, worked out
-- from spec. A changed spec is worked out anew.
CREATE TABLE job_schedule (
  job_id BIGINT PRIMARY KEY,
  spec TEXT NOT NULL,
  next_fire BIGINT NOT NULL,
  last_fire BIGINT NOT NULL,
  skipped BIGINT NOT NULL
);
-- One run for each time that a schedule fires.
CREATE TABLE job_fire (
  job_id BIGINT NOT NULL,
  trigger_index BIGINT NOT NULL,
  fire_time BIGINT NOT NULL,
  run_id BIGINT NOT NULL,
  PRIMARY KEY (job_id, trigger_index, fire_time)
);

CREATE TABLE job_run (
  id BIGINT PRIMARY KEY,
  workspace_id BIGINT NOT NULL,
  job_id BIGINT NOT NULL,
  name TEXT NOT NULL,
  run_type TEXT NOT NULL,
  trigger_kind TEXT NOT NULL,
  trigger_time BIGINT NOT NULL,
  settings TEXT NOT NULL,
  timeout_seconds BIGINT NOT NULL,
  parameters TEXT NOT NULL,
  overriding TEXT NOT NULL,
  only_tasks TEXT NOT NULL,
  creator TEXT NOT NULL,
  run_as BIGINT NOT NULL REFERENCES principal (id),
  state TEXT NOT NULL,
  result TEXT NOT NULL,
  code TEXT NOT NULL,
  message TEXT NOT NULL,
  cause TEXT NOT NULL,
  queue BOOLEAN NOT NULL,
  created_at BIGINT NOT NULL,
  queued_at BIGINT NOT NULL,
  start_time BIGINT NOT NULL,
  end_time BIGINT NOT NULL,
  parent_task_run BIGINT NOT NULL,
  level BIGINT NOT NULL,
  repairs TEXT NOT NULL,
  wake_at BIGINT NOT NULL,
  released BOOLEAN NOT NULL,
  version BIGINT NOT NULL DEFAULT 1
);
CREATE INDEX job_run_job ON job_run (job_id, id);
CREATE INDEX job_run_workspace ON job_run (workspace_id, id);
CREATE INDEX job_run_active ON job_run (job_id, state) WHERE end_time = 0;
CREATE INDEX job_run_wake ON job_run (wake_at) WHERE wake_at > 0;
CREATE INDEX job_run_unreleased ON job_run (id) WHERE released = false;
CREATE INDEX job_run_parent ON job_run (parent_task_run) WHERE parent_task_run > 0;

CREATE TABLE task_run (
  id BIGINT PRIMARY KEY,
  workspace_id BIGINT NOT NULL,
  job_run_id BIGINT NOT NULL REFERENCES job_run (id) ON DELETE CASCADE,
  task_key TEXT NOT NULL,
  parent_id BIGINT NOT NULL,
  iteration BIGINT NOT NULL,
  input TEXT NOT NULL,
  number BIGINT NOT NULL,
  repair BIGINT NOT NULL,
  original_id BIGINT NOT NULL,
  state TEXT NOT NULL,
  result TEXT NOT NULL,
  code TEXT NOT NULL,
  message TEXT NOT NULL,
  cause TEXT NOT NULL,
  not_before BIGINT NOT NULL,
  start_time BIGINT NOT NULL,
  end_time BIGINT NOT NULL,
  setup_ms BIGINT NOT NULL DEFAULT 0,
  execution_ms BIGINT NOT NULL DEFAULT 0,
  outcome TEXT NOT NULL,
  child_run BIGINT NOT NULL DEFAULT 0,
  cluster_id TEXT NOT NULL DEFAULT '',
  attempt TEXT NOT NULL DEFAULT '',
  error TEXT NOT NULL DEFAULT '',
  error_trace TEXT NOT NULL DEFAULT '',
  exit_value TEXT NOT NULL DEFAULT '',
  exited BOOLEAN NOT NULL DEFAULT false,
  source_digest TEXT NOT NULL DEFAULT ''
);
CREATE INDEX task_run_job_run ON task_run (job_run_id, id);
CREATE INDEX task_run_active ON task_run (state, id) WHERE end_time = 0;

CREATE TABLE task_value (
  job_run_id BIGINT NOT NULL REFERENCES job_run (id) ON DELETE CASCADE,
  task_key TEXT NOT NULL,
  name TEXT NOT NULL,
  value TEXT NOT NULL,
  run_id BIGINT NOT NULL,
  PRIMARY KEY (job_run_id, task_key, name)
);
-- Kept after the run is deleted: its token then gives an error, not a new run.
CREATE TABLE idempotency (
  workspace_id BIGINT NOT NULL,
  token TEXT NOT NULL,
  run_id BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (workspace_id, token)
);
