// Package compute serves the clusters and libraries APIs, 2.0 and 2.1.
package compute

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/cluster"
	"github.com/wherry-ml/wherry/store/compute"
)

// API serves clusters.
type API struct {
	manager *cluster.Manager
	store   *compute.Store
}

// New returns the API.
func New(m *cluster.Manager, s *compute.Store) *API { return &API{m, s} }

// Routes is the API's surface.
func (a *API) Routes() (routes []api.Route) {
	for _, base := range []string{"/api/2.0/clusters/", "/api/2.1/clusters/"} {
		routes = append(routes,
			api.Route{Method: "POST", Path: base + "create", Permission: api.Write, Summary: "Create a cluster", Handler: api.JSON(a.create)},
			api.Route{Method: "GET", Path: base + "get", Permission: api.Read, Summary: "Get a cluster", Handler: api.JSON(a.get)},
			api.Route{Method: "GET", Path: base + "list", Permission: api.Read, Summary: "List clusters", Handler: api.JSON(a.list)},
			api.Route{Method: "POST", Path: base + "start", Permission: api.Write, Summary: "Start a terminated cluster", Handler: api.JSON(a.start)},
			api.Route{Method: "POST", Path: base + "restart", Permission: api.Write, Summary: "Restart a running cluster", Handler: api.JSON(a.restart)},
			api.Route{Method: "POST", Path: base + "edit", Permission: api.Write, Summary: "Replace a cluster's settings", Handler: api.JSON(a.edit)},
			api.Route{Method: "POST", Path: base + "delete", Permission: api.Write, Summary: "Terminate a cluster", Handler: api.JSON(a.terminate)},
			api.Route{Method: "POST", Path: base + "permanent-delete", Permission: api.Write, Summary: "Delete a cluster for good", Handler: api.JSON(a.remove)},
			api.Route{Method: "POST", Path: base + "pin", Permission: api.Admin, Summary: "Keep a cluster from being deleted for good", Handler: api.JSON(a.pin(true))},
			api.Route{Method: "POST", Path: base + "unpin", Permission: api.Admin, Summary: "Let a pinned cluster be deleted", Handler: api.JSON(a.pin(false))},
			api.Route{Method: "POST", Path: base + "events", Permission: api.Read, Summary: "A cluster's history", Handler: api.JSON(a.events)},
			api.Route{Method: "GET", Path: base + "list-node-types", Permission: api.SignedIn, Summary: "Known machine types", Handler: api.JSON(a.nodeTypes)},
			api.Route{Method: "GET", Path: base + "spark-versions", Permission: api.SignedIn, Summary: "Known runtimes", Handler: api.JSON(a.sparkVersions)},
		)
	}
	for _, base := range []string{"/api/2.0/libraries/", "/api/2.1/libraries/"} {
		routes = append(routes,
			api.Route{Method: "POST", Path: base + "install", Permission: api.Write, Summary: "Install libraries on a cluster", Handler: api.JSON(a.install)},
			api.Route{Method: "POST", Path: base + "uninstall", Permission: api.Write, Summary: "Uninstall libraries of a cluster", Handler: api.JSON(a.uninstall)},
			api.Route{Method: "GET", Path: base + "cluster-status", Permission: api.Read, Summary: "A cluster's libraries", Handler: api.JSON(a.libraryStatus)},
		)
	}
	return routes
}

// document is a body that is kept as it was received.
type document struct {
	ID  string
	Raw json.RawMessage
}

// UnmarshalJSON takes cluster_id out of the settings.
func (d *document) UnmarshalJSON(b []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(b, &fields); err != nil {
		return err
	}
	if raw, ok := fields["cluster_id"]; ok {
		if err := json.Unmarshal(raw, &d.ID); err != nil {
			return wherry.Errorf(wherry.CodeInvalidParameter, "cluster_id is not a string")
		}
		delete(fields, "cluster_id")
	}
	for _, name := range []string{"idempotency_token", "apply_policy_default_values", "clone_from"} {
		delete(fields, name)
	}
	var err error
	d.Raw, err = json.Marshal(fields)
	return err
}

func (d *document) check() error {
	var s cluster.Spec
	if err := json.Unmarshal(d.Raw, &s); err != nil {
		return wherry.Errorf(wherry.CodeInvalidParameter, "the cluster's settings are not valid: %v", err)
	}
	if s.SparkVersion == "" {
		return wherry.Errorf(wherry.CodeInvalidParameter, "Missing required field: spark_version")
	}
	return nil
}

type clusterID struct {
	ID string `json:"cluster_id"`
}

func (a *API) create(ctx context.Context, in *document) (*clusterID, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	id := wherry.IdentityFrom(ctx)
	c, err := a.manager.Create(ctx, id.WorkspaceID, id.Principal, in.Raw)
	if err != nil {
		return nil, err
	}
	return &clusterID{c.ID}, nil
}

