// Package server builds every part of the system and runs them under one
// errgroup. Read downwards, it is the map of the server.
package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/wherry-ml/wherry/api"
	catalogapi "github.com/wherry-ml/wherry/api/catalog"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/state"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/catalog"
)

// Config is what `wherry up` takes.
type Config struct {
	State         state.Dir
	Listen        string // host:port of the APIs and pages; port 0 takes a free one
	StorageListen string // host:port of the plain storage endpoint
	Database      string // postgres://…; "" is SQLite in the state directory
	Ready         func(Info)
}

// Info is what DIR/server.json holds.
type Info struct {
	URL        string `json:"url"`
	StorageURL string `json:"storage_url"`
	PID        int    `json:"pid"`
}

// Run serves until ctx ends. It fails at once, changing nothing, if another
// server has the state directory or a port is taken.
func Run(ctx context.Context, cfg Config) error {
	if err := cfg.State.Create(); err != nil {
		return err
	}
	lock, err := lockState(cfg.State)
	if err != nil {
		return err
	}
	defer lock.Close()
	listener, err := listen(cfg.Listen, "--listen")
	if err != nil {
		return err
	}
	defer listener.Close()
	storageListener, err := listen(cfg.StorageListen, "--storage-listen")
	if err != nil {
		return err
	}
	defer storageListener.Close()

	db, err := store.Open(ctx, cfg.databaseURL())
	if err != nil {
		return err
	}
	defer db.Close()
	epoch, err := db.TakeLease(ctx, "server", fmt.Sprint(os.Getpid()), 30*time.Second, db.Dialect == store.SQLite)
	if err != nil {
		return err
	}
	signIn := auth.New(db)
	adminToken, err := adminToken(cfg.State)
	if err != nil {
		return err
	}
	if err := signIn.Bootstrap(ctx, adminToken); err != nil {
		return err
	}

	catalogs := catalog.New(db)
	if err := catalogs.Bootstrap(ctx, "admin@localhost"); err != nil {
		return err
	}
	catalogAPI := catalogapi.New(catalogs, cfg.State)
	if err := catalogAPI.Start(ctx); err != nil {
		return err
	}

	// Each edge exports New and Routes; the list below is the whole surface.
	routes := []api.Route{
		{Method: "GET", Path: "/health", Permission: api.Public, Summary: "Is the server alive", Handler: api.Raw(health)},
	}

	routes = append(routes, catalogAPI.Routes()...)

	info := Info{URL: "http://" + listener.Addr().String(), StorageURL: "http://" + storageListener.Addr().String(), PID: os.Getpid()}
	handler := api.NewMux(signIn, routes...)
	web := &http.Server{Handler: hostCheck(handler), ReadHeaderTimeout: 30 * time.Second}
	storage := &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: 30 * time.Second}
	_ = epoch

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return serve(ctx, web, listener) })
	g.Go(func() error { return serve(ctx, storage, storageListener) })
	g.Go(func() error { return catalogAPI.Run(ctx) })
	if err := writeInfo(cfg.State, info); err != nil {
		return err
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
	return "sqlite://" + c.State.Path("wherry.db")
}

func lockState(dir state.Dir) (*os.File, error) {
	f, err := os.OpenFile(dir.Path("server.lock"), os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("another wherry server uses %s (see server.json there): use it, stop it, or name another --state", dir)
	}
	return f, nil
}

func listen(addr, flag string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", flag, addr, err)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("%s %s: wherry listens on loopback addresses only (127.0.0.1:PORT)", flag, addr)
	}
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, fmt.Errorf("%s %s: the port is in use: stop its user or choose another, port 0 takes any free one", flag, addr)
	}
	return l, err
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

func serve(ctx context.Context, s *http.Server, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
		defer cancel()
		if s.Shutdown(grace) != nil {
			_ = s.Close()
		}
	})
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// hostCheck refuses requests for a host name that is not ours: a page of
// another site whose name was bound to 127.0.0.1 must not reach us.
func hostCheck(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		ip := net.ParseIP(strings.Trim(host, "[]"))
		if r.TLS == nil && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			http.Error(w, `{"error_code":"PERMISSION_DENIED","message":"this host name is not served here"}`, http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func health(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "text/plain")
	_, err := w.Write([]byte("OK"))
	return err
}
