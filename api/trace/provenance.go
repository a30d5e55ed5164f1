package trace

import (
	"net/http"
	"strings"

	"github.com/wherry-ml/wherry"
	graph "github.com/wherry-ml/wherry/store/trace"
	"github.com/wherry-ml/wherry/trace/provenance"
)

// provenance seals what a deployment (ID or ID/VERSION) or a model version
// (NAME/VERSION) came of.
func (a *API) provenance(w http.ResponseWriter, r *http.Request) error {
	ctx, id := r.Context(), r.URL.Query().Get("id")
	if id == "" {
		return wherry.Errorf(wherry.CodeInvalidParameter, "id is needed: a deployment's, with or without /VERSION, or NAME/VERSION of a model")
	}
	if err := a.trace.Refresh(ctx); err != nil {
		return err
	}
	from, err := a.subject(r, id)
	if err != nil {
		return err
	}
	g, err := a.trace.Back(ctx, graph.Account, from)
	if err != nil {
		return err
	}
	name, err := a.key.KeyID()
	if err != nil {
		return err
	}
	s, err := provenance.Of(g, "https://github.com/wherry-ml/wherry/installations/"+name)
	if err != nil {
		return err
	}
	b, err := a.key.Seal(ctx, s)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/vnd.dsse.envelope.v1+json")
	_, err = w.Write(b)
	return err
}

// subject finds the node that an id names; of a deployment without a version
// the newest.
func (a *API) subject(r *http.Request, id string) (graph.Ref, error) {
	ctx := r.Context()
	ws := graph.Account
	for _, kind := range []string{graph.Deployment, graph.ModelVersion} {
		if ref := (graph.Ref{Kind: kind, Key: id}); strings.Contains(id, "/") {
			if _, err := a.store.Node(ctx, ws, ref); err == nil {
				return ref, nil
			} else if wherry.CodeOf(err) != wherry.CodeDoesNotExist {
				return ref, err
			}
		}
	}
	newest, ok, err := a.store.Newest(ctx, ws, graph.Deployment, id+"/")
	if err != nil || ok {
		return newest, err
	}
	return graph.Ref{}, wherry.Errorf(wherry.CodeDoesNotExist, "there is no deployment and no model version %s", id)
}

func (a *API) publicKey(w http.ResponseWriter, _ *http.Request) error {
	b, err := a.key.PublicPEM()
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/x-pem-file")
	_, err = w.Write(b)
	return err
}
