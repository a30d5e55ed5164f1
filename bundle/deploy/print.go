package deploy

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/wherry-ml/wherry/bundle"
	"github.com/wherry-ml/wherry/bundle/deployment"
	"github.com/wherry-ml/wherry/client"
)

// signs stand before the changes of a plan.
var signs = map[string]string{
	deployment.Create: "+", deployment.Update: "~", deployment.Recreate: "±", deployment.Delete: "-", deployment.Bind: "=", deployment.Move: ">", deployment.Unchanged: " ",
}

// Print shows a plan, field by field.
func Print(w io.Writer, plan *deployment.Plan) {
	printStandIns(w, plan.StandIns)
	unchanged := 0
	for _, change := range plan.Resources {
		if change.Action == deployment.Unchanged {
			unchanged++
			continue
		}
		PrintChange(w, change)
	}
	if unchanged > 0 {
		fmt.Fprintf(w, "  %d unchanged\n", unchanged)
	}
	f := plan.Files
	fmt.Fprintf(w, "files: %d added, %d changed, %d removed, %d unchanged; %s to upload\n", len(f.Added), len(f.Changed), len(f.Removed), f.Unchanged, size(f.Bytes))
	if !plan.Changes {
		fmt.Fprintln(w, "nothing to do")
	}
}

func printStandIns(w io.Writer, list []deployment.StandIn) {
	for _, s := range list {
		word := "stand-in"
		if s.New {
			word = "new stand-in"
		}
		at := ""
		if s.At != "" {
			at = " (" + s.At + ")"
		}
		fmt.Fprintf(w, "%s: %s %s%s\n", word, s.Kind, s.Name, at)
	}
}

// PrintChange shows one change.
func PrintChange(w io.Writer, c deployment.Change) {
	line := fmt.Sprintf("%s %s: %s", signs[c.Action], c.Key, c.Action)
	if c.Name != "" {
		line += fmt.Sprintf(" %q", c.Name)
	}
	if c.MovedFrom != "" {
		line += fmt.Sprintf(" (was %s, and keeps its id)", c.MovedFrom)
	}
	fmt.Fprintln(w, line)
	for _, other := range c.SharedWith {
		fmt.Fprintf(w, "! %s is also in the deployment of %s: each of the two deploys writes its own settings to it\n", c.Key, other)
	}
	for _, f := range c.Fields {
		switch {
		case f.Before == nil:
			fmt.Fprintf(w, "    + %s: %s\n", f.Path, short(f.After))
		case f.After == nil:
			fmt.Fprintf(w, "    - %s: %s\n", f.Path, short(f.Before))
		default:
			fmt.Fprintf(w, "    ~ %s: %s → %s\n", f.Path, short(f.Before), short(f.After))
		}
	}
}

// short is a value as JSON, cut where it is long.
func short(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	text := []rune(string(b))
	if len(text) > 160 {
		return string(text[:160]) + "…"
	}
	return string(text)
}

func size(n int64) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f kB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d bytes", n)
}

// PrintReport shows what a deploy did.
func PrintReport(w io.Writer, r *Report) {
	if !r.Changed {
		fmt.Fprintf(w, "nothing to do: version %d is live\n", r.Version)
		return
	}
	printStandIns(w, r.StandIns)
	unchanged := printChanges(w, r.Report)
	fmt.Fprintf(w, "deployed version %d: %d resources unchanged, %d files uploaded (%s)\n", r.Version, unchanged, r.Uploaded, size(r.Bytes))
	if permissions(r.Resources) {
		fmt.Fprintln(w, "permissions are stored; they are not enforced yet")
	}
}

func permissions(list []deployment.Change) bool {
	return slices.ContainsFunc(list, func(c deployment.Change) bool {
		return strings.HasSuffix(c.Key, ".permissions") || strings.HasSuffix(c.Key, ".grants")
	})
}

// Summary returns what is deployed to a root path; an empty one for nothing.
func Summary(ctx context.Context, c *client.Client, root string) (*deployment.Summary, error) {
	s := &deployment.Summary{}
	return s, c.Do(ctx, "GET", "/api/wherry/deployments/summary?root_path="+url.QueryEscape(root), nil, s)
}

// Last returns what was deployed to a root path last, though it may be destroyed;
// an empty summary for nothing.
func Last(ctx context.Context, c *client.Client, root string) (*deployment.Summary, error) {
	s := &deployment.Summary{}
	return s, c.Do(ctx, "GET", "/api/wherry/deployments/summary?destroyed=true&root_path="+url.QueryEscape(root), nil, s)
}

// PrintSummary shows what is deployed.
func PrintSummary(w io.Writer, server string, b *bundle.Bundle, s *deployment.Summary) {
	if s.DeploymentID == "" {
		fmt.Fprintln(w, "nothing is deployed")
		return
	}
	fmt.Fprintf(w, "version %d by %s at %s\n", s.Version, s.DeployedBy, time.UnixMilli(s.DeployedAt).Format(time.RFC3339))
	if s.Git.Commit != "" {
		dirty := ""
		if s.DirtyDigest != "" {
			dirty = " with uncommitted changes"
		}
		fmt.Fprintf(w, "commit %.12s on %s%s\n", s.Git.Commit, s.Git.Branch, dirty)
	}
	for _, r := range b.Resources() {
		id := s.Resources[r.ID()]
		if id == "" {
			id = "(not deployed)"
		} else if r.Type == "jobs" {
			id = fmt.Sprintf("%s  %s/jobs/%s", id, server, id)
		}
		fmt.Fprintf(w, "  %s: %s\n", r.ID(), id)
	}
}
