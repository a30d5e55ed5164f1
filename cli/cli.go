// Package cli holds wherry's commands: flags in, text or JSON out. Each file
// holds one command.
package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/wherry-ml/wherry/terraform"
)

// ExitError ends the process with its code; an empty message prints nothing.
type ExitError struct {
	Code    int
	Message string
}

func (e *ExitError) Error() string { return e.Message }

// Main runs the command line and returns the process's exit code: 0 success,
// 1 failure, 2 wrong use. Under the name databricks the binary is another
// command.
func Main(args []string) int {
	if name, ok := terraform.Provider(args[0]); ok { // Terraform started us as a provider
		if err := terraform.Serve(name); err != nil {
			fmt.Fprintln(os.Stderr, "wherry:", err)
			return 1
		}
		return 0
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // the second ends us at once
	if filepath.Base(args[0]) == "databricks" {
		return databricksMain(ctx, args[1:])
	}
	root := rootCommand()
	root.SetArgs(args[1:])
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	exit, ok := errors.AsType[*ExitError](err)
	if !ok {
		exit = &ExitError{Code: 1, Message: err.Error()}
	}
	if exit.Message != "" {
		fmt.Fprintln(os.Stderr, "wherry: "+exit.Message)
	}
	return exit.Code
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "wherry",
		Short:         "Run databricks.yml bundles on your own machines",
		Long:          "wherry runs databricks.yml bundles on machines you own: jobs, notebooks, Spark, Delta, MLflow and Unity Catalog. Not affiliated with Databricks.",
		Version:       Version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(
		upCommand(),
		downCommand(),
		demoCommand(),
		initCommand(),
		runCommand(),
		bundleCommand(nil),
		jobsCommand(),
		fsCommand(),
		standInCommand(),
		doctorCommand(),
		traceCommand(),
		terraformCommand(),
		driftCommand(),
		setupCommand(),
		agentCommand(),
		mlflowCommand(),
		userCommand(),
		groupCommand(),
		envCommand(),
		repoCommand(),
		prCommand(),
		ciCommand(),
		promoteCommand(),
		ciActionCommand(),
		ciJobCommand(),
		notificationsCommand(),
	)
	root.InitDefaultCompletionCmd()
	refuseUnknown(root)
	return root
}
