package cli

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/wherry-ml/wherry/server"
	"github.com/wherry-ml/wherry/state"
)

func upCommand() *cobra.Command {
	var dir string
	cfg := server.Config{}
	c := &cobra.Command{
		Use:   "up",
		Short: "Start the server",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			st, err := stateDir(dir)
			if err != nil {
				return err
			}
			cfg.State = st
			cfg.Ready = func(i server.Info) {
				fmt.Fprintf(c.OutOrStdout(), "wherry serves %s, storage %s\nadmin token: %s\n", i.URL, i.StorageURL, st.Path("admin-token"))
			}
			return server.Run(c.Context(), cfg)
		},
	}
	c.Flags().StringVar(&cfg.Listen, "listen", "127.0.0.1:8787", "address of the APIs and pages")
	c.Flags().StringVar(&cfg.StorageListen, "storage-listen", "127.0.0.1:10000", "address of the plain storage endpoint")
	c.Flags().StringVar(&cfg.ProxyListen, "proxy-listen", "", "address of the proxy that serves production host names (default: a free port, the same one each time)")
	c.Flags().StringVar(&cfg.Database, "database", "", "postgres://… instead of SQLite in the state directory")
	c.Flags().DurationVar(&cfg.AgentIdle, "agent-idle", 10*time.Minute, "how long agents stay without a server and without work")
	c.Flags().StringVar(&dir, "state", "", "state directory (default: wherry below XDG_STATE_HOME)")
	return c
}

// stateDir makes the value of --state absolute, or gives the default.
func stateDir(flag string) (state.Dir, error) {
	if flag == "" {
		return state.Default()
	}
	abs, err := filepath.Abs(flag)
	return state.Dir(abs), err
}
