-- +goose Up
-- What a pull request deployed to a namespace of its own goes when it ends.
ALTER TABLE deployment ADD COLUMN namespace TEXT NOT NULL DEFAULT '';
-- The repository whose pull request the namespace is of; 0 if that is not known.
ALTER TABLE deployment ADD COLUMN repo_id BIGINT NOT NULL DEFAULT 0;
CREATE INDEX deployment_namespace ON deployment (repo_id, namespace) WHERE repo_id <> 0 AND destroyed_at = 0;
-- Why a version was made, if it was not asked for by its deployer.
ALTER TABLE deployment_version ADD COLUMN note TEXT NOT NULL DEFAULT '';
