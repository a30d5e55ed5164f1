package cli

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/wherry-ml/wherry/agent"
)

// agentCommand is what a server starts, detached; people never do.
func agentCommand() *cobra.Command {
	var dir, build string
	var readyFD int
	c := &cobra.Command{
		Use:    "agent",
		Short:  "Do the work of one cluster (started by the server)",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var ready *os.File
			if readyFD > 2 {
				ready = os.NewFile(uintptr(readyFD), "ready")
			}
			return agent.Run(c.Context(), dir, build, ready)
		},
	}
	c.Flags().StringVar(&dir, "dir", "", "the agent's folder")
	c.Flags().StringVar(&build, "build", "", "digest of this executable")
	c.Flags().IntVar(&readyFD, "ready-fd", 0, "descriptor that is written to once servers can connect")
	_ = c.MarkFlagRequired("dir")
	return c
}
