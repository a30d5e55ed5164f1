package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/client"
)

const directoryAPI = "/api/2.0/preview/scim/v2/"

// member is a principal or group as SCIM shows it.
type member struct {
	ID            string      `json:"id"`
	UserName      string      `json:"userName,omitempty"`
	ApplicationID string      `json:"applicationId,omitempty"`
	DisplayName   string      `json:"displayName"`
	Active        *bool       `json:"active,omitempty"`
	Groups        []memberRef `json:"groups,omitempty"`
	Members       []memberRef `json:"members,omitempty"`
}

type memberRef struct {
	Value   string `json:"value"`
	Display string `json:"display"`
	Ref     string `json:"$ref"`
}

// name is what the commands call it by.
func (m *member) name() string {
	for _, s := range []string{m.UserName, m.ApplicationID} {
		if s != "" {
			return s
		}
	}
	return m.DisplayName
}

func (m *member) in(group string) bool {
	for _, g := range m.Groups {
		if g.Display == group {
			return true
		}
	}
	return false
}

// userFlags are those that the commands of users and groups have.
type userFlags struct{ state, output string }

func (f *userFlags) add(c *cobra.Command) {
	c.PersistentFlags().StringVar(&f.state, "state", "", "state directory (default: wherry below XDG_STATE_HOME)")
	c.PersistentFlags().StringVarP(&f.output, "output", "o", "text", "text or json")
}

func userCommand() *cobra.Command {
	f := &userFlags{}
	c := &cobra.Command{
		Use: "user", Short: "The people and service principals of this installation",
		Long: "Users sign in to the pages with a password that an admin sets, with a link that is good once, or by another issuer (`wherry up --oidc-issuer`). Programs use tokens.",
	}
	f.add(c)
	c.AddCommand(f.listUsers(), f.createUser(), f.deleteUser(), f.setAdmin(), f.makeToken(), f.setPassword(), f.makeLink())
	return c
}

// all lists what is under one of SCIM's paths.
func (f *userFlags) all(c *cobra.Command, server *client.Client, kind string) (list []member, err error) {
	for {
		var page struct {
			Total     int      `json:"totalResults"`
			Resources []member `json:"Resources"`
		}
		if err := server.Do(c.Context(), "GET", fmt.Sprintf("%s%s?count=500&startIndex=%d", directoryAPI, kind, len(list)+1), nil, &page); err != nil {
			return nil, err
		}
		if list = append(list, page.Resources...); len(page.Resources) == 0 || len(list) >= page.Total {
			return list, nil
		}
	}
}

// principals lists users, then service principals.
func (f *userFlags) principals(c *cobra.Command, server *client.Client) ([]member, error) {
	users, err := f.all(c, server, "Users")
	if err != nil {
		return nil, err
	}
	services, err := f.all(c, server, "ServicePrincipals")
	return append(users, services...), err
}

// find returns the one of a name: a user's, a service principal's application id
// or name, a group's. path is where SCIM has it.
func (f *userFlags) find(c *cobra.Command, server *client.Client, name string, kinds ...string) (found member, path string, err error) {
	for _, kind := range kinds {
		list, err := f.all(c, server, kind)
		if err != nil {
			return found, "", err
		}
		for _, m := range list {
			if m.name() != name && (kind != "ServicePrincipals" || m.DisplayName != name) {
				continue
			}
			if path != "" {
				return found, "", fmt.Errorf("%s names several: use a user name or an application id", name)
			}
			found, path = m, directoryAPI+kind+"/"+url.PathEscape(m.ID)
		}
	}
	if path == "" {
		what := "user or service principal"
		if kinds[0] == "Groups" {
			what = "group"
		}
		return found, "", fmt.Errorf("there is no %s %s", what, name)
	}
	return found, path, nil
}

