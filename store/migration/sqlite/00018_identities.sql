-- +goose Up
-- A group is a directory object: Graph and SCIM show the same one. SCIM knows it
-- by a number, from the sequence that principals have theirs from.
UPDATE graph_object SET principal_id = (SELECT value FROM sequence WHERE name = 'principal')
  + (SELECT count(*) FROM graph_object g WHERE g.kind = 'group' AND g.id <= graph_object.id) WHERE kind = 'group';
UPDATE sequence SET value = value + (SELECT count(*) FROM graph_object WHERE kind = 'group') WHERE name = 'principal';
CREATE UNIQUE INDEX graph_object_group ON graph_object (principal_id) WHERE kind = 'group';
-- Who was given a workspace that is not the first: USER or ADMIN.
CREATE TABLE workspace_assignment (
  workspace_id BIGINT NOT NULL REFERENCES workspace (id),
  object_id TEXT NOT NULL,
  permission TEXT NOT NULL,
  PRIMARY KEY (workspace_id, object_id)
);
-- How people sign in to the pages. password is argon2id in its own text form;
-- link is the hash of a link that is good once. subject is the name that another
-- issuer gave who signed in there.
CREATE TABLE sign_in (
  principal_id BIGINT PRIMARY KEY REFERENCES principal (id),
  password TEXT NOT NULL DEFAULT '',
  link TEXT NOT NULL DEFAULT '',
  link_expires_at BIGINT NOT NULL DEFAULT 0,
  issuer TEXT NOT NULL DEFAULT '',
  subject TEXT NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX sign_in_subject ON sign_in (issuer, subject) WHERE subject <> '';
CREATE UNIQUE INDEX sign_in_link ON sign_in (link) WHERE link <> '';
-- Attempts that failed lately, by who was named and by where they came from.
CREATE TABLE sign_in_failure (
  subject TEXT PRIMARY KEY,
  failures BIGINT NOT NULL,
  since BIGINT NOT NULL
);
