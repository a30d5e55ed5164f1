package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// ciValueCommand is `wherry ci secret` or `wherry ci var`.
func ciValueCommand(word string, secret bool) *cobra.Command {
	what := map[bool]string{true: "secret", false: "variable"}[secret]
	c := &cobra.Command{Use: word, Short: fmt.Sprintf("The %ss of workflows, of a repository or an environment", what)}
	var repo, environment string
	body := func(name, value string) map[string]any {
		return map[string]any{"repo": repo, "environment": environment, "name": name, "value": value, "secret": secret}
	}
	o := &ciOptions{}
	set := o.add(&cobra.Command{
		Use: "set NAME [VALUE]", Short: "Set a " + what + "; without VALUE it is read from standard input", Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			server, err := o.connect(c)
			if err != nil {
				return err
			}
			value, err := valueOf(c, args)
			if err != nil {
				return err
			}
			if err := server.Do(c.Context(), "PUT", "/api/wherry/ci/values", body(args[0], value), nil); err != nil {
				return err
			}
			of := "repository " + repo
			if environment != "" {
				of = "environment " + environment
			}
			if o.output == "json" {
				return printJSON(c.OutOrStdout(), map[string]string{"name": strings.ToUpper(args[0]), "repo": repo, "environment": environment})
			}
			fmt.Fprintf(c.OutOrStdout(), "set the %s %s of the %s\n", what, strings.ToUpper(args[0]), of)
			return nil
		},
	})
	remove := o.add(&cobra.Command{
		Use: "delete NAME", Short: "Delete a " + what, Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			server, err := o.connect(c)
			if err != nil {
				return err
			}
			return server.Do(c.Context(), "DELETE", "/api/wherry/ci/values", body(args[0], ""), nil)
		},
	})
	list := o.add(&cobra.Command{
		Use: "list", Short: "List the " + what + "s", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return listValues(c, o, repo, environment, secret) },
	})
	for _, sub := range []*cobra.Command{set, remove, list} {
		sub.Flags().StringVar(&repo, "repo", "", "of this repository")
		sub.Flags().StringVar(&environment, "env", "", "of this environment")
	}
	c.AddCommand(set, remove, list)
	return c
}

// valueOf is the second argument, or what comes on standard input; from a
// terminal nothing is shown.
func valueOf(c *cobra.Command, args []string) (string, error) {
	if len(args) == 2 {
		return args[1], nil
	}
	if f, ok := c.InOrStdin().(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprintf(c.ErrOrStderr(), "%s: ", args[0])
		b, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(c.ErrOrStderr())
		return string(b), err
	}
	b, err := io.ReadAll(c.InOrStdin())
	return string(bytes.TrimSuffix(b, []byte("\n"))), err
}

func listValues(c *cobra.Command, o *ciOptions, repo, environment string, secret bool) error {
	server, err := o.connect(c)
	if err != nil {
		return err
	}
	var list struct {
		Values []struct {
			Scope     string `json:"scope"`
			Name      string `json:"name"`
			Secret    bool   `json:"secret"`
			Value     string `json:"value,omitempty"`
			UpdatedBy string `json:"updated_by"`
		} `json:"values"`
	}
	query := url.Values{"repo": {repo}, "environment": {environment}}
	if err := server.Do(c.Context(), "GET", "/api/wherry/ci/values?"+query.Encode(), nil, &list); err != nil {
		return err
	}
	kept := list.Values[:0]
	for _, v := range list.Values {
		if v.Secret == secret {
			kept = append(kept, v)
		}
	}
	list.Values = kept
	if o.output == "json" {
		return json.NewEncoder(c.OutOrStdout()).Encode(list)
	}
	w := tabwriter.NewWriter(c.OutOrStdout(), 0, 4, 2, ' ', 0)
	for _, v := range list.Values {
		fmt.Fprintf(w, "%s\t%s\t%s\tby %s\n", v.Scope, v.Name, v.Value, v.UpdatedBy)
	}
	return w.Flush()
}
