package cli

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os/exec"
	"path"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/wherry-ml/wherry/client"
)

// pullRequest is a pull request as the API tells of it.
type pullRequest struct {
	Number   int64  `json:"number"`
	Title    string `json:"title"`
	Body     string `json:"body"`
	Base     string `json:"base"`
	Head     string `json:"head"`
	HeadRepo string `json:"head_repo"`
	HeadSHA  string `json:"head_sha"`
	MergeSHA string `json:"merge_sha"`
	State    string `json:"state"`
	Author   string `json:"author"`
	ClosedBy string `json:"closed_by"`
	Checks   []struct {
		Context     string `json:"context"`
		State       string `json:"state"`
		Description string `json:"description"`
		Path        string `json:"path"`
	} `json:"checks"`
	Required  []string `json:"required"`
	Mergeable bool     `json:"mergeable"`
	Why       string   `json:"why"`
	Comments  []struct {
		Author string `json:"author"`
		Body   string `json:"body"`
	} `json:"comments"`
}

func prCommand() *cobra.Command {
	o := &prOptions{}
	c := &cobra.Command{Use: "pr", Short: "Pull requests on this installation's repositories"}
	c.PersistentFlags().StringVar(&o.state, "state", "", "state directory (default: wherry below XDG_STATE_HOME)")
	c.PersistentFlags().StringVarP(&o.output, "output", "o", "text", "text or json")
	c.PersistentFlags().StringVar(&o.repo, "repo", "", "the repository (default: that of the working directory's remote)")
	c.AddCommand(prOpenCommand(o), prListCommand(o),
		prNumberCommand(o, "show NUMBER", "Show a pull request with its checks and comments", "GET", "", nil),
		prMergeCommand(o),
		prNumberCommand(o, "close NUMBER", "Close a pull request without merging it", "POST", "/close", map[string]any{}),
		prNumberCommand(o, "reopen NUMBER", "Take a closed pull request up again", "POST", "/reopen", map[string]any{}),
		prCommentCommand(o),
	)
	return c
}

type prOptions struct{ state, output, repo string }

// pulls returns the server and the path of a repository's pull requests.
func (o *prOptions) pulls(c *cobra.Command) (*client.Client, string, error) {
	server, err := localServer(c, o.state)
	if err != nil {
		return nil, "", err
	}
	name := o.repo
	if name == "" {
		if name, err = repoHere(c.Context()); err != nil {
			return nil, "", err
		}
	}
	return server, "/api/wherry/repos/" + url.PathEscape(name) + "/pulls", nil
}

// repoHere is the repository that a remote of the working directory names,
// origin before others.
func repoHere(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "git", "config", "--get-regexp", `^remote\..*\.url$`).Output()
	found := map[string]string{}
	var names []string
	for line := range strings.Lines(string(out)) {
		key, address, _ := strings.Cut(strings.TrimSpace(line), " ")
		if u, err := url.Parse(address); err == nil && path.Dir(u.Path) == "/git" {
			remote := strings.TrimSuffix(strings.TrimPrefix(key, "remote."), ".url")
			found[remote] = strings.TrimSuffix(path.Base(u.Path), ".git")
			names = append(names, remote)
		}
	}
	if name, ok := found["origin"]; ok {
		return name, nil
	}
	if len(names) == 0 || err != nil {
		return "", &ExitError{Code: 2, Message: "no remote here is a repository of wherry: name one with --repo, or make one with `wherry repo create NAME --remote origin`"}
	}
	return found[names[0]], nil
}

// show prints a pull request as asked for.
func (o *prOptions) show(c *cobra.Command, p *pullRequest) error {
	if o.output == "json" {
		return printJSON(c.OutOrStdout(), p)
	}
	printPull(c.OutOrStdout(), p)
	return nil
}

func printPull(w io.Writer, p *pullRequest) {
	head := p.Head
	if p.HeadRepo != "" {
		head = p.HeadRepo + ":" + head + " (a fork: its workflows get no secrets)"
	}
	fmt.Fprintf(w, "#%d %s\n%s by %s: %s ← %s at %.12s\n", p.Number, p.Title, p.State, p.Author, p.Base, head, p.HeadSHA)
	if p.Body != "" {
		fmt.Fprintf(w, "\n%s\n", p.Body)
	}
	shown := map[string]bool{}
	for _, check := range p.Checks {
		shown[check.Context] = true
		required := ""
		if slices.Contains(p.Required, check.Context) {
			required = " (required)"
		}
		fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("  %-8s %s%s  %s", check.State, check.Context, required, check.Description), " "))
	}
	for _, name := range p.Required {
		if !shown[name] {
			fmt.Fprintf(w, "  %-8s %s (required)\n", "missing", name)
		}
	}
	for _, comment := range p.Comments {
		fmt.Fprintf(w, "\n%s:\n  %s\n", comment.Author, strings.ReplaceAll(strings.TrimSpace(comment.Body), "\n", "\n  "))
	}
	switch {
	case p.Mergeable:
		fmt.Fprintf(w, "It can be merged: wherry pr merge %d\n", p.Number)
	case p.State == "merged":
		fmt.Fprintf(w, "Merged as %.12s.\n", p.MergeSHA)
	case p.Why != "":
		fmt.Fprintf(w, "It cannot be merged: %s\n", p.Why)
	}
}

