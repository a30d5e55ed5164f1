-- +goose Up
-- What was asked for, as JSON without the files (the tree's manifest lists
-- them): a former version is deployed again from it. '' for versions of clients
-- of the public API and those older than this column.
ALTER TABLE deployment_version ADD COLUMN request TEXT NOT NULL DEFAULT '';
-- The version that this one brought back, 0 for an ordinary deploy.
ALTER TABLE deployment_version ADD COLUMN restores BIGINT NOT NULL DEFAULT 0;
-- Whether all was done that follows a completed version: deletions, and the file
-- that other tools read. A server that is killed before does it at its next start.
ALTER TABLE deployment_version ADD COLUMN settled BOOLEAN NOT NULL DEFAULT true;
-- To be deleted now that the version that has it no more is complete.
ALTER TABLE deployment_resource ADD COLUMN doomed BOOLEAN NOT NULL DEFAULT false;
