package cli

import (
	"fmt"
	"io"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func repoShowCommand(o *repoOptions) *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Show a repository and what it mirrors", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			server, err := localServer(c, o.state)
			if err != nil {
				return err
			}
			var r gitRepo
			if err := server.Do(c.Context(), "GET", "/api/wherry/repos/"+url.PathEscape(args[0]), nil, &r); err != nil {
				return err
			}
			return o.show(c, &r)
		},
	}
}

// show prints a repository as asked for.
func (o *repoOptions) show(c *cobra.Command, r *gitRepo) error {
	if o.output == "json" {
		return printJSON(c.OutOrStdout(), r)
	}
	printRepo(c.OutOrStdout(), r)
	return nil
}

func printRepo(w io.Writer, r *gitRepo) {
	fmt.Fprintf(w, "%s\n  address         %s\n  default branch  %s\n", r.Name, r.URL, r.DefaultBranch)
	if r.ForkOf != "" {
		fmt.Fprintf(w, "  fork of         %s\n", r.ForkOf)
	}
	m := r.Mirror
	if m == nil {
		return
	}
	every := "by webhooks alone"
	if m.Seconds > 0 {
		every = "every " + (time.Duration(m.Seconds) * time.Second).String()
	}
	fmt.Fprintf(w, "  mirror of       %s, looked at %s, last at %s\n", m.URL, every, time.UnixMilli(m.FetchedAt).Format(time.RFC3339))
	if m.Reports {
		fmt.Fprintf(w, "  reports to      %s\n", m.Forge)
	}
	if m.Error != "" {
		fmt.Fprintf(w, "  the last look failed: %s\n", m.Error)
	}
	for _, line := range r.Unreported {
		fmt.Fprintf(w, "  not reported: %s\n", line)
	}
}

func repoMirrorCommand(o *repoOptions) *cobra.Command {
	var name, forge, apiURL, user string
	var interval time.Duration
	var report, token bool
	c := &cobra.Command{
		Use:   "mirror URL",
		Short: "Follow a repository that is elsewhere",
		Long: `Keeps a copy of a repository of GitHub, GitLab, Azure DevOps or any other Git server. What is pushed there triggers
workflows here; what is there when the mirror is made does not. It is looked at every --interval, and at once when the
forge sends a webhook (wherry repo hook). With --report, statuses and deployments go back to the forge.

A token is read from the terminal or standard input and kept encrypted. It needs to read the repository, and to write
statuses and deployments for --report.`,
		Example: `  wherry repo mirror https://github.com/team/my-project.git --token-stdin --report < token
  wherry repo hook my-project github`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			server, err := localServer(c, o.state)
			if err != nil {
				return err
			}
			if name == "" {
				name = strings.TrimSuffix(path.Base(strings.TrimRight(args[0], "/")), ".git")
			}
			in := map[string]any{"url": args[0], "forge": forge, "api_url": apiURL, "seconds": int64(interval.Seconds()), "reports": report, "user": user}
			if token {
				if in["token"], err = readSecret(c, "token"); err != nil {
					return err
				}
			}
			var r gitRepo
			if err := server.Do(c.Context(), "PUT", "/api/wherry/repos/"+url.PathEscape(name)+"/mirror", in, &r); err != nil {
				return err
			}
			return o.show(c, &r)
		},
	}
	c.Flags().StringVar(&name, "name", "", "the repository's name here (default: the last part of the address)")
	c.Flags().DurationVar(&interval, "interval", time.Minute, "time between two looks; 0 waits for webhooks alone")
	c.Flags().StringVar(&forge, "forge", "", "github, gitlab or azure-devops (default: by the host's name)")
	c.Flags().StringVar(&apiURL, "api-url", "", "address of the forge's API (default: by the host's name)")
	c.Flags().BoolVar(&report, "report", false, "send statuses and deployments to the forge")
	c.Flags().StringVar(&user, "user", "", "user name beside the token, where the forge asks for one")
	c.Flags().BoolVar(&token, "token-stdin", false, "read a token for the forge")
	return c
}

func repoHookCommand(o *repoOptions) *cobra.Command {
	return &cobra.Command{
		Use:   "hook NAME FORGE",
		Short: "Take the webhooks of github, gitlab or azure-devops for a mirror",
		Long: `Makes a secret and says what to enter at the forge: GitHub's "Secret" (content type application/json), GitLab's
"Secret token", Azure DevOps' basic authentication password. A webhook that does not prove that it knows the secret is
refused and written to the audit log. A new call makes a new secret.`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			server, err := localServer(c, o.state)
			if err != nil {
				return err
			}
			var hook struct {
				URL    string `json:"url"`
				Secret string `json:"secret"`
			}
			if err := server.Do(c.Context(), "PUT", "/api/wherry/repos/"+url.PathEscape(args[0])+"/hooks/"+url.PathEscape(args[1]), map[string]any{}, &hook); err != nil {
				return err
			}
			if o.output == "json" {
				return printJSON(c.OutOrStdout(), hook)
			}
			fmt.Fprintf(c.OutOrStdout(), "address  %s\nsecret   %s\n", hook.URL, hook.Secret)
			return nil
		},
	}
}