func prOpenCommand(o *prOptions) *cobra.Command {
	var title, body, base, head string
	c := &cobra.Command{
		Use: "open", Short: "Open a pull request for the current branch", Args: cobra.NoArgs,
		Example: "  git push -u origin my-change\n  wherry pr open --title \"Round the fares\"",
		RunE: func(c *cobra.Command, _ []string) error {
			server, pulls, err := o.pulls(c)
			if err != nil {
				return err
			}
			if head == "" {
				out, err := exec.CommandContext(c.Context(), "git", "symbolic-ref", "--short", "HEAD").Output()
				if err != nil {
					return &ExitError{Code: 2, Message: "the working directory is on no branch: name one with --head"}
				}
				head = strings.TrimSpace(string(out))
			}
			var p pullRequest
			if err := server.Do(c.Context(), "POST", pulls, map[string]any{"title": title, "body": body, "base": base, "head": head}, &p); err != nil {
				return err
			}
			return o.show(c, &p)
		},
	}
	c.Flags().StringVar(&title, "title", "", "title (default: the last commit's subject)")
	c.Flags().StringVar(&body, "body", "", "what it is about")
	c.Flags().StringVar(&base, "base", "", "the branch to merge into (default: the repository's default branch)")
	c.Flags().StringVar(&head, "head", "", "the branch to merge, or FORK:BRANCH (default: the current branch)")
	return c
}

func prListCommand(o *prOptions) *cobra.Command {
	var state string
	c := &cobra.Command{
		Use: "list", Short: "List pull requests", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			server, pulls, err := o.pulls(c)
			if err != nil {
				return err
			}
			var list struct {
				Pulls []pullRequest `json:"pulls"`
			}
			if err := server.Do(c.Context(), "GET", pulls+"?state="+url.QueryEscape(state), nil, &list); err != nil {
				return err
			}
			if o.output == "json" {
				return printJSON(c.OutOrStdout(), list.Pulls)
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, p := range list.Pulls {
				fmt.Fprintf(w, "#%d\t%s\t%s ← %s\t%s\t%s\n", p.Number, p.State, p.Base, p.Head, p.Author, p.Title)
			}
			return w.Flush()
		},
	}
	c.Flags().StringVar(&state, "show", "open", "open, closed, merged or all")
	return c
}

// prNumberCommand makes a command that does one thing with one pull request and
// shows it.
func prNumberCommand(o *prOptions, use, short, method, action string, in map[string]any) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			server, pulls, err := o.pulls(c)
			if err != nil {
				return err
			}
			var p pullRequest
			var body any
			if in != nil {
				body = in
			}
			if err := server.Do(c.Context(), method, pulls+"/"+url.PathEscape(strings.TrimPrefix(args[0], "#"))+action, body, &p); err != nil {
				return err
			}
			return o.show(c, &p)
		},
	}
}

func prMergeCommand(o *prOptions) *cobra.Command {
	in := map[string]any{}
	var squash, deleteHead bool
	var message string
	c := prNumberCommand(o, "merge NUMBER", "Merge a pull request", "POST", "/merge", in)
	c.PreRun = func(*cobra.Command, []string) {
		in["delete_head"], in["message"] = deleteHead, message
		if squash {
			in["method"] = "squash"
		}
	}
	c.Flags().BoolVar(&squash, "squash", false, "make one commit of it, without a merge")
	c.Flags().BoolVar(&deleteHead, "delete-branch", false, "delete the merged branch")
	c.Flags().StringVarP(&message, "message", "m", "", "the commit's message (default: the request's number and title)")
	return c
}

func prCommentCommand(o *prOptions) *cobra.Command {
	return &cobra.Command{
		Use: "comment NUMBER TEXT", Short: "Comment on a pull request", Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			server, pulls, err := o.pulls(c)
			if err != nil {
				return err
			}
			return server.Do(c.Context(), "POST", pulls+"/"+url.PathEscape(strings.TrimPrefix(args[0], "#"))+"/comments", map[string]any{"body": args[1]}, nil)
		},
	}
}
