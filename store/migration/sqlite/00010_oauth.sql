-- +goose Up
-- A principal that was removed stays, for the history that names it.
ALTER TABLE principal ADD COLUMN removed BOOLEAN NOT NULL DEFAULT false;
CREATE UNIQUE INDEX principal_application ON principal (application_id) WHERE application_id <> '';
CREATE INDEX principal_secret_principal ON principal_secret (principal_id);
CREATE INDEX token_principal ON token (principal_id);
