package cli

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

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
	dir, output := "", ""
	connect := func(c *cobra.Command) (*client.Client, error) { return localServer(c, dir) }
	c := group(connect)
	c.PersistentFlags().StringVar(&dir, "state", "", "state directory (default: wherry below XDG_STATE_HOME)")
	c.PersistentFlags().StringVarP(&output, "output", "o", "text", "text or json")
	if c.Name() == "jobs" {
		c.AddCommand(followCommand(connect))
	}
	return c
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
