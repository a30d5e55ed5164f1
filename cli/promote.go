package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/wherry-ml/wherry/client"
)

// promoteCommand approves a deployment that waits for it.
func promoteCommand() *cobra.Command {
	o := &ciOptions{}
	var environment, reason string
	var reject, watch bool
	c := &cobra.Command{
		Use:   "promote [RUN]",
		Short: "Approve, or reject, a deployment that waits for it",
		Long:  "Without RUN: approves the one run that waits, or lists those that do.",
		Example: `  wherry promote 12 --reason "release notes read"
  wherry promote 12 --reject --reason "not on a Friday"
  DATABRICKS_TOKEN=dapi… wherry promote --host http://127.0.0.1:8787    # a reviewer who is no admin`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			server, r, err := o.waiting(c, args)
			if err != nil {
				return err
			}
			decision := "approved"
			if reject {
				decision = "rejected"
			}
			var a struct {
				RunID       int64  `json:"run_id"`
				Environment string `json:"environment"`
				Decision    string `json:"decision"`
				By          string `json:"by"`
				Reason      string `json:"reason"`
			}
			in := map[string]any{"environment": environment, "decision": decision, "reason": reason}
			if err := server.Do(c.Context(), "POST", fmt.Sprintf("/api/wherry/ci/runs/%d/review", r.ID), in, &a); err != nil {
				return err
			}
			if o.output != "json" {
				fmt.Fprintf(c.OutOrStdout(), "%s: run %d of %s (%s %.8s) is %s by %s\n", a.Environment, r.ID, r.Name, r.Event.RefName(), r.Event.SHA, decision, a.By)
			}
			switch {
			case watch:
				return o.watch(c, server, r.ID)
			case o.output == "json":
				return printJSON(c.OutOrStdout(), a)
			}
			return nil
		},
	}
	c.Flags().StringVar(&environment, "env", "", "the environment (default: the one that the run waits for)")
	c.Flags().StringVar(&reason, "reason", "", "why; it is kept, and shown in the trace")
	c.Flags().BoolVar(&reject, "reject", false, "reject it: the job fails")
	c.Flags().BoolVar(&watch, "watch", false, "follow the run to its end")
	return o.add(c)
}

// waiting finds the run that is meant.
func (o *ciOptions) waiting(c *cobra.Command, args []string) (*client.Client, *ciRun, error) {
	if len(args) == 1 {
		return o.run(c, args[0])
	}
	server, err := o.connect(c)
	if err != nil {
		return nil, nil, err
	}
	var list struct {
		Reviews []*struct {
			ciRun
			Environment string `json:"environment"`
		} `json:"reviews"`
	}
	if err := server.Do(c.Context(), "GET", "/api/wherry/ci/reviews", nil, &list); err != nil {
		return nil, nil, err
	}
	switch len(list.Reviews) {
	case 0:
		return nil, nil, fmt.Errorf("no run waits for an approval of yours")
	case 1:
		return server, &list.Reviews[0].ciRun, nil
	}
	for _, r := range list.Reviews {
		fmt.Fprintf(c.ErrOrStderr(), "%d  %s  %s  %s %.8s  %s\n", r.ID, r.Environment, r.Name, r.Event.RefName(), r.Event.SHA, r.Title)
	}
	return nil, nil, &ExitError{Code: 2, Message: "several runs wait: name one"}
}
