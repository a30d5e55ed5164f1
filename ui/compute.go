package ui

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/cluster"
	"github.com/wherry-ml/wherry/store/compute"
)

// computeRoutes are the pages of clusters. A server whose tasks run elsewhere
// has none.
func (s *Service) computeRoutes() []api.Route {
	if s.cfg.Clusters == nil {
		return nil
	}
	const one = "/compute/{cluster}"
	act := func(do func(context.Context, int64, string) error) api.Handler {
		return api.Raw(func(w http.ResponseWriter, r *http.Request) error { return s.changeCluster(w, r, do) })
	}
	return []api.Route{
		{Method: "GET", Path: "/compute", Permission: api.Read, Summary: "Page of all clusters", Handler: api.Raw(s.clusters)},
		{Method: "GET", Path: "/compute/live", Permission: api.Read, Summary: "Changes of the page of all clusters, as server-sent events", Handler: api.Raw(s.liveClusters)},
		{Method: "GET", Path: one, Permission: api.Read, Summary: "Page of a cluster", Handler: api.Raw(s.cluster)},
		{Method: "GET", Path: one + "/live", Permission: api.Read, Summary: "Changes of a cluster's page, as server-sent events", Handler: api.Raw(s.liveCluster)},
		{Method: "POST", Path: one + "/start", Permission: api.Write, Summary: "Start a cluster, from its page", Handler: act(s.cfg.Clusters.StartCluster)},
		{Method: "POST", Path: one + "/restart", Permission: api.Write, Summary: "Restart a cluster, from its page", Handler: act(s.cfg.Clusters.RestartCluster)},
		{Method: "POST", Path: one + "/terminate", Permission: api.Write, Summary: "Terminate a cluster, from its page", Handler: act(s.cfg.Clusters.TerminateCluster)},
	}
}

// clusterView is a cluster as pages show it.
type clusterView struct {
	wherry.Cluster
	Uses          cluster.Spec // what wherry uses of its settings
	Cores, Memory int          // of this machine; memory in MB
	Notes         []string     // what differs from what was asked for
	Events        []wherry.ClusterEvent
	Total         int64 // of events
	YAML          string
	Libraries     []string
}

// Path is the cluster's page.
func (v clusterView) Path() string { return "/compute/" + url.PathEscape(v.ID) }

// Node is the machine type that was asked for.
func (v clusterView) Node() string {
	if v.Uses.DriverNodeType != "" {
		return v.Uses.DriverNodeType
	}
	return v.Uses.NodeType
}

// Workers is how many were asked for.
func (v clusterView) Workers() string {
	switch a := v.Uses.Autoscale; {
	case a != nil:
		return fmt.Sprintf("%d to %d", a.Min, a.Max)
	case v.Uses.NumWorkers != nil:
		return fmt.Sprint(*v.Uses.NumWorkers)
	default:
		return "0"
	}
}

// MemoryGB is Memory as machine types are described.
func (v clusterView) MemoryGB() int { return v.Memory >> 10 }

// MoreEvents reports whether there are older events than the listed ones.
func (v clusterView) MoreEvents() bool { return v.Total > int64(len(v.Events)) }

// CanStart, CanRestart and CanTerminate say what the API would do.
func (v clusterView) CanStart() bool {
	return v.JobRunID == 0 && (v.State == wherry.ClusterTerminated || v.State == wherry.ClusterError)
}

// CanRestart: see CanStart.
func (v clusterView) CanRestart() bool { return v.State == wherry.ClusterRunning }

// CanTerminate: see CanStart.
func (v clusterView) CanTerminate() bool { return v.State != wherry.ClusterTerminated }

// clusterState is the word and shape of a cluster's state.
func clusterState(state string) stateView {
	switch state {
	case wherry.ClusterRunning:
		return stateView{"ok", "Running"}
	case wherry.ClusterTerminated:
		return stateView{"skipped", "Terminated"}
	case wherry.ClusterError:
		return stateView{"failed", "Error"}
	case wherry.ClusterRestarting:
		return stateView{"pending", "Restarting"}
	case wherry.ClusterTerminating:
		return stateView{"pending", "Terminating"}
	default:
		return stateView{"pending", "Starting"}
	}
}

func (s *Service) viewCluster(c wherry.Cluster) clusterView {
	v := clusterView{Cluster: c, Notes: s.cfg.Clusters.Notes(c)}
	_ = json.Unmarshal(c.Spec, &v.Uses) // it was valid when it was stored
	v.Cores, v.Memory = s.cfg.Clusters.Size(c)
	return v
}

// maxClusters bounds each of the two lists of clusters.
const maxClusters = 100

