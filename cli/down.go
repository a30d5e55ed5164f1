package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

func downCommand() *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "down",
		Short: "Stop the server that runs in a state directory",
		Long: `Stops the server of a state directory, also one that ` + "`wherry run`" + ` started in the background. Runs that are
going on go on: the next server takes them over. Where none runs it does nothing.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			st, err := stateDir(dir)
			if err != nil {
				return err
			}
			pid, err := StopServer(c.Context(), st)
			if err != nil {
				return err
			}
			if pid == 0 {
				fmt.Fprintf(c.OutOrStdout(), "no server runs in %s\n", st)
				return nil
			}
			fmt.Fprintf(c.OutOrStdout(), "stopped the server of %s, process %d\n", st, pid)
			return nil
		},
	}
	c.Flags().StringVar(&dir, "state", "", "state directory (default: wherry below XDG_STATE_HOME)")
	return c
}
