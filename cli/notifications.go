package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/wherry-ml/wherry"
	notifyapi "github.com/wherry-ml/wherry/api/notify"
	"github.com/wherry-ml/wherry/client"
	"github.com/wherry-ml/wherry/store/notify"
)

const (
	notificationsPath = "/api/wherry/notifications"
	destinationsPath  = "/api/2.0/notification-destinations"
)

type notificationFlags struct{ state, output string }

func notificationsCommand() *cobra.Command {
	f := &notificationFlags{}
	list := f.listCommand()
	c := &cobra.Command{
		Use:   "notifications",
		Short: "What was told to whom; destinations of notifications",
		Long: `Jobs, workflows and drift tell people by e-mail, and channels by destinations: Slack, Microsoft Teams, PagerDuty, webhooks.
E-mail needs a server: wherry up --smtp smtp://user@host:587 --smtp-from ADDRESS.`,
		Args: cobra.NoArgs, RunE: list.RunE,
	}
	c.Flags().AddFlagSet(list.Flags())
	c.PersistentFlags().StringVar(&f.state, "state", "", "state directory (default: wherry below XDG_STATE_HOME)")
	c.PersistentFlags().StringVarP(&f.output, "output", "o", "text", "text or json")
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	c.AddCommand(list, f.testCommand(), f.retryCommand(), f.destinationsCommand(), f.addCommand(), f.removeCommand())
	return c
}

func (f *notificationFlags) listCommand() *cobra.Command {
	var only string
	var run int64
	var limit int
	c := &cobra.Command{
		Use: "list", Short: "List notifications, the newest first", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			server, err := localServer(c, f.state)
			if err != nil {
				return err
			}
			q := url.Values{"state": {only}, "run_id": {fmt.Sprint(run)}, "limit": {fmt.Sprint(limit)}}
			var out notifyapi.History
			if err := server.Do(c.Context(), "GET", notificationsPath+"?"+q.Encode(), nil, &out); err != nil {
				return err
			}
			if f.output == "json" {
				return printJSON(c.OutOrStdout(), out)
			}
			if len(out.Notifications) == 0 {
				fmt.Fprintln(c.OutOrStdout(), "no notifications: a job's email_notifications and webhook_notifications say who is told of what")
				return nil
			}
			return printNotifications(c.OutOrStdout(), out.Notifications)
		},
	}
	states := []string{notify.Pending, notify.Sent, notify.Failed, notify.Undeliverable}
	c.Flags().StringVar(&only, "only", "", "only those that are "+strings.Join(states, ", "))
	c.Flags().Int64Var(&run, "run", 0, "only those of a job run")
	c.Flags().IntVar(&limit, "limit", 50, "how many")
	_ = c.RegisterFlagCompletionFunc("only", cobra.FixedCompletions(states, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func printNotifications(out io.Writer, list []notify.Notification) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tWHEN\tSTATE\tATTEMPTS\tTO\tSUBJECT")
	for _, n := range list {
		fmt.Fprintf(w, "%d\t%s\t%s\t%d\t%s\t%s\n", n.ID, time.UnixMilli(n.CreatedAt).UTC().Format(time.RFC3339), n.State, n.Attempts, receiverOf(n), n.Notice.Subject)
		if n.State != notify.Sent && n.LastError != "" {
			fmt.Fprintf(w, "\t%s\n", n.LastError)
		}
	}
	return w.Flush()
}

func receiverOf(n notify.Notification) string {
	if n.Channel == notify.Destination {
		return cmp.Or(n.Destination, n.Address)
	}
	return n.Address
}

func (f *notificationFlags) testCommand() *cobra.Command {
	return &cobra.Command{
		Use: "test DESTINATION", Short: "Send a test to a destination (its name or id) or to an e-mail address, and say whether it arrived", Args: cobra.ExactArgs(1),
		ValidArgsFunction: f.completeDestinations,
		RunE: func(c *cobra.Command, args []string) error {
			server, err := localServer(c, f.state)
			if err != nil {
				return err
			}
			var out notifyapi.History
			if err := server.Do(c.Context(), "POST", notificationsPath+"/test", map[string]string{"destination": args[0]}, &out); err != nil {
				return err
			}
			return f.follow(c, server, out.Notifications)
		},
	}
}

func (f *notificationFlags) retryCommand() *cobra.Command {
	return &cobra.Command{
		Use: "retry ID", Short: "Send a notification that was given up, or now one that waits", Args: cobra.ExactArgs(1),
		ValidArgsFunction: f.completeRetry,
		RunE: func(c *cobra.Command, args []string) error {
			server, err := localServer(c, f.state)
			if err != nil {
				return err
			}
			var n notify.Notification
			if err := server.Do(c.Context(), "POST", notificationsPath+"/"+url.PathEscape(args[0])+"/retry", nil, &n); err != nil {
				return err
			}
			return f.follow(c, server, []notify.Notification{n})
		},
	}
}

// followFor is how long a command waits for the word of a receiver: as long as a
// send may take.
const followFor = 40 * time.Second

// follow waits until each notification was tried, prints what became of them,
// and fails if one did not arrive.
func (f *notificationFlags) follow(c *cobra.Command, server *client.Client, list []notify.Notification) error {
	look, end := time.NewTicker(100*time.Millisecond), time.After(followFor)
	defer look.Stop()
	for i := range list {
		for before := list[i].Attempts; list[i].State == notify.Pending && (list[i].Attempts == before || list[i].LastError == ""); {
			select {
			case <-look.C:
			case <-end:
				return fmt.Errorf("notification %d is still on its way: `wherry notifications` will tell", list[i].ID)
			case <-c.Context().Done():
				return c.Context().Err()
			}
			if err := server.Do(c.Context(), "GET", fmt.Sprintf("%s/%d", notificationsPath, list[i].ID), nil, &list[i]); err != nil {
				return err
			}
		}
	}
	if f.output == "json" {
		if err := printJSON(c.OutOrStdout(), notifyapi.History{Notifications: list}); err != nil {
			return err
		}
	}
	for _, n := range list {
		if n.State != notify.Sent {
			return fmt.Errorf("notification %d to %s did not arrive: %s", n.ID, receiverOf(n), n.LastError)
		}
		if f.output != "json" {
			fmt.Fprintf(c.OutOrStdout(), "sent to %s\n", receiverOf(n))
		}
	}
	return nil
}

func (f *notificationFlags) destinations(c *cobra.Command) (*notifyapi.Destinations, error) {
	server, err := localServer(c, f.state)
	if err != nil {
		return nil, err
	}
	all := &notifyapi.Destinations{}
	for token := ""; ; {
		var page notifyapi.Destinations
		if err := server.Do(c.Context(), "GET", destinationsPath+"?page_size=1000&page_token="+url.QueryEscape(token), nil, &page); err != nil {
			return nil, err
		}
		all.Results = append(all.Results, page.Results...)
		if token = page.Next; token == "" {
			return all, nil
		}
	}
}

func (f *notificationFlags) destinationsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "destinations", Short: "List destinations", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			all, err := f.destinations(c)
			if err != nil {
				return err
			}
			if f.output == "json" {
				return printJSON(c.OutOrStdout(), all)
			}
			if len(all.Results) == 0 {
				fmt.Fprintln(c.OutOrStdout(), "no destinations yet: `wherry notifications add` makes one")
				return nil
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tTYPE\tNAME\tTOLD OF")
			for _, d := range all.Results {
				told := "what names it"
				if d.Installation != nil && *d.Installation {
					told = "environments that name nobody, and what names it"
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", d.ID, d.Type, d.Name, told)
			}
			return w.Flush()
		},
	}
}

