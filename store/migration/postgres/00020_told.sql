-- +goose Up
-- Destinations that are told of environments which name nobody.
ALTER TABLE notification_destination ADD COLUMN installation BOOLEAN NOT NULL DEFAULT false;
-- The environment that an apply of Terraform was for, '' for none.
ALTER TABLE infra_resource ADD COLUMN environment TEXT NOT NULL DEFAULT '';
