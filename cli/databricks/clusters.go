package databricks

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/wherry-ml/wherry/client"
)

var (
	clusterRuns = &wait{until: "running", run: untilCluster([]string{"RUNNING"}, []string{"ERROR", "TERMINATED"})}
	clusterEnds = &wait{until: "terminated", run: untilCluster([]string{"TERMINATED"}, []string{"ERROR"})}
)

// clusterPoll is how often a cluster is looked at.
const clusterPoll = 200 * time.Millisecond

// untilCluster waits until a cluster has come to one of the good states.
func untilCluster(good, bad []string) func(context.Context, *client.Client, map[string]any, json.RawMessage, func(string)) (any, error) {
	return func(ctx context.Context, c *client.Client, fields map[string]any, answer json.RawMessage, say func(string)) (any, error) {
		var out struct {
			ID string `json:"cluster_id"`
		}
		if err := json.Unmarshal(answer, &out); err != nil {
			return nil, err
		}
		if out.ID == "" {
			out.ID = fmt.Sprint(fields["cluster_id"])
		}
		last := ""
		for {
			var raw json.RawMessage
			if err := c.Do(ctx, "GET", "/api/2.1/clusters/get?cluster_id="+url.QueryEscape(out.ID), nil, &raw); err != nil {
				return nil, err
			}
			var now struct {
				State   string `json:"state"`
				Message string `json:"state_message"`
			}
			if err := json.Unmarshal(raw, &now); err != nil {
				return nil, err
			}
			if now.State != last {
				last = now.State
				say("cluster " + out.ID + ": " + now.State)
			}
			switch {
			case slices.Contains(good, now.State):
				return raw, nil
			case slices.Contains(bad, now.State):
				return raw, fmt.Errorf("the cluster %s is %s: %s", out.ID, now.State, now.Message)
			}
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(clusterPoll):
			}
		}
	}
}
