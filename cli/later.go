package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

// notYet is the answer of what people know from elsewhere and is not there.
func notYet(what, instead string) error {
	return &ExitError{Code: 1, Message: fmt.Sprintf("%s is not supported yet: %s", what, instead)}
}

// anyFlag lets the answer come before a complaint about a flag.
var anyFlag = cobra.FParseErrWhitelist{UnknownFlags: true}

func generateCommand() *cobra.Command {
	return &cobra.Command{
		Use: "generate [TYPE]", Short: "Write the configuration of a resource that exists (not supported yet)", Args: cobra.ArbitraryArgs, FParseErrWhitelist: anyFlag,
		RunE: func(_ *cobra.Command, args []string) error {
			what := "bundle generate"
			if len(args) > 0 {
				what += " " + args[0]
			}
			return notYet(what, "write the resource into databricks.yml by hand")
		},
	}
}
