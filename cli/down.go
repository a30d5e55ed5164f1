package cli

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/wherry-ml/wherry/client"
	"github.com/wherry-ml/wherry/state"
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
			if errors.Is(err, client.ErrNoServer) && !alive(st) {
				fmt.Fprintf(c.OutOrStdout(), "no server runs in %s\n", st)
				return nil
			}
			if info.PID == 0 { // it starts in this moment, or its file cannot be read
				return err
			}
			if err := StopServer(c.Context(), info); err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "stopped %s\n", info.URL)
			return nil
		},
	}
	c.Flags().StringVar(&dir, "state", "", "state directory (default: wherry below XDG_STATE_HOME)")
	return c
}

// alive tells whether a server has the state directory, though it may not
// answer.
func alive(dir state.Dir) bool {
	f, err := os.Open(dir.Path("server.lock"))
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}
