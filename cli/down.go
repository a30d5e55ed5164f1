package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/wherry-ml/wherry/client"
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
			_, info, err := client.Local(c.Context(), st)
			if errors.Is(err, client.ErrNoServer) {
				fmt.Fprintf(c.OutOrStdout(), "no server runs in %s\n", st)
				return nil
			}
			if err != nil {
				return err
			}
			if err := StopServer(c.Context(), info); err != nil {
				return fmt.Errorf("stop the server, process %d: %w", info.PID, err)
			}
			fmt.Fprintf(c.OutOrStdout(), "stopped %s\n", info.URL)
			return nil
		},
	}
	c.Flags().StringVar(&dir, "state", "", "state directory (default: wherry below XDG_STATE_HOME)")
	return c
}
