package cli

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	mlflowapi "github.com/wherry-ml/wherry/api/mlflow"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/mlflow"
)

func mlflowCommand() *cobra.Command {
	c := &cobra.Command{Use: "mlflow", Short: "MLflow without the rest"}
	c.AddCommand(mlflowServeCommand())
	return c
}

// trackingFlags are those of `mlflow server` that people know.
type trackingFlags struct {
	host        string
	port        int
	backend     string
	root        string
	destination string
	serve       bool
}

func mlflowServeCommand() *cobra.Command {
	f := &trackingFlags{}
	c := &cobra.Command{
		Use:     "serve",
		Aliases: []string{"server"}, // what the mlflow command calls it
		Short:   "Run an MLflow tracking server and registry, without sign-in, on this machine only",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return f.run(c) },
	}
	c.Flags().StringVar(&f.host, "host", "127.0.0.1", "loopback address to listen on")
	c.Flags().IntVar(&f.port, "port", 5000, "port to listen on, 0 for any free one")
	c.Flags().StringVar(&f.backend, "backend-store-uri", "sqlite:///mlflow.db", "sqlite:///FILE (relative), sqlite:////FILE (absolute) or postgresql://…")
	c.Flags().StringVar(&f.root, "default-artifact-root", "", "where new experiments put artifacts: mlflow-artifacts:/ (default), or a URI that clients reach by themselves")
	c.Flags().BoolVar(&f.serve, "serve-artifacts", true, "serve artifacts from --artifacts-destination")
	c.Flags().StringVar(&f.destination, "artifacts-destination", "./mlartifacts", "folder that served artifacts are in")
	return c
}

// backendURL reads a URI as SQLAlchemy writes it: three slashes and a relative
// path, four and an absolute one.
func backendURL(uri string) (string, error) {
	file, ok := strings.CutPrefix(uri, "sqlite:///")
	if !ok {
		if strings.HasPrefix(uri, "postgresql://") || strings.HasPrefix(uri, "postgres://") {
			return uri, nil
		}
		return "", fmt.Errorf("--backend-store-uri %s: wherry keeps MLflow's data in sqlite:///FILE or postgresql://…", uri)
	}
	file, err := filepath.Abs(file)
	return (&url.URL{Scheme: "sqlite", Path: file}).String(), err
}

// artifactRoot checks --default-artifact-root: "" is our own store.
func (f *trackingFlags) artifactRoot() (string, error) {
	root := strings.TrimSuffix(f.root, "/")
	switch {
	case root == "" || root == "mlflow-artifacts:":
		if !f.serve {
			return "", errors.New("--serve-artifacts=false needs a --default-artifact-root that clients reach by themselves (a folder, s3://… …)")
		}
		return "", nil
	case strings.Contains(root, "://") || strings.HasPrefix(root, "mlflow-artifacts:/"):
		return root, nil
	default:
		abs, err := filepath.Abs(strings.TrimPrefix(root, "file:"))
		return "file://" + abs, err
	}
}

func (f *trackingFlags) run(c *cobra.Command) error {
	if ip := net.ParseIP(f.host); f.host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return &ExitError{Code: 2, Message: fmt.Sprintf("--host %s: without sign-in the server listens on loopback only (127.0.0.1); `wherry up` has sign-in", f.host)}
	}
	dsn, err := backendURL(f.backend)
	if err != nil {
		return &ExitError{Code: 2, Message: err.Error()}
	}
	root, err := f.artifactRoot()
	if err != nil {
		return &ExitError{Code: 2, Message: err.Error()}
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(f.host, strconv.Itoa(f.port)))
	if err != nil {
		return fmt.Errorf("--port %d: %w: stop its user or choose another, 0 takes any free one", f.port, err)
	}
	defer listener.Close()
	db, err := store.Open(c.Context(), dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	cfg := mlflowapi.Config{Store: mlflow.New(db), Root: root, UI: mlflowapi.InstalledUI}
	if folder, ok := strings.CutPrefix(root, "file://"); ok {
		cfg.Artifacts = folder // the clients write there, the pages read there
	} else if f.serve {
		cfg.Artifacts = f.destination
	}
	service, err := mlflowapi.New(cfg)
	if err != nil {
		return err
	}
	defer service.Close()
	routes := append(service.Routes(), api.Route{Method: "GET", Path: "/health", Permission: api.Public, Summary: "Is the server alive", Handler: api.Raw(func(w http.ResponseWriter, _ *http.Request) error {
		_, err := w.Write([]byte("OK"))
		return err
	})})
	web := &http.Server{Handler: api.OwnHosts(api.NewMux(everyone{}, routes...)), ReadHeaderTimeout: 30 * time.Second}
	fmt.Fprintf(c.OutOrStdout(), "wherry serves MLflow at http://%s\n", listener.Addr())
	stop := make(chan error, 1)
	go func() { stop <- web.Serve(listener) }()
	select {
	case err := <-stop:
		return err
	case <-c.Context().Done():
		_ = web.Close()
		if err := <-stop; !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	}
}

// everyone is the sign-in of a server that has none.
type everyone struct{}

// Authenticate takes every caller for the person who runs the server.
func (everyone) Authenticate(*http.Request) (wherry.Identity, error) {
	user := os.Getenv("USER")
	if user == "" {
		user = "user"
	}
	return wherry.Identity{Principal: wherry.Principal{ID: 1, Kind: wherry.KindUser, UserName: user, Admin: true, Active: true}, WorkspaceID: wherry.DefaultWorkspace}, nil
}
