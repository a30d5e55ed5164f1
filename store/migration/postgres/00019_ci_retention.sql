-- +goose Up
-- When an artifact is pruned, and when a cache was last restored or saved.
ALTER TABLE ci_artifact ADD COLUMN expires_at BIGINT NOT NULL DEFAULT 0;
UPDATE ci_artifact SET expires_at = created_at + 7776000000;
ALTER TABLE ci_cache ADD COLUMN used_at BIGINT NOT NULL DEFAULT 0;
UPDATE ci_cache SET used_at = created_at;
CREATE INDEX ci_artifact_expires ON ci_artifact (expires_at);
CREATE INDEX ci_artifact_digest ON ci_artifact (digest);
CREATE INDEX ci_cache_digest ON ci_cache (digest);
