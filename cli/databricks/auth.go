package databricks

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"gopkg.in/ini.v1"

	"github.com/wherry-ml/wherry/client/signin"
)

func (s *Session) authCommand() *cobra.Command {
	c := &cobra.Command{Use: "auth", Short: "How the command signs in"}
	sensitive := false
	describe := &cobra.Command{Use: "describe", Short: "Show where the command goes, as whom, and what says so", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		return s.describe(c, sensitive)
	}}
	describe.Flags().BoolVar(&sensitive, "sensitive", false, "show secrets too")
	c.AddCommand(
		&cobra.Command{Use: "login [HOST]", Short: "Sign in with a browser (not supported)", Args: cobra.ArbitraryArgs, FParseErrWhitelist: cobra.FParseErrWhitelist{UnknownFlags: true}, RunE: func(*cobra.Command, []string) error {
			return errors.New("auth login, the sign-in of a person in a browser, is not supported: " + signin.Instead)
		}},
		describe,
		&cobra.Command{Use: "env", Short: "Show the configuration as variables, with secrets", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := s.find(c)
			if err != nil {
				return err
			}
			return printJSON(c.OutOrStdout(), map[string]any{"env": cfg.Environment()})
		}},
		&cobra.Command{Use: "token", Short: "Show a token that is valid now", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := s.find(c)
			if err != nil {
				return err
			}
			t, err := cfg.Token(c.Context())
			if err != nil {
				return err
			}
			out := map[string]string{"access_token": t.Value, "token_type": "Bearer"}
			if !t.Expires.IsZero() {
				out["expiry"] = t.Expires.UTC().Format(time.RFC3339)
			}
			return printJSON(c.OutOrStdout(), out)
		}},
		&cobra.Command{Use: "profiles", Short: "List the profiles of ~/.databrickscfg", Args: cobra.NoArgs, RunE: listProfiles},
	)
	return c
}

type described struct {
	Status  string           `json:"status"`
	User    string           `json:"username,omitempty"`
	Host    string           `json:"host,omitempty"`
	Auth    string           `json:"auth_type,omitempty"`
	Profile string           `json:"profile,omitempty"`
	Error   string           `json:"error,omitempty"`
	Values  []describedValue `json:"configuration"`
}

type describedValue struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Source string `json:"source"`
}

// describe tries the configuration, and shows it with what came of it.
func (s *Session) describe(c *cobra.Command, sensitive bool) error {
	cfg, err := s.find(c)
	if err != nil {
		return err
	}
	d := described{Status: "success", Host: cfg.Host, Auth: cfg.AuthType, Profile: cfg.Profile, Values: []describedValue{}}
	for _, v := range cfg.Values() {
		if v.Secret && !sensitive {
			v.Value = "********"
		}
		d.Values = append(d.Values, describedValue{v.Name, v.Value, v.Source})
	}
	var me struct {
		UserName string `json:"userName"`
	}
	cl, err := cfg.Client(c.Context())
	if err == nil {
		err = cl.Do(c.Context(), "GET", scimAPI+"Me", nil, &me)
	}
	if d.Host, d.User = cfg.Host, me.UserName; err != nil {
		d.Status, d.Error = "error", err.Error()
	}
	if isJSON(c) {
		return errors.Join(printJSON(c.OutOrStdout(), d), err)
	}
	w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 1, ' ', 0)
	fmt.Fprintf(w, "Host:\t%s\nUser:\t%s\nAuthenticated with:\t%s\n", d.Host, d.User, d.Auth)
	if d.Profile != "" {
		fmt.Fprintf(w, "Profile:\t%s of %s\n", d.Profile, cfg.File)
	}
	for _, v := range d.Values {
		fmt.Fprintf(w, "  %s:\t%s\t(from %s)\n", v.Name, v.Value, v.Source)
	}
	return errors.Join(w.Flush(), err)
}

func listProfiles(c *cobra.Command, _ []string) error {
	name, err := signin.ConfigFile(os.Getenv)
	if err != nil {
		return err
	}
	file, err := signin.Profiles(name)
	if err != nil {
		return err
	}
	type profile struct {
		Name string `json:"name"`
		Host string `json:"host"`
	}
	list := []profile{}
	for _, n := range signin.ProfileNames(file) {
		list = append(list, profile{n, file.Section(n).Key("host").String()})
	}
	if isJSON(c) {
		return printJSON(c.OutOrStdout(), map[string]any{"profiles": list})
	}
	w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tHOST")
	for _, p := range list {
		fmt.Fprintf(w, "%s\t%s\n", p.Name, p.Host)
	}
	return w.Flush()
}

// configureCommand writes a profile. Without a terminal the token comes from
// standard input.
func (s *Session) configureCommand() *cobra.Command {
	host, token := "", false
	c := &cobra.Command{
		Use: "configure", Short: "Write a profile with a host and a token", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			in := bufio.NewReader(c.InOrStdin())
			if host == "" {
				host = os.Getenv("DATABRICKS_HOST")
			}
			if host == "" {
				if !terminal(c.InOrStdin()) {
					return errors.New("no host is named: give --host")
				}
				fmt.Fprint(c.ErrOrStderr(), "Host: ")
				host, _ = in.ReadString('\n')
			}
			host, err := signin.CleanHost(strings.TrimSpace(host))
			if err != nil {
				return err
			}
			secret, err := readSecret(c, in, "Token: ")
			if err != nil {
				return err
			}
			name := s.profile
			if name == "" {
				name = ini.DefaultSection
			}
			return writeProfile(name, host, secret)
		},
	}
	c.Flags().StringVar(&host, "host", "", "the workspace")
	c.Flags().BoolVar(&token, "token", false, "sign in with a token, which is the only way to be configured")
	return c
}

func terminal(in io.Reader) bool {
	f, ok := in.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// readSecret reads a line, unseen on a terminal.
func readSecret(c *cobra.Command, in *bufio.Reader, prompt string) (string, error) {
	var text string
	if f, ok := c.InOrStdin().(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprint(c.ErrOrStderr(), prompt)
		b, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(c.ErrOrStderr())
		if err != nil {
			return "", err
		}
		text = string(b)
	} else {
		line, err := in.ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		text = line
	}
	if text = strings.TrimSpace(text); text == "" {
		return "", errors.New("no token was given on standard input")
	}
	return text, nil
}

// writeProfile changes one profile; the file is for its owner only.
func writeProfile(name, host, token string) error {
	path, err := signin.ConfigFile(os.Getenv)
	if err != nil {
		return err
	}
	file, err := signin.Profiles(path)
	if err != nil {
		return err
	}
	file.DeleteSection(name)
	section := file.Section(name)
	section.Key("host").SetValue(host)
	section.Key("token").SetValue(token)
	out, err := os.CreateTemp(filepath.Dir(path), ".databrickscfg-*")
	if err != nil {
		return err
	}
	_, err = file.WriteTo(out)
	if err := errors.Join(err, out.Close()); err != nil {
		return errors.Join(err, os.Remove(out.Name()))
	}
	return os.Rename(out.Name(), path)
}