func (s *Service) viewClusters(ctx context.Context) (map[string]any, error) {
	v := map[string]any{}
	for name, source := range map[string]string{"Mine": wherry.ClusterSourceAPI, "OfJobs": wherry.ClusterSourceJob} {
		list, err := s.cfg.Compute.ClustersFrom(ctx, wherry.IdentityFrom(ctx).WorkspaceID, source, maxClusters)
		if err != nil {
			return nil, err
		}
		views := make([]clusterView, len(list))
		for i, c := range list {
			views[i] = s.viewCluster(c)
		}
		v[name] = views
	}
	return v, nil
}

func (s *Service) clusters(w http.ResponseWriter, r *http.Request) error {
	v, err := s.viewClusters(r.Context())
	if err != nil {
		return err
	}
	sections, err := s.sections("compute", v, "clusters")
	if err != nil {
		return err
	}
	return s.render(w, r, http.StatusOK, "compute", page{Title: "Compute", Section: "compute", Live: "/compute/live", Body: sections})
}

func (s *Service) liveClusters(w http.ResponseWriter, r *http.Request) error {
	return s.live(w, r, []string{compute.TopicCluster}, func(ctx context.Context) ([]section, bool, error) {
		v, err := s.viewClusters(ctx)
		if err != nil {
			return nil, false, err
		}
		list, err := s.sections("compute", v, "clusters")
		return list, false, err
	})
}

// maxEvents bounds a cluster's history on its page.
const maxEvents = 100

func (s *Service) clusterSections(ctx context.Context, id string) (v clusterView, list []section, err error) {
	ws := wherry.IdentityFrom(ctx).WorkspaceID
	c, err := s.cfg.Compute.Cluster(ctx, ws, id)
	if err != nil {
		return v, nil, err
	}
	v = s.viewCluster(c)
	if v.Events, v.Total, err = s.cfg.Compute.Events(ctx, id, 0, maxEvents); err != nil {
		return v, nil, err
	}
	libraries, err := s.cfg.Clusters.Libraries(ctx, ws, id)
	if err != nil {
		return v, nil, err
	}
	for _, l := range libraries {
		v.Libraries = append(v.Libraries, plain(l))
	}
	settings, err := yaml.JSONToYAML(c.Spec)
	if err != nil {
		return v, nil, err
	}
	v.YAML = string(settings)
	list, err = s.sections("cluster", v, "cluster-head", "cluster-facts", "cluster-events", "cluster-settings")
	return v, list, err
}

func (s *Service) cluster(w http.ResponseWriter, r *http.Request) error {
	v, list, err := s.clusterSections(r.Context(), r.PathValue("cluster"))
	if err != nil {
		return notFound(err)
	}
	return s.render(w, r, http.StatusOK, "cluster", page{Title: v.Name, Section: "compute", Live: v.Path() + "/live", Body: list})
}

// notFound gives what is not there the status of a page that is not there: the
// Clusters API has another.
func notFound(err error) error {
	if wherry.CodeOf(err) == wherry.CodeInvalidParameter {
		return wherry.Errorf(wherry.CodeDoesNotExist, "%v", err)
	}
	return err
}

func (s *Service) liveCluster(w http.ResponseWriter, r *http.Request) error {
	return s.live(w, r, []string{compute.TopicCluster}, func(ctx context.Context) ([]section, bool, error) {
		_, list, err := s.clusterSections(ctx, r.PathValue("cluster"))
		return list, false, err
	})
}

// changeCluster does what a button says, and goes back to the page.
func (s *Service) changeCluster(w http.ResponseWriter, r *http.Request, do func(ctx context.Context, ws int64, id string) error) error {
	if _, err := form(w, r); err != nil {
		return err
	}
	id := r.PathValue("cluster")
	if err := do(r.Context(), wherry.IdentityFrom(r.Context()).WorkspaceID, id); err != nil {
		return notFound(err)
	}
	return seeOther(w, r, "/compute/"+url.PathEscape(id))
}

// plain is a document in words: "name: value, name: value", "" for an empty one.
func plain(doc json.RawMessage) string {
	var v any
	_ = json.Unmarshal(doc, &v) // what is no JSON says nothing
	return strings.TrimSpace(words(v))
}

func words(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case map[string]any:
		var parts []string
		for _, k := range slices.Sorted(maps.Keys(v)) {
			if text := words(v[k]); text != "" {
				parts = append(parts, strings.ReplaceAll(k, "_", " ")+": "+text)
			}
		}
		return strings.Join(parts, ", ")
	default:
		return fmt.Sprint(v)
	}
}
