package cli

import (
	"context"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/bundle"
	"github.com/wherry-ml/wherry/bundle/deployment"
	"github.com/wherry-ml/wherry/client"
)

// firstName is what --workspace calls the one that exists from the start.
const firstName = "first"

// workspaceFlag is the same flag of every command that has it.
func workspaceFlag(c *cobra.Command, workspace *string, fallback string) {
	c.PersistentFlags().StringVar(workspace, "workspace", "", "the server's workspace: its name (adb-…), or "+firstName+" (default: "+fallback+")")
}

var workspaceNumber = regexp.MustCompile(`^(?:adb-)?([0-9]{1,18})(?:\.[0-9]+(?:\.azuredatabricks\.net)?)?$`)

// inWorkspace is a client of the workspace that --workspace names; an error if
// the server has none of that name.
func inWorkspace(ctx context.Context, c *client.Client, name string) (*client.Client, error) {
	name = strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(name, "https://"), "/"))
	if name == firstName {
		return c.In(""), nil
	}
	m := workspaceNumber.FindStringSubmatch(name)
	if m == nil {
		return nil, &ExitError{Code: 2, Message: fmt.Sprintf("--workspace %s: write it as adb-1234567890123456.7.azuredatabricks.net, or %s", name, firstName)}
	}
	id, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		return nil, err
	}
	in := c.In(auth.ElsewhereHost(id))
	var host deployment.Host
	if err := in.Do(ctx, "GET", "/api/wherry/deployments/host", nil, &host); err != nil {
		return nil, err
	}
	if host.WorkspaceID != id { // a name of nobody's leads to the first
		return nil, wherry.Errorf(wherry.CodeDoesNotExist, "--workspace %s: %s has no workspace of that name", name, c.URL)
	}
	return in, nil
}

// workspaceName is how a workspace is called in what people read.
func workspaceName(host string) string {
	if host == "" {
		return "the first workspace"
	}
	return "the workspace " + host
}

// place leads to the workspace that the bundle's target is deployed to, or that
// --workspace names. What deploys goes to the first one if nothing names another:
// it would make a second copy of what is elsewhere.
func (f *bundleFlags) place(ctx context.Context, c *client.Client, b *bundle.Bundle) (*client.Client, error) {
	if f.session != nil { // it names its workspace itself
		return c, nil
	}
	if f.workspace != "" {
		return inWorkspace(ctx, c, f.workspace)
	}
	var found deployment.Places
	if err := c.Do(ctx, "GET", "/api/wherry/deployments/places?root_path="+url.QueryEscape(b.Workspace.Root), nil, &found); err != nil {
		return nil, err
	}
	live, all := []deployment.Place{}, found.Places
	for _, p := range all {
		if !p.Destroyed {
			live = append(live, p)
		}
	}
	if len(live) == 0 && !f.deploys {
		live = all // whose history is still there
	}
	switch {
	case len(live) == 0 || len(live) == 1 && live[0].Host == "":
		return c, nil
	case len(live) > 1:
		return nil, &ExitError{Code: 1, Message: fmt.Sprintf("%s is in %d workspaces: %s; say which with --workspace", b.Workspace.Root, len(live), named(live))}
	case f.deploys:
		p := live[0]
		return nil, &ExitError{Code: 1, Message: fmt.Sprintf("%s, target %s, is deployed already, to %s in %s (version %d): in the first workspace it would be a second copy, whose jobs run too. "+
			"Give --workspace %s to deploy there, or --workspace %s for the second copy", b.Name, b.Target, b.Workspace.Root, workspaceName(p.Host), p.Version, p.Host, firstName)}
	}
	return c.In(live[0].Host), nil
}

func named(places []deployment.Place) string {
	var names []string
	for _, p := range places {
		name := p.Host
		if name == "" {
			name = firstName
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}
