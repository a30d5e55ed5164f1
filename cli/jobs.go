package cli

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wherry-ml/wherry"
	jobsapi "github.com/wherry-ml/wherry/api/jobs"
	"github.com/wherry-ml/wherry/cli/databricks"
	"github.com/wherry-ml/wherry/client"
)

// jobsCommand are jobs and runs of the installation on this machine: what the
// databricks command has, and a run's live view.
func jobsCommand() *cobra.Command {
	c := onThisMachine(databricks.Jobs)
	c.Short = "List, run, follow and cancel jobs"
	return c
}

// fsCommand are the files of this installation's volumes and DBFS.
func fsCommand() *cobra.Command { return onThisMachine(databricks.FS) }

// onThisMachine is a group of the databricks command, with the server of a
// state directory behind it.
func onThisMachine(group func(databricks.Connector) *cobra.Command) *cobra.Command {
	dir, output, workspace := "", "", ""
	connect := func(c *cobra.Command) (*client.Client, error) {
		cl, err := localServer(c, dir)
		switch {
		case err != nil:
			return nil, err
		case workspace != "":
			return inWorkspace(c.Context(), cl, workspace)
		case c.Parent().Name() == "jobs":
			return whereItIs(c, cl)
		}
		return cl, nil
	}
	c := group(connect)
	c.PersistentFlags().StringVar(&dir, "state", "", "state directory (default: wherry below XDG_STATE_HOME)")
	c.PersistentFlags().StringVarP(&output, "output", "o", "text", "text or json")
	if c.Name() == "jobs" {
		workspaceFlag(c, &workspace, "that of the run or job, else the first")
		c.AddCommand(followCommand(connect))
	} else {
		workspaceFlag(c, &workspace, "the first")
	}
	return c
}

// whereItIs leads to the workspace of the run or job that a command names: their
// ids are of the whole server. What lists those of the first workspace says which
// others have some.
func whereItIs(c *cobra.Command, cl *client.Client) (*client.Client, error) {
	query, named := url.Values{}, false
	for i, word := range strings.Fields(c.Use)[1:] {
		if name := strings.ToLower(word); (name == "run_id" || name == "job_id") && c.Flags().NArg() > i {
			query.Set(name, c.Flags().Arg(i))
			named = true
		}
	}
	if id := c.Flags().Lookup("job-id"); id != nil && id.Changed {
		query.Set("job_id", id.Value.String())
		named = true
	}
	lists := c.Name() == "list" || c.Name() == "list-runs"
	if !named && !lists {
		return cl, nil
	}
	var found jobsapi.Found
	err := cl.Do(c.Context(), "GET", "/api/wherry/jobs/workspaces?"+query.Encode(), nil, &found)
	if named && (wherry.CodeOf(err) == wherry.CodeInvalidParameter || err == nil && len(found.Workspaces) == 0) {
		return cl, nil // the call itself says so
	}
	if err != nil {
		return nil, err
	}
	if named {
		return cl.In(found.Workspaces[0]), nil
	}
	if others := slices.DeleteFunc(found.Workspaces, func(host string) bool { return host == "" }); len(others) > 0 {
		fmt.Fprintf(c.ErrOrStderr(), "these are of the first workspace; --workspace NAME shows those of %s\n", strings.Join(others, ", "))
	}
	return cl, nil
}

// followCommand shows a run that goes on, to its end.
func followCommand(connect databricks.Connector) *cobra.Command {
	return &cobra.Command{
		Use: "follow RUN_ID", Short: "Follow a run to its end; fails if the run does", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil {
				return &ExitError{Code: 2, Message: fmt.Sprintf("RUN_ID %q is no number", args[0])}
			}
			cl, err := connect(c)
			if err != nil {
				return err
			}
			result, err := follow(c, cl, id, c.Flag("output").Value.String() == "json")
			if err == nil && !result.Succeeded() {
				err = &ExitError{Code: 1} // what was shown says why
			}
			return err
		},
	}
}
