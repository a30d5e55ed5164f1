package cli

import (
	"cmp"
	"fmt"
	"net/url"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

func repoNotifyCommand(o *repoOptions) *cobra.Command {
	var failure, success []string
	c := &cobra.Command{
		Use:   "notify NAME",
		Short: "Say who is told when workflows of a repository end",
		Long: `Names who is told of the outcomes of a repository's workflows: e-mail addresses, and notification destinations by id or
name ("wherry notifications destinations" lists them). Of failures, where nobody is named, the destinations of the
installation are told, and always the author of the commit. An empty list takes the names away; without flags it shows
who is told.`,
		Example: `  wherry repo notify my-project --on-failure alerts,ada@example.com --on-success releases
  wherry repo notify my-project --on-success ''`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			server, err := localServer(c, o.state)
			if err != nil {
				return err
			}
			in := map[string][]string{}
			for flag, list := range map[string][]string{"on-failure": failure, "on-success": success} {
				if c.Flags().Changed(flag) {
					in[strings.ReplaceAll(flag, "-", "_")] = append([]string{}, list...)
				}
			}
			var out struct {
				OnFailure []string `json:"on_failure"`
				OnSuccess []string `json:"on_success"`
			}
			address := "/api/wherry/repos/" + url.PathEscape(args[0]) + "/notify"
			if len(in) > 0 {
				err = server.Do(c.Context(), "PUT", address, in, &out)
			} else {
				err = server.Do(c.Context(), "GET", address, nil, &out)
			}
			if err != nil {
				return err
			}
			if o.output == "json" {
				return printJSON(c.OutOrStdout(), out)
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintf(w, "on failure\tthe author, %s\n", cmp.Or(strings.Join(out.OnFailure, ", "), "the destinations of the installation"))
			fmt.Fprintf(w, "on success\t%s\n", cmp.Or(strings.Join(out.OnSuccess, ", "), "nobody"))
			return w.Flush()
		},
	}
	c.Flags().StringSliceVar(&failure, "on-failure", nil, "who is told of a failure: e-mail address, or destination by id or name; empty for the installation's")
	c.Flags().StringSliceVar(&success, "on-success", nil, "who is told of a success; empty for nobody")
	return c
}