// newDestination are the flags of add: each secret is in a file.
type newDestination struct {
	id, slack, teams, webhook, pagerDuty, user, password string
	emails                                               []string
	installation                                         bool
}

func (f *notificationFlags) addCommand() *cobra.Command {
	var n newDestination
	c := &cobra.Command{
		Use: "add NAME", Short: "Make a destination", Args: cobra.ExactArgs(1),
		Long: `Make a destination. Who has the URL of a channel can write there, so URLs and keys are read from a file, or from
standard input with -, and never shown again. Jobs name destinations by id: with --id a job keeps the one it has.`,
		Example: `  wherry notifications add on-call --email ada@example.com --email bob@example.com
  wherry notifications add alerts --slack ~/slack-url
  cat hook-url | wherry notifications add hook --webhook - --user ci --password-file ~/hook-password`,
		RunE: func(c *cobra.Command, args []string) error {
			d, err := n.read(c.InOrStdin(), args[0])
			if err != nil {
				return err
			}
			server, err := localServer(c, f.state)
			if err != nil {
				return err
			}
			var out wherry.Destination
			if err := server.Do(c.Context(), "POST", destinationsPath, d, &out); err != nil {
				return err
			}
			if f.output == "json" {
				return printJSON(c.OutOrStdout(), out)
			}
			fmt.Fprintf(c.OutOrStdout(), "made the destination %s: %s\n", out.Name, out.ID)
			return nil
		},
	}
	c.Flags().StringSliceVar(&n.emails, "email", nil, "an address; may be given several times")
	c.Flags().StringVar(&n.slack, "slack", "", "file with the URL of an incoming webhook of Slack")
	c.Flags().StringVar(&n.teams, "teams", "", "file with the URL of a webhook of Microsoft Teams")
	c.Flags().StringVar(&n.webhook, "webhook", "", "file with the URL of a webhook")
	c.Flags().StringVar(&n.pagerDuty, "pagerduty", "", "file with an integration key of PagerDuty")
	c.Flags().StringVar(&n.user, "user", "", "user name for --webhook")
	c.Flags().StringVar(&n.password, "password-file", "", "file with the password for --webhook")
	c.Flags().BoolVar(&n.installation, "installation", false, "told of drift, approvals and failed verifications of all environments that name nobody (wherry env set --notify), and of failed workflows of repositories that name nobody (wherry repo notify)")
	c.Flags().StringVar(&n.id, "id", "", "the id that jobs name it by (default: a new one)")
	return c
}

