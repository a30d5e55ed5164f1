package cli

import (
	"bufio"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/client"
)

// gitRepo is a repository as the API tells of it.
type gitRepo struct {
	Name          string `json:"name"`
	DefaultBranch string `json:"default_branch"`
	ForkOf        string `json:"fork_of"`
	URL           string `json:"url"`
	Mirror        *struct {
		URL       string `json:"url"`
		Forge     string `json:"forge"`
		Seconds   int64  `json:"seconds"`
		Reports   bool   `json:"reports"`
		FetchedAt int64  `json:"fetched_at"`
		Error     string `json:"error"`
	} `json:"mirror,omitempty"`
	Unreported []string `json:"unreported,omitempty"`
}

func repoCommand() *cobra.Command {
	var o repoOptions
	c := &cobra.Command{Use: "repo", Short: "Git repositories of this installation"}
	c.PersistentFlags().StringVar(&o.state, "state", "", "state directory (default: wherry below XDG_STATE_HOME)")
	c.PersistentFlags().StringVarP(&o.output, "output", "o", "text", "text or json")
	c.AddCommand(repoCreateCommand(&o), repoListCommand(&o), repoShowCommand(&o), repoProtectCommand(&o), repoNotifyCommand(&o), repoMirrorCommand(&o), repoHookCommand(&o), repoCredentialCommand(&o))
	return c
}

// repoOptions are the flags that all commands of repositories have.
type repoOptions struct{ state, output string }

func repoCreateCommand(o *repoOptions) *cobra.Command {
	var branch, remote, fork string
	c := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a repository, and a remote of the working directory's for it",
		Example: `  wherry repo create my-project --remote origin
  git push -u origin main`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			server, err := localServer(c, o.state)
			if err != nil {
				return err
			}
			if remote != "" {
				if err := remoteFree(c, remote, args[0]); err != nil {
					return err
				}
			}
			r, there, err := createRepo(c, server, gitRepo{Name: args[0], DefaultBranch: branch, ForkOf: fork}, remote != "")
			if err != nil {
				return err
			}
			if remote != "" {
				if err := addRemote(c, o, remote, r.URL); err != nil {
					return fmt.Errorf("%s was made, but it is no remote here: %w", r.URL, err)
				}
			}
			if o.output == "json" {
				return printJSON(c.OutOrStdout(), r)
			}
			fmt.Fprintf(c.OutOrStdout(), "%s\n", r.URL)
			if there {
				fmt.Fprintf(c.ErrOrStderr(), "%s was there already; it is the remote %s here now.\n", r.Name, remote)
			}
			if remote == "" {
				fmt.Fprintf(c.ErrOrStderr(), "Push to it as any user, with a token as the password, or let `wherry repo create --remote origin` set that up.\n")
			}
			return nil
		},
	}
	c.Flags().StringVar(&branch, "default-branch", "", "the branch that a clone checks out (default: main, or that of the repository that it forks)")
	c.Flags().StringVar(&fork, "fork-of", "", "begin with the branches and tags of this repository; pull requests go from here to there")
	c.Flags().StringVar(&remote, "remote", "", "also make this remote of the working directory's repository, signed in by wherry")
	return c
}

// createRepo makes a repository. One that is there already, and is as it was
// asked for, is as good where a remote of it is wanted.
func createRepo(c *cobra.Command, server *client.Client, in gitRepo, remote bool) (r gitRepo, there bool, err error) {
	err = server.Do(c.Context(), "POST", "/api/wherry/repos", map[string]any{"name": in.Name, "default_branch": in.DefaultBranch, "fork_of": in.ForkOf}, &r)
	if !remote || wherry.CodeOf(err) != wherry.CodeAlreadyExists {
		return r, false, err
	}
	var have gitRepo
	if got := server.Do(c.Context(), "GET", "/api/wherry/repos/"+url.PathEscape(in.Name), nil, &have); got != nil {
		return r, false, got
	}
	if in.ForkOf != have.ForkOf || in.DefaultBranch != "" && in.DefaultBranch != have.DefaultBranch {
		return r, false, err
	}
	return have, true, nil
}

// remoteFree tells, before anything is made, whether the working directory's
// repository can have a remote of this name for a repository.
func remoteFree(c *cobra.Command, remote, name string) error {
	if out, err := exec.CommandContext(c.Context(), "git", "rev-parse", "--git-dir").CombinedOutput(); errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("--remote %s: %w (nothing was made)", remote, err)
	} else if err != nil {
		here, _ := os.Getwd() // for the message only
		return fmt.Errorf("--remote %s: %s is no git repository, so it can have no remote (nothing was made): go to the project's folder, or begin one here with `git init -b main`: %s", remote, here, strings.TrimSpace(string(out)))
	}
	out, err := exec.CommandContext(c.Context(), "git", "remote", "get-url", remote).Output()
	address := strings.TrimSpace(string(out))
	if err == nil && !strings.HasSuffix(address, "/git/"+name+".git") {
		return fmt.Errorf("--remote %s: it leads to %s already (nothing was made): give another name, or take it away with `git remote remove %s`", remote, address, remote)
	}
	return nil
}

