package server

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/wherry-ml/wherry"
	workspaceapi "github.com/wherry-ml/wherry/api/workspace"
	"github.com/wherry-ml/wherry/cluster"
	"github.com/wherry-ml/wherry/egress"
	"github.com/wherry-ml/wherry/environment"
	"github.com/wherry-ml/wherry/sandbox"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/compute"
	"github.com/wherry-ml/wherry/store/jobs"
	"github.com/wherry-ml/wherry/workflow/runner"
)

// insideCA is where sandboxes see the trust stores of egress.Directory.
const insideCA = "/run/wherry/ca"

// workflows is what compute needs to run the jobs of workflows.
type workflows struct {
	input func(ctx context.Context, jobID int64, token string) (json.RawMessage, error)
	keep  func() []string
}

// newCompute makes the manager of this machine's clusters. Their sandboxes
// reach us, and everything else, through the proxy.
func newCompute(cfg Config, db *store.DB, epoch int64, info Info, runs *jobs.Store, trees cluster.Trees, proxy *egress.Proxy, files *workspaceapi.Service, volumes func() (map[string]string, error), names func() []string, ci workflows) *cluster.Manager {
	// A set-up that ends while the server runs is found by the next task.
	var mu sync.Mutex
	var env *environment.Environment
	open := func() (*environment.Environment, error) {
		mu.Lock()
		defer mu.Unlock()
		if env != nil {
			return env, nil
		}
		found, err := environment.Open()
		if errors.Is(err, environment.ErrMissing) {
			return nil, wherry.Errorf(wherry.CodeInvalidState, "%v", err)
		}
		if err != nil {
			return nil, err
		}
		for _, dir := range found.Paths() { // a sandbox shows what exists when it starts
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return nil, err
			}
		}
		env = found
		return env, nil
	}
	return cluster.New(cluster.Config{
		State: cfg.State, Store: compute.New(db), Runs: runs, Trees: trees, Epoch: epoch, URL: info.URL,
		CI: ci.input, CIGrace: cmp.Or(cfg.CIGrace, runner.Grace), Keep: ci.keep,
		Serve:      proxy.Serve,
		Secret:     files.Secret,
		Listen:     []string{"127.0.0.1:443", strings.TrimPrefix(info.ProxyURL, "http://")},
		Hosts:      func() map[string]string { return egress.Hosts(egress.Accounts(cfg.State), names()...) },
		Proxy:      strings.TrimPrefix(info.ProxyURL, "http://"),
		TrustStore: filepath.Join(egress.Directory(cfg.State), "truststore.p12"), TrustStorePassword: egress.TrustPassword,
		AgentIdle: cfg.AgentIdle, StopAgents: cfg.StopAgents, Plain: cfg.Plain,
		// At its own path too, which is right without a view of the files as well.
		Binds: []sandbox.Bind{
			{Src: egress.Directory(cfg.State), Dst: insideCA, ReadOnly: true},
			{Src: egress.Directory(cfg.State), Dst: egress.Directory(cfg.State), ReadOnly: true},
		},
		Volumes: volumes,
		Env:     egress.Env(info.ProxyURL, egress.Directory(cfg.State)),
		Runtime: func(context.Context) (cluster.Runtime, error) {
			e, err := open()
			if err != nil {
				return cluster.Runtime{}, err
			}
			return cluster.Runtime{Python: e.Python, PythonPath: e.PythonPath, Keep: e.Paths(), Name: fmt.Sprintf("Python %s, Java %d", e.Version, e.JavaMajor)}, nil
		},
		Overlay: func(ctx context.Context, requirements, wheels []string) (string, error) {
			e, err := open()
			if err != nil {
				return "", err
			}
			return e.Overlay(ctx, requirements, wheels)
		},
	})
}
