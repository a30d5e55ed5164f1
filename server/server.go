// Package server builds every part of the system and runs them under one
// errgroup. Read downwards, it is the map of the server.
package server

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api/openid"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/cicd"
	"github.com/wherry-ml/wherry/notify"
	"github.com/wherry-ml/wherry/scheduler"
	"github.com/wherry-ml/wherry/state"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/jobs"
)

// Config is what `wherry up` takes.
type Config struct {
	State state.Dir
	// host:port of the APIs and pages, of the plain storage endpoint, and of the
	// proxy ("" is 127.0.0.1:0). Port 0 takes the last server's of this state
	// directory, else any that is free.
	Listen, StorageListen, ProxyListen string

	Database string // postgres://…; "" is SQLite in the state directory
	// AgentIdle is how long an agent stays without a server and without work; 0
	// is ten minutes. StopAgents ends all agents with the server: for tests.
	AgentIdle  time.Duration
	StopAgents bool
	MaxPush    int64 // bytes of one push to a Git repository; 0 is 1 GiB
	// PackageIndex tells the URL of the package index that is passed on; nil is
	// environment.PackageIndex, what pip on this machine uses.
	PackageIndex func(context.Context) (string, error)
	// Reach lets tasks and workflows come to services that they otherwise may not:
	// addresses by the name:port that they use.
	Reach map[string]string
	// Owner is the name of the organisation that repositories belong to, as in
	// OWNER/NAME; "" is wherry.
	Owner string
	// KeepTriggers leaves pushes in the queue, and starts no workflow: for tests of
	// what makes them.
	KeepTriggers bool
	// CIGrace is how long a workflow's job may take to end once it is cancelled or
	// late; 0 is five minutes, as on GitHub.
	CIGrace time.Duration
	// CIRetention is how long workflows' artifacts and caches are kept.
	CIRetention cicd.Retention
	// Plain asks for boxes without namespaces: for tests.
	Plain bool
	Ready func(Info)
	// Notify is how notifications go out, PublicURL the address that their
	// links lead to; "" is the server's own.
	Notify    notify.Options
	PublicURL string
	// OpenID is who else signs people in to the pages.
	OpenID openid.Config
	// Compute runs attempts in the place of this machine's clusters: for tests
	// of what is around them. nil is the clusters.
	Compute func(*jobs.Store) scheduler.Compute
	// Renew tells when to renew the lease of a shared database: for tests. nil is
	// every third of its time.
	Renew <-chan time.Time
}

// Info is what DIR/server.json holds.
type Info struct {
	URL        string `json:"url"`
	StorageURL string `json:"storage_url"`
	ProxyURL   string `json:"proxy_url"`
	PID        int    `json:"pid"`
}

// ownerName is what an organisation may be called, as on GitHub.
var ownerName = regexp.MustCompile(`^([A-Za-z0-9]+(-[A-Za-z0-9]+)*)?$`)

// Run serves until ctx ends. It fails at once, changing nothing, if another
// server has the state directory or a port is taken.
func Run(ctx context.Context, cfg Config) error {
	if !ownerName.MatchString(cfg.Owner) {
		return wherry.Errorf(wherry.CodeInvalidParameter, "the owner of repositories has letters, digits and single hyphens, not %.60q", cfg.Owner)
	}
	if err := cfg.State.Create(); err != nil {
		return err
	}
	lock, err := cfg.State.Lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	ports, err := openPorts(cfg)
	if err != nil {
		return err
	}
	defer ports.close()

	db, err := store.Open(ctx, cfg.databaseURL())
	if err != nil {
		return err
	}
	defer db.Close()
	held, err := takeLease(ctx, db, cfg)
	if err != nil {
		return err
	}
	defer held.release(ctx)
	info := ports.info()
	sys, err := build(ctx, cfg, db, held.epoch, info)
	if err != nil {
		return err
	}
	if err := writeInfo(cfg.State, info); err != nil {
		return err
	}

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return serve(ctx, sys.web, ports.web) })
	g.Go(func() error { return serve(ctx, sys.storage, ports.storage) })
	g.Go(func() error { return sys.proxy.Run(ctx, ports.proxy) })
	g.Go(func() error { return held.keep(ctx, cfg.Renew) })
	for _, loop := range sys.loops {
		g.Go(func() error { return loop(ctx) })
	}
	slog.Info("serving", "url", info.URL, "storage", info.StorageURL, "state", string(cfg.State))
	if cfg.Ready != nil {
		cfg.Ready(info)
	}
	return g.Wait()
}

func (c Config) databaseURL() string {
	if c.Database != "" {
		return c.Database
	}
	return (&url.URL{Scheme: "sqlite", Path: c.State.Path("wherry.db")}).String() // a folder may be called proj#1
}

// listeners are the server's ports, open from its start on: who comes before it
// serves waits a moment.
type listeners struct{ web, storage, proxy net.Listener }

// openPorts opens all or none.
func openPorts(cfg Config) (p listeners, err error) {
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	var last Info
	if b, err := os.ReadFile(cfg.State.Path("server.json")); err == nil {
		_ = json.Unmarshal(b, &last) // without it any ports will do
	}
	if p.web, err = listenAgain(cfg.Listen, last.URL, "--listen"); err != nil {
		return p, err
	}
	if p.storage, err = listenAgain(cfg.StorageListen, last.StorageURL, "--storage-listen"); err != nil {
		return p, err
	}
	p.proxy, err = listenAgain(cmp.Or(cfg.ProxyListen, "127.0.0.1:0"), last.ProxyURL, "--proxy-listen")
	return p, err
}

func (p listeners) close() {
	for _, l := range []net.Listener{p.web, p.storage, p.proxy} {
		if l != nil {
			_ = l.Close()
		}
	}
}

func (p listeners) info() Info {
	return Info{
		URL: "http://" + p.web.Addr().String(), StorageURL: "http://" + p.storage.Addr().String(),
		ProxyURL: "http://" + p.proxy.Addr().String(), PID: os.Getpid(),
	}
}

// listenAgain opens a port. Tasks outside of sandboxes have the last server's in
// their environment and outlive it, so port 0 is that one if it can be.
func listenAgain(addr, lastURL, flag string) (net.Listener, error) {
	host, free := strings.CutSuffix(addr, ":0")
	if last, ok := strings.CutPrefix(lastURL, "http://"+host+":"); ok && free {
		if l, err := listen(host+":"+last, flag); err == nil {
			return l, nil
		}
	}
	return listen(addr, flag)
}

func adminToken(dir state.Dir) (string, error) {
	name := dir.Path("admin-token")
	b, err := os.ReadFile(name)
	if err == nil && len(strings.TrimSpace(string(b))) > 0 {
		return strings.TrimSpace(string(b)), nil
	}
	token := auth.NewToken("dapi")
	return token, state.WriteFile(name, []byte(token+"\n"), 0o600)
}

func writeInfo(dir state.Dir, info Info) error {
	b, err := json.Marshal(info)
	if err != nil {
		return err
	}
	return state.WriteFile(dir.Path("server.json"), append(b, '\n'), 0o644)
}