// addRemote adds a remote, or has it lead to this address, and lets git ask
// wherry for the sign-in.
func addRemote(c *cobra.Command, o *repoOptions, remote, address string) error {
	dir, err := stateDir(o.state)
	if err != nil {
		return err
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	u, err := url.Parse(address)
	if err != nil {
		return err
	}
	host, verb := u.Scheme+"://"+u.Host, "add"
	if exec.CommandContext(c.Context(), "git", "remote", "get-url", remote).Run() == nil {
		verb = "set-url"
	}
	for _, args := range [][]string{
		{"remote", verb, remote, address},
		{"config", "credential." + host + ".helper", fmt.Sprintf("!%s repo credential --state %s", quoted(exe), quoted(string(dir)))},
	} {
		if out, err := exec.CommandContext(c.Context(), "git", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}

// quoted is a word of a shell.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func repoListCommand(o *repoOptions) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the repositories", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			server, err := localServer(c, o.state)
			if err != nil {
				return err
			}
			var list struct {
				Repos []gitRepo `json:"repos"`
			}
			if err := server.Do(c.Context(), "GET", "/api/wherry/repos", nil, &list); err != nil {
				return err
			}
			if o.output == "json" {
				return printJSON(c.OutOrStdout(), list.Repos)
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, r := range list.Repos {
				fmt.Fprintf(w, "%s\t%s\t%s\n", r.Name, r.DefaultBranch, r.URL)
			}
			return w.Flush()
		},
	}
}

// repoCredentialCommand is a credential helper of git's (gitcredentials(7)):
// it answers with the admin's token of the state directory, to git alone and
// only for the server that runs there.
func repoCredentialCommand(o *repoOptions) *cobra.Command {
	return &cobra.Command{
		Use: "credential get", Short: "Answer git's question for a sign-in", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if args[0] != "get" {
				return nil // there is nothing to store or to erase
			}
			asked := map[string]string{}
			for in := bufio.NewScanner(c.InOrStdin()); in.Scan(); {
				key, value, _ := strings.Cut(in.Text(), "=")
				asked[key] = value
			}
			dir, err := stateDir(o.state)
			if err != nil {
				return err
			}
			_, info, err := client.Local(c.Context(), dir)
			if err != nil {
				return err
			}
			if asked["protocol"]+"://"+asked["host"] != info.URL {
				return nil // another server's question
			}
			token, err := os.ReadFile(dir.Path("admin-token"))
			if err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "username=token\npassword=%s\n", strings.TrimSpace(string(token)))
			return nil
		},
	}
}

// protection is what a protected branch asks for, as the API tells of it.
type protection struct {
	Pattern     string   `json:"pattern"`
	PullRequest bool     `json:"pull_request"`
	Checks      []string `json:"required_checks"`
}

func repoProtectCommand(o *repoOptions) *cobra.Command {
	var p protection
	var off bool
	c := &cobra.Command{
		Use:   "protect NAME [PATTERN]",
		Short: "Protect branches: no forced push, no deletion, and what the flags add",
		Long:  "Protects the branches that PATTERN covers (main, release/*, ** for all). Without PATTERN it lists what is protected.",
		Example: `  wherry repo protect my-project main --pull-request --check ci-build-test
  wherry repo protect my-project 'release/*'
  wherry repo protect my-project main --off`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			server, err := localServer(c, o.state)
			if err != nil {
				return err
			}
			address := "/api/wherry/repos/" + url.PathEscape(args[0]) + "/protections"
			var list struct {
				Protections []protection `json:"protections"`
			}
			switch {
			case len(args) == 1:
				err = server.Do(c.Context(), "GET", address, nil, &list)
			case off:
				err = server.Do(c.Context(), "DELETE", address+"?pattern="+url.QueryEscape(args[1]), nil, &list)
			default:
				p.Pattern = args[1]
				err = server.Do(c.Context(), "PUT", address, p, &list)
			}
			if err != nil {
				return err
			}
			if o.output == "json" {
				return printJSON(c.OutOrStdout(), list.Protections)
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, p := range list.Protections {
				by := "pushes"
				if p.PullRequest {
					by = "pull requests"
				}
				fmt.Fprintf(w, "%s\tby %s\t%s\n", p.Pattern, by, strings.Join(p.Checks, ", "))
			}
			return w.Flush()
		},
	}
	c.Flags().BoolVar(&p.PullRequest, "pull-request", false, "changes come by pull requests alone")
	c.Flags().StringArrayVar(&p.Checks, "check", nil, "a check that must be green (may be repeated)")
	c.Flags().BoolVar(&off, "off", false, "end the protection of the pattern")
	return c
}
