package cli

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/wherry-ml/wherry/client"
)

func groupCommand() *cobra.Command {
	f := &userFlags{}
	c := &cobra.Command{
		Use: "group", Short: "Groups of users, service principals and groups",
		Long: "Groups name reviewers of environments and whom a workspace is assigned to. `admins` and `users` are built in.",
	}
	f.add(c)
	c.AddCommand(f.listGroups(), f.showGroup(), f.createGroup(), f.deleteGroup(), f.changeGroup("add", "Add members to a group", false), f.changeGroup("remove", "Take members out of a group", true))
	return c
}

var anyMember = []string{"Users", "ServicePrincipals", "Groups"}

func memberNames(list []memberRef) string {
	names := make([]string, 0, len(list))
	for _, m := range list {
		names = append(names, m.Display)
	}
	return orDash(strings.Join(names, ", "))
}

func (f *userFlags) listGroups() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List groups and their members", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			server, err := localServer(c, f.state)
			if err != nil {
				return err
			}
			list, err := f.all(c, server, "Groups")
			if err != nil {
				return err
			}
			if f.output == "json" {
				return printJSON(c.OutOrStdout(), list)
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "GROUP\tMEMBERS\tIN")
			for _, g := range list {
				fmt.Fprintf(w, "%s\t%s\t%s\n", g.DisplayName, memberNames(g.Members), memberNames(g.Groups))
			}
			return w.Flush()
		},
	}
}

func (f *userFlags) showGroup() *cobra.Command {
	return &cobra.Command{
		Use: "show GROUP", Short: "Show a group and its members", Args: cobra.ExactArgs(1), ValidArgsFunction: f.complete([]string{"Groups"}, nil),
		RunE: func(c *cobra.Command, args []string) error {
			server, err := localServer(c, f.state)
			if err != nil {
				return err
			}
			g, _, err := f.find(c, server, args[0], "Groups")
			if err != nil {
				return err
			}
			return f.tell(c, g, "group %s\nmembers %s\nin %s\n", g.DisplayName, memberNames(g.Members), memberNames(g.Groups))
		},
	}
}

func (f *userFlags) createGroup() *cobra.Command {
	return &cobra.Command{
		Use: "create GROUP [MEMBER]…", Short: "Make a group, with members", Args: cobra.MinimumNArgs(1), ValidArgsFunction: f.complete(nil, anyMember),
		RunE: func(c *cobra.Command, args []string) error {
			server, err := localServer(c, f.state)
			if err != nil {
				return err
			}
			members, err := f.ids(c, server, args[1:])
			if err != nil {
				return err
			}
			var g member
			if err := server.Do(c.Context(), "POST", directoryAPI+"Groups", map[string]any{"displayName": args[0], "members": members}, &g); err != nil {
				return err
			}
			return f.tell(c, g, "made the group %s with %d members\n", g.DisplayName, len(g.Members))
		},
	}
}

// ids are the members of names, as SCIM takes them.
func (f *userFlags) ids(c *cobra.Command, server *client.Client, names []string) ([]map[string]string, error) {
	out := make([]map[string]string, 0, len(names))
	for _, name := range names {
		m, _, err := f.find(c, server, name, anyMember...)
		if err != nil {
			return nil, err
		}
		out = append(out, map[string]string{"value": m.ID})
	}
	return out, nil
}

func (f *userFlags) deleteGroup() *cobra.Command {
	return &cobra.Command{
		Use: "delete GROUP", Short: "Remove a group; its members stay", Args: cobra.ExactArgs(1), ValidArgsFunction: f.complete([]string{"Groups"}, nil),
		RunE: func(c *cobra.Command, args []string) error {
			server, err := localServer(c, f.state)
			if err != nil {
				return err
			}
			g, path, err := f.find(c, server, args[0], "Groups")
			if err != nil {
				return err
			}
			if err := server.Do(c.Context(), "DELETE", path, nil, nil); err != nil {
				return err
			}
			return f.tell(c, g, "removed the group %s\n", g.DisplayName)
		},
	}
}

func (f *userFlags) changeGroup(use, short string, remove bool) *cobra.Command {
	return &cobra.Command{
		Use: use + " GROUP MEMBER…", Short: short, Args: cobra.MinimumNArgs(2), ValidArgsFunction: f.complete([]string{"Groups"}, anyMember),
		RunE: func(c *cobra.Command, args []string) error {
			server, err := localServer(c, f.state)
			if err != nil {
				return err
			}
			members, err := f.ids(c, server, args[1:])
			if err != nil {
				return err
			}
			for _, m := range members {
				if err := f.change(c, server, args[0], m["value"], remove); err != nil {
					return err
				}
			}
			g, _, err := f.find(c, server, args[0], "Groups")
			if err != nil {
				return err
			}
			return f.tell(c, g, "members of %s: %s\n", g.DisplayName, memberNames(g.Members))
		},
	}
}

// change adds a member to a group, or removes it.
func (f *userFlags) change(c *cobra.Command, server *client.Client, group, id string, remove bool) error {
	_, path, err := f.find(c, server, group, "Groups")
	if err != nil {
		return err
	}
	operation := map[string]any{"op": "add", "path": "members", "value": []map[string]string{{"value": id}}}
	if remove {
		operation = map[string]any{"op": "remove", "path": fmt.Sprintf("members[value eq %q]", id)}
	}
	return server.Do(c.Context(), "PATCH", path, map[string]any{"schemas": []string{"urn:ietf:params:scim:api:messages:2.0:PatchOp"}, "Operations": []any{operation}}, nil)
}