func (a *API) get(ctx context.Context, in *clusterID) (*map[string]any, error) {
	c, err := a.store.Cluster(ctx, workspace(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	v, err := a.view(c)
	return &v, err
}

type listIn struct {
	PageSize  int    `json:"page_size"`
	PageToken string `json:"page_token"`
	Filter    struct {
		Sources []string `json:"cluster_sources"`
		States  []string `json:"cluster_states"`
		Pinned  bool     `json:"is_pinned"`
		Policy  string   `json:"policy_id"`
	} `json:"filter_by"`
}

type listOut struct {
	Clusters []map[string]any `json:"clusters,omitempty"`
	Next     string           `json:"next_page_token,omitempty"`
	Previous string           `json:"prev_page_token,omitempty"`
}

// list pages by position: the token is the number of clusters before the page.
func (a *API) list(ctx context.Context, in *listIn) (*listOut, error) {
	all, err := a.store.Clusters(ctx, workspace(ctx))
	if err != nil {
		return nil, err
	}
	if in.Filter.Policy != "" {
		return nil, wherry.NotImplemented("clusters/list of a policy")
	}
	all = slices.DeleteFunc(all, func(c wherry.Cluster) bool {
		return in.Filter.Pinned && !c.Pinned || len(in.Filter.Sources) > 0 && !slices.Contains(in.Filter.Sources, c.Source) ||
			len(in.Filter.States) > 0 && !slices.Contains(in.Filter.States, c.State)
	})
	from, size := 0, in.PageSize
	if in.PageToken != "" {
		if from, err = strconv.Atoi(in.PageToken); err != nil || from < 0 {
			return nil, wherry.Errorf(wherry.CodeInvalidParameter, "page_token is not one of ours")
		}
	}
	if size <= 0 || size > 100 {
		size = 100
	}
	from = min(from, len(all))
	to := min(from+size, len(all))
	out := &listOut{}
	for _, c := range all[from:to] {
		v, err := a.view(c)
		if err != nil {
			return nil, err
		}
		out.Clusters = append(out.Clusters, v)
	}
	if to < len(all) {
		out.Next = strconv.Itoa(to)
	}
	if from > 0 {
		out.Previous = strconv.Itoa(max(0, from-size))
	}
	return out, nil
}

func (a *API) start(ctx context.Context, in *clusterID) (*api.Empty, error) {
	return &api.Empty{}, a.manager.StartCluster(ctx, workspace(ctx), in.ID)
}

func (a *API) restart(ctx context.Context, in *clusterID) (*api.Empty, error) {
	return &api.Empty{}, a.manager.RestartCluster(ctx, workspace(ctx), in.ID)
}

func (a *API) edit(ctx context.Context, in *document) (*api.Empty, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	return &api.Empty{}, a.manager.EditCluster(ctx, workspace(ctx), in.ID, in.Raw)
}

func (a *API) pin(pinned bool) func(context.Context, *clusterID) (*api.Empty, error) {
	return func(ctx context.Context, in *clusterID) (*api.Empty, error) {
		return &api.Empty{}, a.manager.PinCluster(ctx, workspace(ctx), in.ID, pinned)
	}
}

func (a *API) terminate(ctx context.Context, in *clusterID) (*api.Empty, error) {
	return &api.Empty{}, a.manager.TerminateCluster(ctx, workspace(ctx), in.ID)
}

func (a *API) remove(ctx context.Context, in *clusterID) (*api.Empty, error) {
	return &api.Empty{}, a.manager.DeleteCluster(ctx, workspace(ctx), in.ID)
}

type eventsIn struct {
	ID     string   `json:"cluster_id"`
	Order  string   `json:"order"`
	Types  []string `json:"event_types"`
	Offset int64    `json:"offset"`
	Limit  int64    `json:"limit"`
}

type eventsOut struct {
	Events []wherry.ClusterEvent `json:"events"`
	Next   *eventsIn             `json:"next_page,omitempty"`
	Total  int64                 `json:"total_count"`
}

func (a *API) events(ctx context.Context, in *eventsIn) (*eventsOut, error) {
	if in.Order != "" && in.Order != "DESC" || len(in.Types) > 0 {
		return nil, wherry.NotImplemented("clusters/events with an ascending order or event_types")
	}
	if _, err := a.store.Cluster(ctx, workspace(ctx), in.ID); err != nil {
		return nil, err
	}
	if in.Limit <= 0 || in.Limit > 500 {
		in.Limit = 50
	}
	events, total, err := a.store.Events(ctx, in.ID, in.Offset, in.Limit)
	if err != nil {
		return nil, err
	}
	out := &eventsOut{Events: events, Total: total}
	if in.Offset+int64(len(events)) < total {
		out.Next = &eventsIn{ID: in.ID, Offset: in.Offset + in.Limit, Limit: in.Limit}
	}
	return out, nil
}

func workspace(ctx context.Context) int64 { return wherry.IdentityFrom(ctx).WorkspaceID }

// view is the settings as received, with what the cluster is beside them.
func (a *API) view(c wherry.Cluster) (map[string]any, error) {
	var v map[string]any
	if err := json.Unmarshal(c.Spec, &v); err != nil {
		return nil, err
	}
	delete(v, "libraries")
	spec := map[string]any{}
	for k, x := range v {
		spec[k] = x
	}
	v["spec"] = spec
	v["cluster_id"], v["cluster_name"], v["cluster_source"], v["creator_user_name"] = c.ID, c.Name, c.Source, c.Owner.UserName
	v["state"], v["state_message"], v["start_time"], v["last_restarted_time"] = c.State, c.Message, c.CreatedAt, c.StartedAt
	v["last_activity_time"] = c.LastActivityAt
	if _, ok := v["autotermination_minutes"]; !ok {
		v["autotermination_minutes"] = 0
	}
	if v["autoscale"] == nil && v["num_workers"] == nil {
		v["num_workers"] = 0
	}
	if v["driver_node_type_id"] == nil && v["node_type_id"] != nil {
		v["driver_node_type_id"] = v["node_type_id"]
	}
	if c.TerminatedAt > 0 {
		v["terminated_time"] = c.TerminatedAt
	}
	if c.State == wherry.ClusterTerminated {
		v["termination_reason"] = map[string]any{"code": c.ReasonCode, "type": c.ReasonType}
	}
	cores, memory := a.manager.Size(c)
	v["cluster_cores"], v["cluster_memory_mb"] = cores, memory
	v["default_tags"] = map[string]string{"Vendor": "wherry", "Creator": c.Owner.UserName, "ClusterName": c.Name, "ClusterId": c.ID}
	return v, nil
}

type nodeTypesOut struct {
	NodeTypes []map[string]any `json:"node_types"`
}

func (a *API) nodeTypes(context.Context, *api.Empty) (*nodeTypesOut, error) {
	out := &nodeTypesOut{}
	for _, id := range cluster.NodeTypes() {
		cores, memory := cluster.NodeType(id)
		out.NodeTypes = append(out.NodeTypes, map[string]any{
			"node_type_id": id, "instance_type_id": id, "description": id, "num_cores": cores, "memory_mb": memory, "category": "General Purpose",
			"is_deprecated": false, "is_hidden": false, "support_port_forwarding": false, "num_gpus": 0, "is_io_cache_enabled": false,
			"node_instance_type": map[string]any{"instance_type_id": id, "local_disks": 1, "local_disk_size_gb": 100},
		})
	}
	return out, nil
}

type sparkVersionsOut struct {
	Versions []sparkVersion `json:"versions"`
}

type sparkVersion struct {
	Key  string `json:"key"`
	Name string `json:"name"`
}

// sparkVersions are the runtimes that projects name; all of them run on the
// one environment that set-up makes, and each run says so.
func (a *API) sparkVersions(context.Context, *api.Empty) (*sparkVersionsOut, error) {
	out := &sparkVersionsOut{}
	for _, release := range []struct{ version, lts, scala, spark string }{
		{"17.3", " LTS", "2.13", "4.0.0"},
		{"16.4", " LTS", "2.13", "3.5.2"},
		{"16.4", " LTS", "2.12", "3.5.2"},
		{"15.4", " LTS", "2.12", "3.5.0"},
		{"14.3", " LTS", "2.12", "3.5.0"},
		{"13.3", " LTS", "2.12", "3.4.1"},
	} {
		for _, ml := range []string{"", "cpu-ml-"} {
			name := release.version + release.lts
			if ml != "" {
				name += " ML"
			}
			out.Versions = append(out.Versions, sparkVersion{
				Key:  release.version + ".x-" + ml + "scala" + release.scala,
				Name: name + " (includes Apache Spark " + release.spark + ", Scala " + release.scala + ")",
			})
		}
	}
	slices.SortStableFunc(out.Versions, func(x, y sparkVersion) int { return strings.Compare(y.Key, x.Key) })
	return out, nil
}

type librariesIn struct {
	ID        string            `json:"cluster_id"`
	Libraries []json.RawMessage `json:"libraries"`
}

func (a *API) install(ctx context.Context, in *librariesIn) (*api.Empty, error) {
	return &api.Empty{}, a.manager.InstallLibraries(ctx, workspace(ctx), in.ID, in.Libraries, false)
}

func (a *API) uninstall(ctx context.Context, in *librariesIn) (*api.Empty, error) {
	return &api.Empty{}, a.manager.InstallLibraries(ctx, workspace(ctx), in.ID, in.Libraries, true)
}

type libraryStatusOut struct {
	ID       string          `json:"cluster_id"`
	Statuses []libraryStatus `json:"library_statuses"`
}

type libraryStatus struct {
	Library json.RawMessage `json:"library"`
	Status  string          `json:"status"`
	All     bool            `json:"is_library_for_all_clusters"`
}

func (a *API) libraryStatus(ctx context.Context, in *clusterID) (*libraryStatusOut, error) {
	list, err := a.manager.Libraries(ctx, workspace(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	out := &libraryStatusOut{ID: in.ID, Statuses: []libraryStatus{}}
	for _, l := range list {
		out.Statuses = append(out.Statuses, libraryStatus{Library: l, Status: "INSTALLED"})
	}
	return out, nil
}
