package databricks

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/wherry-ml/wherry/terraform/provider"
)

const clusters = "/api/2.1/clusters/"

func createCluster(ctx context.Context, c *Client, s *state) error {
	body := s.Encode()
	libraries := body["libraries"]
	delete(body, "libraries")
	doc, err := c.do(ctx, "POST", clusters+"create", body)
	if err != nil {
		return err
	}
	s.SetID(fmt.Sprint(doc["cluster_id"]))
	if libraries != nil {
		if _, err := c.do(ctx, "POST", "/api/2.0/libraries/install", map[string]any{"cluster_id": s.ID(), "libraries": libraries}); err != nil {
			return err
		}
	}
	if s.Bool("is_pinned") {
		if err := pin(ctx, c, s); err != nil {
			return err
		}
	}
	if s.Bool("no_wait") {
		return nil
	}
	return running(ctx, c, s)
}

// pin pins a cluster, or unpins it, as the configuration says.
func pin(ctx context.Context, c *Client, s *state) error {
	verb := "unpin"
	if s.Bool("is_pinned") {
		verb = "pin"
	}
	_, err := c.do(ctx, "POST", clusters+verb, map[string]any{"cluster_id": s.ID()})
	return err
}

// pinned tells whether a cluster is among the pinned ones: no document of a
// cluster says so.
func pinned(ctx context.Context, c *Client, id string) (bool, error) {
	doc, err := c.do(ctx, "GET", clusters+"list?page_size=100&filter_by.is_pinned=true", nil) // no more than 100 can be
	if err != nil {
		return false, err
	}
	list, _ := doc["clusters"].([]any)
	return slices.ContainsFunc(list, func(one any) bool { return provider.At(one, "cluster_id") == id }), nil
}

// running waits until a cluster runs, or will not.
func running(ctx context.Context, c *Client, s *state) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		doc, err := c.do(ctx, "GET", clusters+"get?cluster_id="+url.QueryEscape(s.ID()), nil)
		if err != nil {
			return err
		}
		switch doc["state"] {
		case "RUNNING", "TERMINATED":
			return nil
		case "ERROR", "UNKNOWN":
			return fmt.Errorf("cluster %s did not start: %v", s.ID(), doc["state_message"])
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func readCluster(ctx context.Context, c *Client, s *state) error {
	doc, err := c.do(ctx, "GET", clusters+"get?cluster_id="+url.QueryEscape(s.ID()), nil)
	if err != nil {
		return err
	}
	status, err := c.do(ctx, "GET", "/api/2.0/libraries/cluster-status?cluster_id="+url.QueryEscape(s.ID()), nil)
	if err != nil {
		return err
	}
	libraries := []any{}
	items, _ := status["library_statuses"].([]any)
	for _, item := range items {
		if l := provider.At(item, "library"); l != nil && provider.At(item, "status") != "UNINSTALL_ON_RESTART" {
			libraries = append(libraries, l)
		}
	}
	doc["libraries"] = libraries
	if s.Values["autoscale"] != nil && doc["autoscale"] != nil {
		delete(doc, "num_workers") // of the moment
	}
	s.Decode(doc)
	is, err := pinned(ctx, c, s.ID())
	if err != nil {
		return err
	}
	if is || s.Values["is_pinned"] != nil {
		s.Values["is_pinned"] = is
	}
	s.Values["cluster_id"], s.Values["url"] = s.ID(), strings.TrimSuffix(c.sdk.Config.Host, "/")+"/#setting/clusters/"+s.ID()+"/configuration"
	return nil
}

func editCluster(ctx context.Context, c *Client, s *state) error {
	body := s.Encode()
	delete(body, "libraries")
	body["cluster_id"] = s.ID()
	// An edit restarts the cluster, so there is none for what is beside its settings.
	if slices.ContainsFunc(s.Fields, func(f *provider.Field) bool {
		return s.Changed(f.Name) && f.Name != "is_pinned" && f.Name != "library" && f.Name != "no_wait"
	}) {
		if _, err := c.do(ctx, "POST", clusters+"edit", body); err != nil {
			return err
		}
	}
	if s.Changed("is_pinned") {
		if err := pin(ctx, c, s); err != nil {
			return err
		}
	}
	if !s.Changed("library") {
		return nil
	}
	now, before := libraries(s, s.Values), libraries(s, s.Prior)
	for _, change := range []struct {
		verb      string
		libraries []any
	}{{"uninstall", without(before, now)}, {"install", without(now, before)}} {
		if len(change.libraries) == 0 {
			continue
		}
		if _, err := c.do(ctx, "POST", "/api/2.0/libraries/"+change.verb, map[string]any{"cluster_id": s.ID(), "libraries": change.libraries}); err != nil {
			return err
		}
	}
	return nil
}

func libraries(s *state, v provider.Values) []any {
	items, _ := provider.Encode([]*provider.Field{s.Field("library")}, v)["libraries"].([]any)
	return items
}

func without(all, some []any) (out []any) {
	has := map[string]bool{}
	for _, x := range some {
		has[fmt.Sprint(x)] = true
	}
	for _, x := range all {
		if !has[fmt.Sprint(x)] {
			out = append(out, x)
		}
	}
	return out
}

func deleteCluster(ctx context.Context, c *Client, s *state) error {
	if s.Bool("is_pinned") {
		s.Values["is_pinned"] = false
		if err := pin(ctx, c, s); err != nil {
			return err
		}
	}
	_, err := c.do(ctx, "POST", clusters+"permanent-delete", map[string]any{"cluster_id": s.ID()})
	return err
}

// job adds to the table's calls that an update replaces all settings.
func job(h handler) handler {
	h.Update = func(ctx context.Context, c *Client, s *state) error {
		_, err := c.do(ctx, "POST", "/api/2.2/jobs/reset", map[string]any{"job_id": s.ID(), "new_settings": s.Encode()})
		return err
	}
	h.Read = func(ctx context.Context, c *Client, s *state) error {
		if err := read(ctx, c, s); err != nil {
			return err
		}
		s.Values["url"] = strings.TrimSuffix(c.sdk.Config.Host, "/") + "/#job/" + s.ID()
		return nil
	}
	h.Import = nil
	return h
}

// renameExperiment changes an experiment's name, all else of it is new.
func renameExperiment(ctx context.Context, c *Client, s *state) error {
	if !s.Changed("name") {
		return nil
	}
	_, err := c.do(ctx, "POST", "/api/2.0/mlflow/experiments/update", map[string]any{"experiment_id": s.ID(), "new_name": s.String("name")})
	return err
}
