package api_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
)

// nobody signs nobody in.
type nobody struct{}

func (nobody) Authenticate(*http.Request) (wherry.Identity, error) { return wherry.Identity{}, nil }

// TestIncompleteRoute: a route that does not say who may call it does not come
// into the table, so no server starts with it.
func TestIncompleteRoute(t *testing.T) {
	handler := api.JSON(func(context.Context, *api.Empty) (*api.Empty, error) { return &api.Empty{}, nil })
	for name, c := range map[string]struct {
		route api.Route
		fits  bool
	}{
		"whole":              {api.Route{Method: "GET", Path: "/a", Permission: api.Read, Handler: handler}, true},
		"no permission":      {api.Route{Method: "GET", Path: "/a", Handler: handler}, false},
		"unknown permission": {api.Route{Method: "GET", Path: "/a", Permission: "everyone", Handler: handler}, false},
		"no handler":         {api.Route{Method: "GET", Path: "/a", Permission: api.Read}, false},
		"no path":            {api.Route{Method: "GET", Permission: api.Read, Handler: handler}, false},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if panicked := recover() != nil; panicked == c.fits {
					t.Errorf("panicked: %v", panicked)
				}
			}()
			api.NewMux(nobody{}, c.route)
		})
	}
}
