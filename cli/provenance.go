package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/wherry-ml/wherry/state"
	"github.com/wherry-ml/wherry/trace/provenance"
)

// provenanceCommand writes what a server signs. -o is a file here, not a format.
func provenanceCommand(dir *string) *cobra.Command {
	file := ""
	c := &cobra.Command{
		Use:   "provenance DEPLOYMENT|MODEL/VERSION",
		Short: "Write signed SLSA provenance of a deployment or a model version",
		Long: `Writes where a deployment (its id, or ID/VERSION) or a model version (NAME/VERSION) came from: commits, workflow runs,
tests, approvals, table versions. It is SLSA v1 provenance, an in-toto statement in a DSSE envelope, signed with the
installation's key. ` + "`wherry trace verify`" + ` checks it, without a server.`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			server, err := localServer(c, *dir)
			if err != nil {
				return err
			}
			resp, err := server.Send(c.Context(), "GET", "/api/wherry/provenance?id="+url.QueryEscape(args[0]), nil, -1)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			if err != nil {
				return err
			}
			if file == "-" {
				_, err = c.OutOrStdout().Write(b)
				return err
			}
			if err := state.WriteFile(file, b, 0o644); err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "wrote %s\n", file)
			return nil
		},
	}
	c.Flags().StringVarP(&file, "output", "o", "-", "file to write, - for standard output")
	return c
}

func verifyCommand(dir *string) *cobra.Command {
	var key, subject, digest string
	c := &cobra.Command{
		Use:   "verify FILE",
		Short: "Check signed provenance, without a server",
		Long:  "Checks that a file of `wherry trace provenance` was signed with the installation's key and not changed since. The key is that of --state, or the one in the PEM file of --key. A file of another deploy verifies too: name the one that is meant with --subject or --sha256.",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			file, err := os.ReadFile(args[0])
			if err != nil {
				return err
			}
			if key == "" {
				st, err := stateDir(*dir)
				if err != nil {
					return err
				}
				key = filepath.Join(st.Keys(), provenance.PublicFile)
			}
			public, err := os.ReadFile(key)
			if errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("there is no key %s: give the installation's with --key", key)
			}
			if err != nil {
				return err
			}
			s, err := provenance.Verify(c.Context(), file, public)
			if err != nil {
				return err
			}
			if err := s.About(subject, digest); err != nil {
				return err
			}
			out := c.OutOrStdout()
			fmt.Fprintf(out, "ok: %s\nsigned by %s\n", s.Subject[0].Name, s.Predicate.RunDetails.Builder.ID)
			_, dirty := s.Predicate.BuildDefinition.ExternalParameters["dirty_digest"]
			for _, d := range s.Predicate.BuildDefinition.ResolvedDependencies {
				with := ""
				if d.Annotations["dirty_digest"] != nil || dirty && d.Digest["gitCommit"] != "" {
					with = " with changes that are in no commit"
				}
				fmt.Fprintf(out, "  from %s%s\n", d.Name, with)
			}
			return nil
		},
	}
	c.Flags().StringVar(&subject, "subject", "", "what it must be of: deployment ID/VERSION or model NAME/VERSION")
	c.Flags().StringVar(&digest, "sha256", "", "the digest that its subject must have")
	c.Flags().StringVar(&key, "key", "", "public key in PEM (default: the one of the state directory)")
	return c
}
