-- +goose Up
-- What the trace has yet to project. A position in the ids would not do: on
-- PostgreSQL an id may commit after a higher one. Projecting again changes
-- nothing, so all begin as new.
ALTER TABLE event ADD COLUMN traced BOOLEAN NOT NULL DEFAULT false;
CREATE INDEX event_untraced ON event (id) WHERE NOT traced;
DROP TABLE consumer;
