package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wherry-ml/wherry/bundle"
	"github.com/wherry-ml/wherry/bundle/config"
	"github.com/wherry-ml/wherry/bundle/deploy"
	"github.com/wherry-ml/wherry/cli/databricks"
	"github.com/wherry-ml/wherry/client"
)

// deploymentCommand ties resources that exist to a bundle, and unties them.
func deploymentCommand(session *databricks.Session) *cobra.Command {
	c := &cobra.Command{Use: "deployment", Short: "Tie resources that exist to the bundle, or untie them"}
	c.AddCommand(bindCommand(session), unbindCommand(session))
	return c
}

func bindCommand(session *databricks.Session) *cobra.Command {
	f, named := &bundleFlags{session: session}, []string{}
	c := f.command(&cobra.Command{
		Use:   "bind KEY ID",
		Short: "Let the next deploy change a resource that exists",
		Long: `Ties the resource KEY of the bundle (or jobs.KEY) to the one with this id, or full name for those of the catalog. The
next deploy changes it to what the bundle says; "wherry bundle plan" shows how. A destroy leaves it, unless the bundle
made it. A resource that the bundle holds by another key gets this one.`,
		Args: cobra.ExactArgs(2),
		PreRunE: func(_ *cobra.Command, args []string) error {
			named = args
			return nil
		},
	}, func(c *cobra.Command, cl *client.Client, b *bundle.Bundle) error {
		r, err := resourceNamed(b, named[0])
		if err != nil {
			return err
		}
		if err := deploy.Bind(c.Context(), cl, b, r, named[1]); err != nil {
			return err
		}
		fmt.Fprintf(c.OutOrStdout(), "%s is %s now: the next deploy changes it\n", r.ID(), named[1])
		return nil
	})
	c.Flags().BoolVar(&f.approve, "auto-approve", false, "accepted; a bind changes nothing by itself")
	return c
}

func unbindCommand(session *databricks.Session) *cobra.Command {
	f, key := &bundleFlags{session: session}, ""
	return f.command(&cobra.Command{
		Use:   "unbind KEY",
		Short: "Forget a deployed resource, which stays",
		Args:  cobra.ExactArgs(1),
		PreRunE: func(_ *cobra.Command, args []string) error {
			key = args[0]
			return nil
		},
	}, func(c *cobra.Command, cl *client.Client, b *bundle.Bundle) error {
		r, err := resourceNamed(b, key)
		if err != nil {
			return err
		}
		if err := deploy.Unbind(c.Context(), cl, b, r); err != nil {
			return err
		}
		fmt.Fprintf(c.OutOrStdout(), "%s is forgotten, and stays as it is\n", r.ID())
		return nil
	})
}

// resourceNamed finds a resource of the bundle by its key, or type and key.
func resourceNamed(b *bundle.Bundle, name string) (bundle.Resource, error) {
	var found []bundle.Resource
	var known []string
	for _, r := range b.Resources() {
		known = append(known, r.Key, r.ID())
		if r.Key == name || r.ID() == name {
			found = append(found, r)
		}
	}
	if len(found) == 1 {
		return found[0], nil
	}
	if len(found) > 1 {
		return bundle.Resource{}, &ExitError{Code: 2, Message: fmt.Sprintf("%q can be %s: name one of them", name, strings.Join([]string{found[0].ID(), found[1].ID()}, " or "))}
	}
	message := fmt.Sprintf("there is no resource %q in the bundle", name)
	if near := config.Nearest(name, slices.Compact(known)); near != "" {
		message += fmt.Sprintf(": did you mean %q?", near)
	}
	return bundle.Resource{}, &ExitError{Code: 1, Message: message}
}