func (n *newDestination) read(in io.Reader, name string) (*wherry.Destination, error) {
	d := &wherry.Destination{ID: n.id, Name: name, Config: &wherry.DestinationConfig{}}
	if n.installation {
		d.Installation = &n.installation
	}
	if len(n.emails) > 0 {
		d.Config.Email = &wherry.EmailConfig{Addresses: n.emails}
	}
	if (n.user != "" || n.password != "") && n.webhook == "" {
		return nil, errors.New("--user and --password-file belong to --webhook")
	}
	var password string
	for _, from := range []struct {
		flag, file string
		set        func(secret string)
	}{
		{"--slack", n.slack, func(s string) { d.Config.Slack = &wherry.SlackConfig{URL: s} }},
		{"--teams", n.teams, func(s string) { d.Config.Teams = &wherry.TeamsConfig{URL: s} }},
		{"--pagerduty", n.pagerDuty, func(s string) { d.Config.PagerDuty = &wherry.PagerDutyConfig{IntegrationKey: s} }},
		{"--password-file", n.password, func(s string) { password = s }},
		{"--webhook", n.webhook, func(s string) {
			d.Config.Webhook = &wherry.WebhookConfig{URL: s, Username: n.user, Password: password}
		}},
	} {
		if from.file == "" {
			continue
		}
		secret, err := secretIn(in, from.file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", from.flag, err)
		}
		from.set(secret)
	}
	if d.Config.Type() == "" {
		return nil, errors.New("give one of --email, --slack, --teams, --webhook and --pagerduty")
	}
	return d, nil
}

// secretIn reads one line from a file, or from standard input for "-".
func secretIn(in io.Reader, file string) (string, error) {
	var b []byte
	var err error
	if file == "-" {
		b, err = io.ReadAll(io.LimitReader(in, 64<<10))
	} else {
		b, err = os.ReadFile(file)
	}
	if err != nil {
		return "", err
	}
	secret := strings.TrimSpace(string(b))
	if secret == "" {
		return "", errors.New("nothing is in there")
	}
	return secret, nil
}

func (f *notificationFlags) removeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "remove ID", Short: "Delete a destination", Args: cobra.ExactArgs(1), ValidArgsFunction: f.completeDestinations,
		RunE: func(c *cobra.Command, args []string) error {
			server, err := localServer(c, f.state)
			if err != nil {
				return err
			}
			if err := server.Do(c.Context(), "DELETE", destinationsPath+"/"+url.PathEscape(args[0]), nil, nil); err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "deleted the destination %s\n", args[0])
			return nil
		},
	}
}

// completeDestinations offers the ids of destinations, with their names.
func (f *notificationFlags) completeDestinations(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	all, err := f.destinations(c)
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var list []string
	for _, d := range all.Results {
		list = append(list, d.ID+"\t"+d.Name)
	}
	return list, cobra.ShellCompDirectiveNoFileComp
}

// completeRetry offers what did not arrive.
func (f *notificationFlags) completeRetry(c *cobra.Command, args []string, _ string) (list []string, _ cobra.ShellCompDirective) {
	server, err := localServer(c, f.state)
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out notifyapi.History
	if err := server.Do(c.Context(), "GET", notificationsPath, nil, &out); err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	for _, n := range out.Notifications {
		if n.State != notify.Sent {
			list = append(list, fmt.Sprintf("%d\t%s to %s, %s", n.ID, n.Notice.Subject, receiverOf(n), n.State))
		}
	}
	return list, cobra.ShellCompDirectiveNoFileComp
}
