-- +goose Up
-- Who is told of the outcomes of a repository's workflows, beside the author of
-- a commit that fails: JSON lists of e-mail addresses and ids of destinations.
CREATE TABLE git_notify (
  repo_id BIGINT NOT NULL,
  on_failure TEXT NOT NULL,
  on_success TEXT NOT NULL,
  PRIMARY KEY (repo_id)
);
