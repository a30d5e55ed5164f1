package cli

import (
	"fmt"
	"os"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/wherry-ml/wherry/workflow/action"
	"github.com/wherry-ml/wherry/workflow/runner"
)

// ciActionCommand is what the synthetic actions of workflows call.
func ciActionCommand() *cobra.Command {
	var tools string
	c := &cobra.Command{
		Use: "ci-action NAME", Short: "A built-in action of a workflow's step", Hidden: true, Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var code int
			var err error
			switch args[0] {
			case "terraform":
				code, err = action.Terraform(cmd.Context(), tools, args[1:], os.Stdout, os.Stderr)
			case "pipe":
				code, err = action.Pipe(args[1:], os.Stdout)
			default:
				err = action.Main(cmd.Context(), args[0], tools, os.Stdout)
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, "wherry:", err)
				code = 1
			}
			if code == 0 {
				return nil
			}
			if args[0] != "terraform" { // that is called within a step
				action.Seen(os.Stdout, tools)
			}
			return &ExitError{Code: code}
		},
	}
	c.Flags().StringVar(&tools, "tools", "", "the job's tools file")
	return c
}

// ciJobCommand runs one job of a workflow: its spec comes on standard input,
// its events go to descriptor 3.
func ciJobCommand() *cobra.Command {
	return &cobra.Command{
		Use: "ci-job", Short: "Run one job of a workflow", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			events := os.NewFile(3, "events")
			syscall.CloseOnExec(3) // whoever waits for the job waits until it is closed
			code := runner.Main(cmd.Context(), os.Stdin, os.Stdout, events)
			if code != 0 {
				return &ExitError{Code: code}
			}
			return nil
		},
	}
}
