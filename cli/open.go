package cli

import (
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wherry-ml/wherry/bundle"
	"github.com/wherry-ml/wherry/bundle/config"
	"github.com/wherry-ml/wherry/bundle/deploy"
	"github.com/wherry-ml/wherry/cli/databricks"
	"github.com/wherry-ml/wherry/client"
)

// openCommand shows the page of what is deployed.
func openCommand(session *databricks.Session) *cobra.Command {
	f := &bundleFlags{session: session}
	key := ""
	return f.command(&cobra.Command{
		Use:   "open [KEY]",
		Short: "Open the page of a deployed resource",
		Long:  "Prints the address of the page of a job, an experiment or a registered model, given by its key or as jobs.KEY, and opens it where there is a browser. Without KEY: the page of all jobs.",
		Args:  cobra.MaximumNArgs(1),
		PreRunE: func(_ *cobra.Command, args []string) error {
			key = strings.Join(args, "")
			return nil
		},
	}, func(c *cobra.Command, cl *client.Client, b *bundle.Bundle) error {
		page := "/jobs"
		if key != "" {
			s, err := deploy.Summary(c.Context(), cl, b.Workspace.Root)
			if err != nil {
				return err
			}
			if page, err = resourcePage(b, key, s.Resources); err != nil {
				return err
			}
		}
		if f.json() {
			return printJSON(c.OutOrStdout(), map[string]any{"url": cl.URL + page})
		}
		fmt.Fprintln(c.OutOrStdout(), cl.URL+page)
		return openBrowser(cl.URL + page)
	})
}

// resourcePage finds the page of a resource by its key, or type and key.
func resourcePage(b *bundle.Bundle, key string, deployed map[string]string) (string, error) {
	var known []string
	for _, r := range b.Resources() {
		known = append(known, r.ID())
		if r.Key != key && r.ID() != key {
			continue
		}
		id := deployed[r.ID()]
		if id == "" {
			return "", &ExitError{Code: 1, Message: fmt.Sprintf("%s is not deployed to target %s: run `bundle deploy` first", r.ID(), b.Target)}
		}
		switch r.Type {
		case "jobs":
			return "/jobs/" + id, nil
		case "experiments":
			return "/mlflow/#/experiments/" + id, nil
		case "registered_models":
			return "/models/" + url.PathEscape(id), nil
		}
		return "", &ExitError{Code: 1, Message: fmt.Sprintf("%s has no page: jobs, experiments and registered models have", r.ID())}
	}
	message := fmt.Sprintf("there is no resource %q in the bundle", key)
	if near := config.Nearest(key, slices.Concat(known, jobKeys(b))); near != "" {
		message += fmt.Sprintf(": did you mean %q?", near)
	}
	return "", &ExitError{Code: 1, Message: message}
}

// openBrowser starts a browser where there is a screen for one.
func openBrowser(page string) error {
	if os.Getenv("DISPLAY") == "" && os.Getenv("WAYLAND_DISPLAY") == "" {
		return nil
	}
	opener, err := exec.LookPath("xdg-open")
	if err != nil {
		return nil // the address is printed
	}
	if out, err := exec.Command(opener, page).CombinedOutput(); err != nil {
		return fmt.Errorf("xdg-open: %w: %s", err, out)
	}
	return nil
}
