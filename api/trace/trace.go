// Package trace serves the graph from commit to prediction, and takes what
// Spark's lineage listener saw.
package trace

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	graph "github.com/wherry-ml/wherry/store/trace"
	"github.com/wherry-ml/wherry/trace"
	"github.com/wherry-ml/wherry/trace/provenance"
)

// API serves the routes.
type API struct {
	trace *trace.Service
	store *graph.Store
	key   *provenance.Key // signs provenance
}

// New returns the API.
func New(service *trace.Service, store *graph.Store, key *provenance.Key) *API {
	return &API{service, store, key}
}

// Routes is the API's part of the route table.
func (a *API) Routes() []api.Route {
	return []api.Route{
		{Method: "GET", Path: "/api/wherry/trace", Permission: api.Read, Handler: api.JSON(a.walk), Summary: "What a node came of, or what came of it"},
		{Method: "GET", Path: "/api/wherry/trace/origins", Permission: api.Read, Handler: api.JSON(a.origins), Summary: "The commits that wrote a file of a table"},
		{Method: "GET", Path: "/api/wherry/provenance", Permission: api.Read, Handler: api.Raw(a.provenance), Summary: "Signed SLSA provenance of a deployment or a model version"},
		{Method: "GET", Path: "/api/wherry/provenance/key", Permission: api.SignedIn, Handler: api.Raw(a.publicKey), Summary: "The public key of provenance, in PEM"},
		{Method: "POST", Path: "/api/wherry/lineage", Permission: api.Own, Handler: api.JSON(a.lineage), Summary: "What a query of a task read and wrote"},
	}
}

type walkIn struct {
	Kind      string `json:"kind"`
	ID        string `json:"id"`
	Direction string `json:"direction"` // back (default) or forward
}

func (a *API) walk(ctx context.Context, in *walkIn) (*trace.Graph, error) {
	if err := a.trace.Refresh(ctx); err != nil {
		return nil, err
	}
	from, ws := graph.Ref{Kind: in.Kind, Key: in.ID}, graph.Account
	switch in.Direction {
	case "", "back":
		return a.trace.Back(ctx, ws, from)
	case "forward":
		return a.trace.Forward(ctx, ws, from)
	default:
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "direction is back or forward, not %q", in.Direction)
	}
}

type originsIn struct {
	Table string `json:"table"`
	File  string `json:"file"`
}

type originsOut struct {
	Exact   bool           `json:"exact"`
	Origins []trace.Origin `json:"origins"`
}

func (a *API) origins(ctx context.Context, in *originsIn) (*originsOut, error) {
	if err := a.trace.Refresh(ctx); err != nil {
		return nil, err
	}
	origins, exact, err := a.trace.Origins(ctx, in.Table, in.File)
	return &originsOut{Exact: exact, Origins: origins}, err
}

type lineageIn struct {
	Reads []struct {
		Table   string        `json:"table"`
		TableID string        `json:"table_id"`
		Version *wherry.Int64 `json:"version"`
		Path    string        `json:"path"`
	} `json:"reads"`
}

// lineage keeps what is exact: reads of a named version of a table. Writes
// are read from the tables' own logs.
func (a *API) lineage(ctx context.Context, in *lineageIn) (*api.Empty, error) {
	id := wherry.IdentityFrom(ctx)
	if id.RunID == 0 {
		return &api.Empty{}, nil // not in a task: nothing to trace
	}
	for _, r := range in.Reads {
		if r.Version == nil || r.Table == "" && r.TableID == "" {
			continue
		}
		if r.TableID == "" {
			t, err := a.trace.Table(ctx, r.Table)
			if wherry.CodeOf(err) == wherry.CodeDoesNotExist {
				continue
			}
			if err != nil {
				return nil, err
			}
			r.TableID, r.Table = t.ID, t.Name
		}
		payload, err := json.Marshal(map[string]any{"table": r.Table, "table_id": r.TableID, "version": *r.Version})
		if err != nil {
			return nil, err
		}
		err = a.store.Read(ctx, wherry.Event{
			WorkspaceID: id.WorkspaceID, Kind: wherry.EventTableRead, Actor: id.UserName, RunID: id.RunID,
			Subject: fmt.Sprintf("%s@%d", r.TableID, *r.Version), Payload: payload,
		})
		if err != nil {
			return nil, err
		}
	}
	return &api.Empty{}, nil
}
