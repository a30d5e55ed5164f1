-- +goose Up
-- The objects of a repository are files, below repos/ of the state directory;
-- here is what git does not know.
CREATE TABLE git_repo (
  id BIGINT PRIMARY KEY,
  workspace_id BIGINT NOT NULL,
  name TEXT NOT NULL,
  key TEXT NOT NULL UNIQUE, -- the name in lower case: some file systems do not tell A from a
  default_branch TEXT NOT NULL,
  fork_of BIGINT NOT NULL, -- id of another repository, or 0
  origin_url TEXT NOT NULL, -- what a trace shows as its address; '' is this server's
  creator TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  pulls BIGINT NOT NULL DEFAULT 0 -- the last number of a pull request
);
-- The refs as they were when their last movement was recorded: what git has and
-- this table has not, is a push that a killed server has yet to record.
CREATE TABLE git_ref (repo_id BIGINT NOT NULL, name TEXT NOT NULL, sha TEXT NOT NULL, PRIMARY KEY (repo_id, name));
CREATE TABLE git_push (
  id BIGINT PRIMARY KEY,
  repo_id BIGINT NOT NULL,
  ref TEXT NOT NULL,
  old_sha TEXT NOT NULL, -- forty zeros: the ref was made
  new_sha TEXT NOT NULL, -- forty zeros: the ref was deleted
  actor TEXT NOT NULL,
  forced BOOLEAN NOT NULL,
  at BIGINT NOT NULL
);
CREATE INDEX git_push_repo ON git_push (repo_id, id);
CREATE INDEX git_push_sha ON git_push (new_sha);
-- What workflows have yet to be looked for: pushes and actions on pull requests.
CREATE TABLE git_trigger (
  id BIGINT PRIMARY KEY,
  repo_id BIGINT NOT NULL,
  kind TEXT NOT NULL,
  actor TEXT NOT NULL,
  at BIGINT NOT NULL,
  payload TEXT NOT NULL,
  handled BOOLEAN NOT NULL DEFAULT false
);
CREATE INDEX git_trigger_pending ON git_trigger (id) WHERE NOT handled;
CREATE TABLE git_protection (
  repo_id BIGINT NOT NULL,
  pattern TEXT NOT NULL, -- of branch names, as main or release/*
  pull_request BOOLEAN NOT NULL,
  checks TEXT NOT NULL, -- a JSON list of contexts of statuses
  PRIMARY KEY (repo_id, pattern)
);
CREATE TABLE git_status (
  repo_id BIGINT NOT NULL,
  sha TEXT NOT NULL,
  context TEXT NOT NULL,
  state TEXT NOT NULL,
  description TEXT NOT NULL,
  path TEXT NOT NULL, -- of the page here, or a URL elsewhere
  actor TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  PRIMARY KEY (repo_id, sha, context)
);
CREATE TABLE git_pull (
  repo_id BIGINT NOT NULL,
  number BIGINT NOT NULL,
  title TEXT NOT NULL,
  body TEXT NOT NULL,
  base TEXT NOT NULL,
  head TEXT NOT NULL,
  head_repo_id BIGINT NOT NULL, -- repo_id, or a fork's; 0 for a fork that is elsewhere
  head_name TEXT NOT NULL DEFAULT '', -- of a fork that is elsewhere
  base_sha TEXT NOT NULL,
  head_sha TEXT NOT NULL,
  merge_sha TEXT NOT NULL, -- of the test merge while open, of the real one once merged; '' if it conflicts
  state TEXT NOT NULL,
  author TEXT NOT NULL,
  closed_by TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL,
  version BIGINT NOT NULL DEFAULT 1,
  PRIMARY KEY (repo_id, number)
);
CREATE INDEX git_pull_head ON git_pull (head_repo_id, head) WHERE state = 'open';
CREATE TABLE git_comment (
  id BIGINT PRIMARY KEY,
  repo_id BIGINT NOT NULL,
  number BIGINT NOT NULL,
  author TEXT NOT NULL,
  body TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL
);
CREATE INDEX git_comment_pull ON git_comment (repo_id, number, id);
-- A repository that follows one elsewhere.
CREATE TABLE git_mirror (
  repo_id BIGINT PRIMARY KEY,
  url TEXT NOT NULL,
  forge TEXT NOT NULL, -- github, gitlab, azure-devops or ''
  api_url TEXT NOT NULL,
  seconds BIGINT NOT NULL, -- between two looks; 0 waits for webhooks alone
  sealed BYTEA NOT NULL, -- AES-256-GCM: user and token to fetch with, and to report with
  reports BOOLEAN NOT NULL, -- statuses and deployments go back
  due_at BIGINT NOT NULL,
  fetched_at BIGINT NOT NULL,
  error TEXT NOT NULL
);
CREATE TABLE git_hook (repo_id BIGINT NOT NULL, forge TEXT NOT NULL, sealed BYTEA NOT NULL, PRIMARY KEY (repo_id, forge));
-- What forges told, once each, to be done in this order.
CREATE TABLE git_delivery (
  repo_id BIGINT NOT NULL,
  forge TEXT NOT NULL,
  delivery TEXT NOT NULL,
  id BIGINT NOT NULL,
  news TEXT NOT NULL,
  at BIGINT NOT NULL,
  done BOOLEAN NOT NULL DEFAULT false,
  error TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (repo_id, forge, delivery)
);
CREATE INDEX git_delivery_waiting ON git_delivery (id) WHERE NOT done;
-- What the forge has yet to be told.
CREATE TABLE git_report (
  id BIGINT PRIMARY KEY,
  repo_id BIGINT NOT NULL,
  kind TEXT NOT NULL, -- status or deployment
  key TEXT NOT NULL, -- a later one of the same key replaces one that waits
  payload TEXT NOT NULL,
  remote_id TEXT NOT NULL, -- the forge's id of a deployment
  attempts BIGINT NOT NULL,
  due_at BIGINT NOT NULL,
  error TEXT NOT NULL,
  done_at BIGINT NOT NULL
);
CREATE INDEX git_report_due ON git_report (due_at) WHERE done_at = 0;
CREATE UNIQUE INDEX git_report_waiting ON git_report (repo_id, key) WHERE done_at = 0;
