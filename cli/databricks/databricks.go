// Package databricks holds the command that workflows call as databricks: the
// same binary under that name, with the commands that CI uses, written from the
// public documentation. It signs in as the SDKs do and calls the workspace API.
package databricks

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wherry-ml/wherry/bundle"
	"github.com/wherry-ml/wherry/client"
	"github.com/wherry-ml/wherry/client/signin"
)

// Session is where one call of the command goes, and as whom.
type Session struct {
	// Version is wherry's own.
	Version                 string
	profile, target, output string
	debug                   bool
}

// Connect returns a client of a workspace. host and profile are what a bundle
// names, for a workspace that nothing else names.
func (s *Session) Connect(ctx context.Context, host, profile string) (*client.Client, error) {
	cfg, err := s.config(host, profile)
	if err != nil {
		return nil, err
	}
	return s.client(ctx, cfg)
}

// client is the configuration's, told on standard error with --debug.
func (s *Session) client(ctx context.Context, cfg *signin.Config) (*client.Client, error) {
	c, err := cfg.Client(ctx)
	if err == nil && s.debug {
		c.Trace = func(method, path, status string, took time.Duration) {
			fmt.Fprintf(os.Stderr, "%s %s%s: %s in %d ms\n", method, c.URL, path, status, took.Milliseconds())
		}
	}
	return c, err
}

// Configured tells whether anything says where the command is to go.
func (s *Session) Configured(host, profile string) bool {
	_, err := s.config(host, profile)
	return err == nil
}

func (s *Session) config(host, profile string) (*signin.Config, error) {
	return signin.Find(signin.Options{
		Profile: s.profile, BundleHost: host, BundleProfile: profile, Getenv: os.Getenv, HTTP: &http.Client{Timeout: time.Minute},
	})
}

// connect is Connect with the bundle of the working directory, if there is one.
func (s *Session) connect(c *cobra.Command) (*client.Client, error) {
	cfg, err := s.find(c)
	if err != nil {
		return nil, err
	}
	return s.client(c.Context(), cfg)
}

func (s *Session) find(c *cobra.Command) (*signin.Config, error) {
	if s.profile != "" || os.Getenv("DATABRICKS_HOST") != "" {
		return s.config("", "") // the bundle is not asked
	}
	host, profile := s.bundle(c.Context())
	return s.config(host, profile)
}

// bundle is what the bundle of the working directory says about its workspace.
// A bundle with errors says nothing.
func (s *Session) bundle(ctx context.Context) (host, profile string) {
	if _, _, err := bundle.Find(""); err != nil {
		return "", ""
	}
	b, err := bundle.Load(ctx, bundle.Options{Target: s.target})
	if err != nil || b.Config == nil {
		return "", ""
	}
	return b.Workspace.Host, b.Config.Get("workspace", "profile").Text()
}

// Connector returns the client of a command's workspace.
type Connector func(*cobra.Command) (*client.Client, error)

// Command is the command with everything but its bundle commands.
func Command(s *Session) *cobra.Command {
	root := &cobra.Command{
		Use:   "databricks",
		Short: "Call a Databricks workspace: wherry's own command, for what workflows use",
		Long: `The databricks command of wherry: what CI workflows use of the command of that name, written from its public
documentation. It is not the Databricks CLI and not affiliated with Databricks.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       s.Version,
	}
	root.SetVersionTemplate(s.versionText())
	flags := root.PersistentFlags()
	flags.StringVarP(&s.profile, "profile", "p", "", "a profile of ~/.databrickscfg")
	flags.StringVarP(&s.target, "target", "t", "", "the bundle's target")
	flags.StringVarP(&s.output, "output", "o", "text", "text or json")
	flags.BoolVar(&s.debug, "debug", false, "show each call on standard error")
	root.AddCommand(
		s.versionCommand(),
		s.authCommand(),
		s.configureCommand(),
		Jobs(s.connect),
		FS(s.connect),
		apiCommand(s.connect),
	)
	for _, g := range groups {
		root.AddCommand(g.command(s.connect))
	}
	return root
}

func (s *Session) versionText() string {
	return fmt.Sprintf("Databricks-compatible command of wherry %s\nv%s\n", s.Version, bundle.CLIVersion)
}

func (s *Session) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Show the version", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if isJSON(c) {
				return printJSON(c.OutOrStdout(), map[string]string{"Version": bundle.CLIVersion, "Wherry": s.Version})
			}
			_, err := io.WriteString(c.OutOrStdout(), s.versionText())
			return err
		},
	}
}

// Unknown makes a command that others are below of tell what there is when it
// is called with what is not there, or with nothing.
func Unknown(c *cobra.Command) {
	var names []string
	for _, sub := range c.Commands() {
		Unknown(sub)
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	if len(names) == 0 || c.Runnable() {
		return
	}
	c.Args = cobra.ArbitraryArgs
	c.FParseErrWhitelist.UnknownFlags = true // the answer comes before a complaint about a flag
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return c.Help()
		}
		path := strings.TrimPrefix(strings.TrimPrefix(c.CommandPath(), c.Root().Name()), " ")
		what := strings.TrimSpace(path + " " + args[0])
		if path == "" {
			path = "it"
		}
		return fmt.Errorf("wherry's %s command does not have %s; %s has %s", c.Root().Name(), what, path, strings.Join(names, ", "))
	}
}

// isJSON tells whether the command is to answer with JSON.
func isJSON(c *cobra.Command) bool {
	f := c.Flag("output")
	return f != nil && strings.EqualFold(f.Value.String(), "json")
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
