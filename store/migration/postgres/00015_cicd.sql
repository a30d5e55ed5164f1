-- +goose Up
-- A run of a workflow: doc is workflow.Run with all its jobs, the other columns
-- are what queries need.
CREATE TABLE ci_run (
  id BIGINT NOT NULL PRIMARY KEY,
  workspace_id BIGINT NOT NULL,
  repo_id BIGINT NOT NULL,
  path TEXT NOT NULL,
  event TEXT NOT NULL,
  ref TEXT NOT NULL,
  sha TEXT NOT NULL,
  -- The commit whose checks the run is: of a pull request its head.
  status_sha TEXT NOT NULL,
  state TEXT NOT NULL,
  concurrency TEXT NOT NULL,
  files TEXT NOT NULL,
  doc TEXT NOT NULL,
  -- What follows from its end was done: runs of workflow_run.
  settled BOOLEAN NOT NULL,
  created_at BIGINT NOT NULL,
  version BIGINT NOT NULL
);
CREATE INDEX ci_run_repo ON ci_run (repo_id, id);
CREATE INDEX ci_run_sha ON ci_run (repo_id, status_sha);
CREATE INDEX ci_run_open ON ci_run (id) WHERE NOT settled;
CREATE INDEX ci_run_concurrency ON ci_run (repo_id, concurrency) WHERE concurrency <> '';

-- The files below .github of a commit, by their digest.
CREATE TABLE ci_files (digest TEXT PRIMARY KEY, files TEXT NOT NULL);

-- The job run and the attempt that carry a job.
CREATE TABLE ci_job (
  id BIGINT PRIMARY KEY,
  run_id BIGINT NOT NULL REFERENCES ci_run (id),
  attempt BIGINT NOT NULL,
  job_run BIGINT NOT NULL,
  task_run BIGINT NOT NULL
);
CREATE INDEX ci_job_run ON ci_job (run_id);
CREATE INDEX ci_job_task ON ci_job (task_run);

-- Numbers of a workflow's runs: run_number.
CREATE TABLE ci_number (repo_id BIGINT NOT NULL, path TEXT NOT NULL, last BIGINT NOT NULL, PRIMARY KEY (repo_id, path));

CREATE TABLE ci_approval (
  run_id BIGINT NOT NULL,
  attempt BIGINT NOT NULL,
  environment TEXT NOT NULL,
  decision TEXT NOT NULL,
  reviewer TEXT NOT NULL,
  reason TEXT NOT NULL,
  at BIGINT NOT NULL,
  PRIMARY KEY (run_id, attempt, environment)
);

-- Secrets (sealed) and variables, of a repository or of an environment.
CREATE TABLE ci_value (
  workspace_id BIGINT NOT NULL,
  scope TEXT NOT NULL,
  name TEXT NOT NULL,
  secret BOOLEAN NOT NULL,
  value TEXT NOT NULL,
  updated_by TEXT NOT NULL,
  updated_at BIGINT NOT NULL,
  PRIMARY KEY (workspace_id, scope, secret, name)
);

-- Artifacts of runs and caches of repositories; their bytes are files.
CREATE TABLE ci_artifact (
  run_id BIGINT NOT NULL,
  attempt BIGINT NOT NULL,
  name TEXT NOT NULL,
  job TEXT NOT NULL,
  size BIGINT NOT NULL,
  digest TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (run_id, name)
);
CREATE TABLE ci_cache (
  repo_id BIGINT NOT NULL,
  ref TEXT NOT NULL,
  name TEXT NOT NULL,
  size BIGINT NOT NULL,
  digest TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  PRIMARY KEY (repo_id, ref, name)
);

-- When the schedules of the workflows on default branches fire next.
CREATE TABLE ci_schedule (
  repo_id BIGINT NOT NULL,
  path TEXT NOT NULL,
  cron TEXT NOT NULL,
  next_fire BIGINT NOT NULL,
  PRIMARY KEY (repo_id, path, cron)
);
