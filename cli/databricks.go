package cli

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/wherry-ml/wherry/cli/databricks"
)

// databricksCommand is what the binary is under the name databricks.
func databricksCommand() *cobra.Command {
	s := &databricks.Session{Version: Version}
	root := databricks.Command(s)
	root.AddCommand(bundleCommand(s))
	databricks.Unknown(root)
	return root
}

// databricksMain is Main under that name. Scripts know 0 and 1 of it.
func databricksMain(ctx context.Context, args []string) int {
	root := databricksCommand()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if err.Error() != "" {
		fmt.Fprintln(os.Stderr, "Error: "+err.Error())
	}
	return 1
}