// complete suggests the names under SCIM's paths, for the argument at a place.
func (f *userFlags) complete(kinds ...[]string) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(c *cobra.Command, args []string, _ string) (names []string, _ cobra.ShellCompDirective) {
		if len(kinds) == 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		server, err := localServer(c, f.state)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		for _, kind := range kinds[min(len(args), len(kinds)-1)] {
			list, err := f.all(c, server, kind)
			if err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			for _, m := range list {
				names = append(names, m.name())
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

var anyPrincipal = []string{"Users", "ServicePrincipals"}

func (f *userFlags) listUsers() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List users and service principals", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			server, err := localServer(c, f.state)
			if err != nil {
				return err
			}
			list, err := f.principals(c, server)
			if err != nil {
				return err
			}
			if f.output == "json" {
				return printJSON(c.OutOrStdout(), list)
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "NAME\tDISPLAY NAME\tADMIN\tACTIVE\tGROUPS")
			for _, m := range list {
				groups := []string{}
				for _, g := range m.Groups {
					if g.Display != "users" && g.Display != "admins" {
						groups = append(groups, g.Display)
					}
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", m.name(), m.DisplayName, yes(m.in("admins")), yes(m.Active == nil || *m.Active), orDash(strings.Join(groups, ", ")))
			}
			return w.Flush()
		},
	}
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func (f *userFlags) createUser() *cobra.Command {
	var display string
	var admin bool
	c := &cobra.Command{
		Use: "create NAME", Short: "Make a user, who can sign in once there is a password, a link or a token", Args: cobra.ExactArgs(1),
		Example: `  wherry user create ann@example.com
  wherry user link ann@example.com`,
		RunE: func(c *cobra.Command, args []string) error {
			server, err := localServer(c, f.state)
			if err != nil {
				return err
			}
			in := map[string]any{"userName": args[0], "displayName": display}
			if admin {
				in["groups"] = []map[string]string{{"display": "admins"}}
			}
			var m member
			if err := server.Do(c.Context(), "POST", directoryAPI+"Users", in, &m); err != nil {
				return err
			}
			return f.tell(c, m, "made the user %s; `wherry user set-password %s` or `wherry user link %s` lets them sign in\n", m.UserName, m.UserName, m.UserName)
		},
	}
	c.Flags().StringVar(&display, "display-name", "", "the name that is shown (default: the user name)")
	c.Flags().BoolVar(&admin, "admin", false, "the user administers the installation")
	return c
}

// tell prints what was done: a sentence, or the document.
func (f *userFlags) tell(c *cobra.Command, doc any, format string, args ...any) error {
	if f.output == "json" {
		return printJSON(c.OutOrStdout(), doc)
	}
	fmt.Fprintf(c.OutOrStdout(), format, args...)
	return nil
}

func (f *userFlags) deleteUser() *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME", Short: "Remove a user or service principal, with tokens and secrets; what they made stays", Args: cobra.ExactArgs(1), ValidArgsFunction: f.complete(anyPrincipal, nil),
		RunE: func(c *cobra.Command, args []string) error {
			server, err := localServer(c, f.state)
			if err != nil {
				return err
			}
			m, path, err := f.find(c, server, args[0], anyPrincipal...)
			if err != nil {
				return err
			}
			if err := server.Do(c.Context(), "DELETE", path, nil, nil); err != nil {
				return err
			}
			return f.tell(c, m, "removed %s\n", m.name())
		},
	}
}

func (f *userFlags) setAdmin() *cobra.Command {
	var remove bool
	c := &cobra.Command{
		Use: "set-admin NAME", Short: "Let a user or service principal administer the installation, or with --remove no more", Args: cobra.ExactArgs(1), ValidArgsFunction: f.complete(anyPrincipal, nil),
		RunE: func(c *cobra.Command, args []string) error {
			server, err := localServer(c, f.state)
			if err != nil {
				return err
			}
			m, path, err := f.find(c, server, args[0], anyPrincipal...)
			if err != nil {
				return err
			}
			if err := f.change(c, server, "admins", m.ID, remove); err != nil {
				return err
			}
			if err := server.Do(c.Context(), "GET", path, nil, &m); err != nil {
				return err
			}
			what := "is an admin now"
			if remove {
				what = "is no admin"
			}
			return f.tell(c, m, "%s %s\n", m.name(), what)
		},
	}
	c.Flags().BoolVar(&remove, "remove", false, "the other way round")
	return c
}

