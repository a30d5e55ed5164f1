-- +goose Up
-- Where notifications go. The addresses of e-mail are no secrets; everything
-- else, the URL included, is sealed.
CREATE TABLE notification_destination (
  id TEXT PRIMARY KEY,
  workspace_id BIGINT NOT NULL,
  display_name TEXT NOT NULL,
  kind TEXT NOT NULL,
  addresses TEXT NOT NULL,
  sealed BYTEA NOT NULL, -- AES-256-GCM: nonce, then ciphertext
  created_at BIGINT NOT NULL
);
CREATE INDEX notification_destination_workspace ON notification_destination (workspace_id, display_name);
-- What is to be told to whom: one row for each recipient of a notice, written in
-- the transaction of what it tells of.
CREATE TABLE notification (
  id BIGINT PRIMARY KEY,
  workspace_id BIGINT NOT NULL,
  dedup_key TEXT NOT NULL,
  channel TEXT NOT NULL,     -- email or destination
  address TEXT NOT NULL,     -- an e-mail address, or a destination's id
  destination TEXT NOT NULL, -- the destination that an e-mail address came of, or ''
  kind TEXT NOT NULL,
  run_id BIGINT NOT NULL,
  notice TEXT NOT NULL,
  token TEXT NOT NULL,       -- the same in each attempt, so that receivers can tell
  state TEXT NOT NULL,
  attempts BIGINT NOT NULL,
  last_error TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  since BIGINT NOT NULL,     -- from when on attempts are counted against the time to give up
  next_at BIGINT NOT NULL,
  leased_until BIGINT NOT NULL,
  holder BIGINT NOT NULL,    -- the epoch of the server that has the lease
  done_at BIGINT NOT NULL,
  UNIQUE (workspace_id, dedup_key, channel, address)
);
CREATE INDEX notification_pending ON notification (next_at) WHERE state = 'pending';
CREATE INDEX notification_run ON notification (run_id) WHERE run_id > 0;
-- Whether a run or an attempt that took longer than its health rule allows was told of.
ALTER TABLE job_run ADD COLUMN warned BOOLEAN NOT NULL DEFAULT false;
ALTER TABLE task_run ADD COLUMN warned BOOLEAN NOT NULL DEFAULT false;
