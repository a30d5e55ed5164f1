// Package notify serves notification destinations, as the workspace API has
// them, and the history of what was sent.
package notify

import (
	"context"
	"crypto/rand"
	"net/mail"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/store/notify"
	"github.com/wherry-ml/wherry/store/workspace"
)

// API serves the routes.
type API struct {
	store *notify.Store
	key   *workspace.Key
}

// New returns the API; key seals destinations.
func New(s *notify.Store, key *workspace.Key) *API { return &API{s, key} }

// Routes is the API's part of the route table.
func (a *API) Routes() []api.Route {
	const (
		destinations = "/api/2.0/notification-destinations"
		history      = "/api/wherry/notifications"
	)
	return []api.Route{
		{Method: "POST", Path: destinations, Permission: api.Admin, Handler: api.JSON(a.create), Summary: "Make a notification destination"},
		{Method: "GET", Path: destinations, Permission: api.Read, Handler: api.JSON(a.list), Summary: "List notification destinations"},
		{Method: "GET", Path: destinations + "/{id}", Permission: api.Read, Handler: api.JSON(a.get), Summary: "A notification destination, without its secrets"},
		{Method: "PATCH", Path: destinations + "/{id}", Permission: api.Admin, Handler: api.JSON(a.update), Summary: "Change a notification destination"},
		{Method: "DELETE", Path: destinations + "/{id}", Permission: api.Admin, Handler: api.JSON(a.remove), Summary: "Delete a notification destination"},
		{Method: "GET", Path: history, Permission: api.Read, Handler: api.JSON(a.history), Summary: "What was told to whom, or is about to be"},
		{Method: "GET", Path: history + "/{id}", Permission: api.Read, Handler: api.JSON(a.one), Summary: "A notification"},
		{Method: "POST", Path: history + "/{id}/retry", Permission: api.Admin, Handler: api.JSON(a.retry), Summary: "Send a notification that was given up"},
		{Method: "POST", Path: history + "/test", Permission: api.Admin, Handler: api.JSON(a.test), Summary: "Send a test to a destination or an e-mail address"},
	}
}

type historyIn struct {
	State  string       `json:"state"`
	RunID  wherry.Int64 `json:"run_id"`
	Before wherry.Int64 `json:"before"` // the id that the last page ended with
	Limit  int          `json:"limit"`
}

// History is a page of notifications, the newest first.
type History struct {
	Notifications []notify.Notification `json:"notifications"`
}

// maxHistory bounds a page.
const maxHistory = 1000

func (a *API) history(ctx context.Context, in *historyIn) (*History, error) {
	switch in.State {
	case "", notify.Pending, notify.Sent, notify.Failed, notify.Undeliverable:
	default:
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "state is pending, sent, failed or undeliverable, not %q", in.State)
	}
	if in.Limit < 0 || in.Limit > maxHistory {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "limit is between 1 and %d", maxHistory)
	}
	list, err := a.store.List(ctx, wherry.IdentityFrom(ctx).WorkspaceID, notify.Filter{State: in.State, RunID: int64(in.RunID), Before: int64(in.Before), Limit: in.Limit})
	if list == nil {
		list = []notify.Notification{}
	}
	return &History{list}, err
}

type oneIn struct {
	ID wherry.Int64 `json:"id"`
}

func (a *API) one(ctx context.Context, in *oneIn) (*notify.Notification, error) {
	n, err := a.store.Get(ctx, wherry.IdentityFrom(ctx).WorkspaceID, int64(in.ID))
	return &n, err
}

func (a *API) retry(ctx context.Context, in *oneIn) (*notify.Notification, error) {
	n, err := a.store.Retry(ctx, wherry.IdentityFrom(ctx).WorkspaceID, int64(in.ID))
	return &n, err
}

type testIn struct {
	// Destination is an id, a name, or an e-mail address.
	Destination string `json:"destination"`
}

// test enqueues a notice: what becomes of it is told by its state, a moment
// later.
func (a *API) test(ctx context.Context, in *testIn) (*History, error) {
	id := wherry.IdentityFrom(ctx)
	n := notify.Notice{
		WorkspaceID: id.WorkspaceID, DedupKey: "wherry.test/" + strings.ToLower(rand.Text()), Kind: "wherry.test",
		Subject: "[wherry] This is a test", Text: id.UserName + " sends this to see whether notifications arrive here. They do.", Link: "/",
	}
	to, err := a.store.Named(ctx, id.WorkspaceID, in.Destination)
	switch {
	case err == nil:
		n.Destinations = []string{to.ID}
	case wherry.CodeOf(err) != wherry.CodeDoesNotExist:
		return nil, err
	default:
		if _, perr := mail.ParseAddress(in.Destination); perr != nil {
			return nil, err
		}
		n.Emails = []string{in.Destination}
	}
	list, err := a.store.Send(ctx, n)
	return &History{list}, err
}