func (f *userFlags) makeToken() *cobra.Command {
	var comment string
	var life time.Duration
	c := &cobra.Command{
		Use: "token NAME", Short: "Make a token for a user or service principal, and print it: it is kept nowhere", Args: cobra.ExactArgs(1), ValidArgsFunction: f.complete(anyPrincipal, nil),
		RunE: func(c *cobra.Command, args []string) error {
			server, err := localServer(c, f.state)
			if err != nil {
				return err
			}
			m, _, err := f.find(c, server, args[0], anyPrincipal...)
			if err != nil {
				return err
			}
			var out struct {
				ID    string `json:"token_id"`
				Value string `json:"token_value"`
			}
			if err := server.Do(c.Context(), "POST", "/api/wherry/tokens", map[string]any{"principal": m.name(), "comment": comment, "lifetime_seconds": int64(life.Seconds())}, &out); err != nil {
				return err
			}
			return f.tell(c, out, "%s\n", out.Value)
		},
	}
	c.Flags().StringVar(&comment, "comment", "", "what the token is for")
	c.Flags().DurationVar(&life, "lifetime", 0, "how long it is good for, such as 720h (default: until it is revoked)")
	return c
}

func (f *userFlags) setPassword() *cobra.Command {
	return &cobra.Command{
		Use: "set-password NAME", Short: "Set the password that a user signs in to the pages with; it is asked for, or read from standard input", Args: cobra.ExactArgs(1), ValidArgsFunction: f.complete([]string{"Users"}, nil),
		RunE: func(c *cobra.Command, args []string) error {
			server, err := localServer(c, f.state)
			if err != nil {
				return err
			}
			password, err := askPassword(c)
			if err != nil {
				return err
			}
			if err := server.Do(c.Context(), "POST", "/api/wherry/users/password", map[string]string{"user_name": args[0], "password": password}, nil); err != nil {
				return err
			}
			return f.tell(c, map[string]string{"user_name": args[0]}, "%s signs in with the new password at %s/login; their browsers are signed out\n", args[0], server.URL)
		},
	}
}

// maxPassword bounds what is read of standard input.
const maxPassword = 1 << 10

// askPassword asks for a new password twice on a terminal, unseen; elsewhere it
// is the first line of standard input.
func askPassword(c *cobra.Command) (string, error) {
	in, ok := c.InOrStdin().(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		line, err := bufio.NewReader(io.LimitReader(c.InOrStdin(), maxPassword)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			return "", &ExitError{Code: 2, Message: "no password on standard input: type it on a terminal, or give it as the first line"}
		}
		return line, nil
	}
	var typed [2]string
	for i, prompt := range []string{"New password: ", "Again: "} {
		fmt.Fprint(c.ErrOrStderr(), prompt)
		b, err := term.ReadPassword(int(in.Fd()))
		fmt.Fprintln(c.ErrOrStderr())
		if err != nil {
			return "", err
		}
		typed[i] = string(b)
	}
	if typed[0] != typed[1] {
		return "", errors.New("the two are not the same; nothing was changed")
	}
	return typed[0], nil
}

func (f *userFlags) makeLink() *cobra.Command {
	return &cobra.Command{
		Use: "link NAME", Short: "Print a link that signs a user in to the pages, once, within a quarter of an hour", Args: cobra.ExactArgs(1), ValidArgsFunction: f.complete([]string{"Users"}, nil),
		RunE: func(c *cobra.Command, args []string) error {
			server, err := localServer(c, f.state)
			if err != nil {
				return err
			}
			var out struct {
				URL     string `json:"url"`
				Expires string `json:"expire_time"`
			}
			err = server.Do(c.Context(), "POST", "/api/wherry/users/link", map[string]string{"user_name": args[0]}, &out)
			if wherry.CodeOf(err) == wherry.CodeDoesNotExist {
				return fmt.Errorf("%w: `wherry user create %s` makes one", err, args[0])
			}
			if err != nil {
				return err
			}
			return f.tell(c, out, "%s\n", out.URL)
		},
	}
}
