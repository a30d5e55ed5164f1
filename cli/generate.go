package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/wherry-ml/wherry/bundle"
	"github.com/wherry-ml/wherry/bundle/deploy"
	"github.com/wherry-ml/wherry/cli/databricks"
	"github.com/wherry-ml/wherry/client"
)

// generateCommand writes the configuration of resources that exist.
func generateCommand(session *databricks.Session) *cobra.Command {
	c := &cobra.Command{
		Use:   "generate",
		Short: "Write the configuration of a resource that exists",
		Long:  "Writes the YAML of a resource that exists, and downloads the notebooks and files that a job's tasks name. `wherry bundle deployment bind` then lets the next deploy change that resource instead of making another.",
	}
	c.AddCommand(generateOne(session, "job", "jobs", "existing-job-id"))
	for _, word := range []string{"experiment", "model", "registered-model", "catalog", "schema", "volume", "external-location", "cluster", "secret-scope"} {
		c.AddCommand(generateOne(session, word, strings.ReplaceAll(word, "-", "_")+"s", "existing-id"))
	}
	for _, word := range []string{"pipeline", "dashboard", "app", "alert"} {
		c.AddCommand(&cobra.Command{
			Use: word, Short: "Not supported: there are none here", Args: cobra.ArbitraryArgs, FParseErrWhitelist: cobra.FParseErrWhitelist{UnknownFlags: true},
			RunE: func(*cobra.Command, []string) error {
				return &ExitError{Code: 1, Message: "bundle generate " + word + ": wherry has no " + word + "s"}
			},
		})
	}
	return c
}

func generateOne(session *databricks.Session, word, section, flag string) *cobra.Command {
	f, g, bind := &bundleFlags{session: session}, deploy.Generate{Type: section}, false
	c := f.command(&cobra.Command{Use: word, Short: "Write the configuration of a " + strings.ReplaceAll(word, "-", " "), Args: cobra.NoArgs},
		func(c *cobra.Command, cl *client.Client, b *bundle.Bundle) error {
			g.Root = b.Root
			files, key, err := g.Write(c.Context(), cl)
			if err != nil {
				return err
			}
			slices.Sort(files)
			for _, name := range files {
				fmt.Fprintln(c.OutOrStdout(), "wrote", name)
			}
			id := section + "." + key
			if !bind {
				fmt.Fprintf(c.OutOrStdout(), "to let deploys change it: wherry bundle deployment bind %s %s\n", id, g.ID)
				return nil
			}
			if err := deploy.Bind(c.Context(), cl, b, bundle.Resource{Type: section, Key: key}, g.ID); err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "%s is %s now: the next deploy changes it\n", id, g.ID)
			return nil
		})
	c.Flags().StringVar(&g.ID, flag, "", "the id, or the full name for what the catalog has")
	c.Flags().StringVar(&g.Key, "key", "", "the key in the bundle (default: made of the name)")
	c.Flags().StringVarP(&g.Config, "config-dir", "d", "resources", "where the YAML goes, relative to the bundle")
	c.Flags().StringVarP(&g.Source, "source-dir", "s", "src", "where notebooks and files go, relative to the bundle")
	c.Flags().BoolVarP(&g.Force, "force", "f", false, "overwrite files that exist")
	c.Flags().BoolVarP(&bind, "bind", "b", false, "bind it as well")
	_ = c.MarkFlagRequired(flag)
	return c
}
