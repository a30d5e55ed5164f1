-- +goose Up
-- The graph from commit to prediction: a projection of events that can be
-- thrown away and made again.
CREATE TABLE trace_node (
  workspace_id BIGINT NOT NULL,
  kind TEXT NOT NULL,
  key TEXT NOT NULL,
  digest TEXT NOT NULL,
  actor TEXT NOT NULL,
  at BIGINT NOT NULL,
  payload TEXT NOT NULL,
  PRIMARY KEY (workspace_id, kind, key)
);
CREATE TABLE trace_edge (
  workspace_id BIGINT NOT NULL,
  src_kind TEXT NOT NULL,
  src_key TEXT NOT NULL,
  rel TEXT NOT NULL,
  dst_kind TEXT NOT NULL,
  dst_key TEXT NOT NULL,
  at BIGINT NOT NULL,
  event_id BIGINT NOT NULL,
  PRIMARY KEY (workspace_id, src_kind, src_key, rel, dst_kind, dst_key)
);
CREATE INDEX trace_edge_back ON trace_edge (workspace_id, dst_kind, dst_key);
-- How far the _delta_log of each table was read.
CREATE TABLE trace_table (table_id TEXT PRIMARY KEY, version BIGINT NOT NULL);
