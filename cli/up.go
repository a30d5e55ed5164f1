package cli

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wherry-ml/wherry/environment"
	"github.com/wherry-ml/wherry/notify"
	"github.com/wherry-ml/wherry/server"
	"github.com/wherry-ml/wherry/state"
)

func upCommand() *cobra.Command {
	var dir string
	cfg, post, bounds := server.Config{}, mailFlags{}, boundFlags{}
	c := &cobra.Command{
		Use:   "up",
		Short: "Start the server",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			st, err := stateDir(dir)
			if err != nil {
				return err
			}
			cfg.State = st
			if err := bounds.into(&cfg); err != nil {
				return err
			}
			if cfg.Notify.Mail, err = post.mail(); err != nil {
				return &ExitError{Code: 2, Message: err.Error()}
			}
			if cfg.PublicURL, err = publicURL(cfg.PublicURL); err != nil {
				return err
			}
			if err := cfg.OpenID.Check(); err != nil {
				return &ExitError{Code: 2, Message: err.Error()}
			}
			cfg.Ready = func(i server.Info) {
				fmt.Fprintf(c.OutOrStdout(), "wherry serves %s, storage %s\nadmin token: %s\n", i.URL, i.StorageURL, st.Path("admin-token"))
				if _, err := environment.Open(); err != nil {
					fmt.Fprintf(c.ErrOrStderr(), "tasks and workflows fail for now: %v\n", err)
				}
			}
			return server.Run(c.Context(), cfg)
		},
	}
	c.Flags().StringVar(&cfg.Listen, "listen", "127.0.0.1:8787", "address of the APIs and pages")
	c.Flags().StringVar(&cfg.StorageListen, "storage-listen", "127.0.0.1:10000", "address of the plain storage endpoint")
	c.Flags().StringVar(&cfg.ProxyListen, "proxy-listen", "", "address of the proxy that serves production host names (default: a free port, the same one each time)")
	c.Flags().StringVar(&cfg.Database, "database", "", "postgres://… instead of SQLite in the state directory")
	c.Flags().DurationVar(&cfg.AgentIdle, "agent-idle", 10*time.Minute, "how long agents stay without a server and without work")
	c.Flags().StringVar(&post.server, "smtp", os.Getenv("WHERRY_SMTP"), "server for e-mail: smtp://user@host:587 (?tls=opportunistic or none if it has no TLS) or smtps://user@host:465; the password is in WHERRY_SMTP_PASSWORD (default: $WHERRY_SMTP)")
	c.Flags().StringVar(&post.passwordFile, "smtp-password-file", "", "file with the password for --smtp")
	c.Flags().StringVar(&post.from, "smtp-from", os.Getenv("WHERRY_SMTP_FROM"), "address that e-mail comes from (default: $WHERRY_SMTP_FROM)")
	c.Flags().StringVar(&cfg.PublicURL, "public-url", "", "address that people reach this server by, for links in notifications (default: the one that it listens on)")
	c.Flags().StringSliceVar(&cfg.Notify.AllowHosts, "allow-webhook-host", nil, "host, or host:port, that webhooks may reach although its address is not public; may be given several times")
	c.Flags().StringVar(&cfg.Notify.PagerDuty, "pagerduty-url", "", "PagerDuty's Events API (default: https://events.pagerduty.com; in the EU https://events.eu.pagerduty.com)")
	c.Flags().StringToStringVar(&cfg.Reach, "reach", nil, "lets tasks and workflows come to a service of this machine under a name: mail.example.com:25=127.0.0.1:2525; may be given several times")
	c.Flags().StringVar(&cfg.Owner, "owner", "", "name of the organisation that repositories belong to, as in OWNER/NAME (default: wherry)")
	c.Flags().StringVar(&cfg.OpenID.Issuer, "oidc-issuer", "", "OpenID Connect issuer that signs people in to the pages; it leads back to /login/oidc/callback")
	c.Flags().StringVar(&cfg.OpenID.ClientID, "oidc-client-id", "", "the client id that the issuer knows wherry by")
	c.Flags().StringVar(&cfg.OpenID.SecretFile, "oidc-client-secret-file", "", "file with the client's secret (default: none, a public client)")
	c.Flags().StringSliceVar(&cfg.OpenID.Domains, "oidc-domain", nil, "domain whose addresses may sign in; may be given several times")
	c.Flags().BoolVar(&cfg.OpenID.TrustEmail, "oidc-trust-email", false, "accept addresses that the issuer does not call verified, as one tenant of Entra")
	bounds.add(c)
	c.Flags().StringVar(&dir, "state", "", "state directory (default: wherry below XDG_STATE_HOME)")
	return c
}

// boundFlags bound what repositories and their workflows store.
type boundFlags struct {
	maxPush, artifactGB, cacheGB int64
	artifactDays, cacheDays      int
}

func (f *boundFlags) add(c *cobra.Command) {
	c.Flags().Int64Var(&f.maxPush, "max-push", 1024, "MiB that one push to a Git repository may have")
	c.Flags().IntVar(&f.artifactDays, "artifact-days", 90, "days that artifacts of workflows are kept, and the most that retention-days may ask for")
	c.Flags().Int64Var(&f.artifactGB, "artifact-gb", 50, "GiB of artifacts that a repository may have; more is refused, and pull requests of forks get a tenth each")
	c.Flags().IntVar(&f.cacheDays, "cache-days", 7, "days that a cache of workflows is kept without being used")
	c.Flags().Int64Var(&f.cacheGB, "cache-gb", 10, "GiB of caches that a repository may have; those used longest ago go first")
}

func (f *boundFlags) into(cfg *server.Config) error {
	switch {
	case f.artifactGB < 1 || f.cacheGB < 1 || f.artifactDays < 1 || f.cacheDays < 1:
		return &ExitError{Code: 2, Message: "--artifact-days, --artifact-gb, --cache-days and --cache-gb are 1 or more"}
	case f.maxPush < 1:
		return &ExitError{Code: 2, Message: "--max-push is a number of MiB above 0"}
	}
	cfg.MaxPush, cfg.CIRetention.CacheBytes = f.maxPush<<20, f.cacheGB<<30
	cfg.CIRetention.ArtifactBytes = f.artifactGB << 30
	cfg.CIRetention.ArtifactDays, cfg.CIRetention.CacheDays = f.artifactDays, f.cacheDays
	return nil
}

// mailFlags say how e-mail goes out.
type mailFlags struct{ server, passwordFile, from string }

// mail is nil without a server.
func (f mailFlags) mail() (*notify.Mail, error) {
	if f.server == "" {
		return nil, nil
	}
	password := os.Getenv("WHERRY_SMTP_PASSWORD")
	if f.passwordFile != "" {
		b, err := os.ReadFile(f.passwordFile)
		if err != nil {
			return nil, fmt.Errorf("--smtp-password-file: %w", err)
		}
		password = strings.TrimSpace(string(b))
	}
	return notify.ParseMail(f.server, password, f.from)
}

// publicURL checks an address that paths are put behind.
func publicURL(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", &ExitError{Code: 2, Message: "--public-url is http://HOST or https://HOST, with a port or path if there is one"}
	}
	return strings.TrimSuffix(text, "/"), nil
}

// stateDir makes the value of --state absolute, or gives the default.
func stateDir(flag string) (state.Dir, error) {
	if flag == "" {
		return state.Default()
	}
	abs, err := filepath.Abs(flag)
	return state.Dir(abs), err
}
