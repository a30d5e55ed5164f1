-- +goose Up
-- What SCIM keeps with a principal and nothing else asks for: the id that it has
-- elsewhere, and its entitlements with a space between two.
ALTER TABLE principal ADD COLUMN external_id TEXT NOT NULL DEFAULT '';
ALTER TABLE principal ADD COLUMN entitlements TEXT NOT NULL DEFAULT '';
