-- +goose Up
-- A pinned cluster is not deleted for good before it is unpinned.
ALTER TABLE cluster ADD COLUMN pinned BOOLEAN NOT NULL DEFAULT false;
