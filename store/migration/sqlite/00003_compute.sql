-- +goose Up
CREATE TABLE cluster (
  id TEXT PRIMARY KEY,
  workspace_id BIGINT NOT NULL,
  name TEXT NOT NULL,
  source TEXT NOT NULL,
  principal_id BIGINT NOT NULL,
  creator TEXT NOT NULL,
  -- A job cluster belongs to a run of a job; 0 and '' for all others.
  job_run_id BIGINT NOT NULL,
  cluster_key TEXT NOT NULL,
  state TEXT NOT NULL,
  state_message TEXT NOT NULL,
  reason_code TEXT NOT NULL,
  reason_type TEXT NOT NULL,
  agent_id TEXT NOT NULL,
  spec TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  started_at BIGINT NOT NULL,
  terminated_at BIGINT NOT NULL,
  last_activity_at BIGINT NOT NULL,
  version BIGINT NOT NULL DEFAULT 1
);
CREATE INDEX cluster_workspace ON cluster (workspace_id, created_at);
CREATE UNIQUE INDEX cluster_of_run ON cluster (job_run_id, cluster_key) WHERE job_run_id > 0;
CREATE TABLE cluster_event (
  cluster_id TEXT NOT NULL REFERENCES cluster (id) ON DELETE CASCADE,
  number BIGINT NOT NULL,
  at BIGINT NOT NULL,
  type TEXT NOT NULL,
  details TEXT NOT NULL,
  PRIMARY KEY (cluster_id, number)
);
-- Where an attempt was sent, and how far its output has come: the bytes are in
-- files, and are worth what the offsets say.
CREATE TABLE compute_attempt (
  run_id BIGINT PRIMARY KEY,
  workspace_id BIGINT NOT NULL,
  cluster_id TEXT NOT NULL,
  agent_id TEXT NOT NULL,
  epoch BIGINT NOT NULL,
  out_offset BIGINT NOT NULL,
  events_offset BIGINT NOT NULL,
  asked_at BIGINT NOT NULL,
  done BOOLEAN NOT NULL
);
CREATE INDEX compute_attempt_active ON compute_attempt (done) WHERE NOT done;
