package deployments

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/store"
)

// caller calls the server's own APIs as the one who deploys.
type caller struct {
	wherry.Identity
	handler http.Handler
	header  http.Header // what signs the calls in
	host    string
	// deployment is whose deploy the calls are part of: its own changes are no
	// drift.
	deployment string
}

func (s *Service) caller(r *http.Request) *caller {
	c := &caller{Identity: wherry.IdentityFrom(r.Context()), handler: s.handler, header: http.Header{}, host: r.Host}
	for _, name := range []string{"Authorization", "Cookie", "X-Databricks-Workspace-Id", wherry.WorkspaceHeader} {
		if v := r.Header.Get(name); v != "" {
			c.header.Set(name, v)
		}
	}
	return c
}

// callerAt acts for who is calling in a workspace, which need not be the one
// that the call came to. End it with the function returned.
func (s *Service) callerAt(r *http.Request, ws int64, purpose string) (c *caller, end func(), err error) {
	who := wherry.IdentityFrom(r.Context())
	if who.WorkspaceID == ws {
		return s.caller(r), func() {}, nil
	}
	return s.callerNamed(r.Context(), ws, who.UserName, purpose)
}

// callerNamed acts for a principal who is not calling now; purpose is the
// comment of the token that it has. End it with the function returned.
func (s *Service) callerNamed(ctx context.Context, ws int64, userName, purpose string) (c *caller, end func(), err error) {
	return s.borrow(ctx, ws, purpose, func(tx *store.Tx) (wherry.Principal, error) {
		return active(tx, userName)
	})
}

// callerFor does the server's own work on what a principal deployed: to take
// back what was left half done, say. It acts as that principal, and as the
// installation's admin once they were removed or may not sign in.
func (s *Service) callerFor(ctx context.Context, ws int64, userName, purpose string) (c *caller, end func(), err error) {
	return s.borrow(ctx, ws, purpose, func(tx *store.Tx) (wherry.Principal, error) {
		p, err := active(tx, userName)
		if wherry.CodeOf(err) == wherry.CodeDoesNotExist {
			return auth.Admin(tx)
		}
		return p, err
	})
}

// active is the principal with a user name, or a client id, if it may sign in.
func active(tx *store.Tx, name string) (wherry.Principal, error) {
	p, err := auth.PrincipalByName(tx, name)
	if wherry.CodeOf(err) == wherry.CodeDoesNotExist {
		p, err = auth.PrincipalByClient(tx, name)
	}
	if err == nil && !p.Active {
		err = wherry.Errorf(wherry.CodeDoesNotExist, "%s is not active", name)
	}
	return p, err
}

func (s *Service) borrow(ctx context.Context, ws int64, purpose string, who func(*store.Tx) (wherry.Principal, error)) (c *caller, end func(), err error) {
	var id, token string
	var p wherry.Principal
	err = s.db.Write(ctx, func(tx *store.Tx) (err error) {
		if p, err = who(tx); err != nil {
			return err
		}
		id, token, err = auth.IssueToken(tx, ws, p.ID, 0, purpose, 10*time.Minute)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	c = &caller{Identity: wherry.Identity{Principal: p, WorkspaceID: ws}, handler: s.handler, header: http.Header{"Authorization": {"Bearer " + token}}, host: "127.0.0.1"}
	return c, func() {
		_ = s.db.Write(context.WithoutCancel(ctx), func(tx *store.Tx) error { // it expires by itself
			_, err := tx.Exec(`DELETE FROM token WHERE id = $1`, id)
			return err
		})
	}, nil
}

// call makes one call. in is sent as JSON unless nil, the answer is read into
// out unless nil. An error answer is a *wherry.Error with its code.
func (c *caller) call(ctx context.Context, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = b
	}
	r, err := http.NewRequestWithContext(wherry.WithIdentity(ctx, wherry.Identity{Deployment: c.deployment}), method, "http://"+c.host+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header = c.header.Clone()
	r.RemoteAddr = "127.0.0.1:0"
	r.RequestURI = r.URL.RequestURI()
	answer := &answer{header: http.Header{}}
	c.handler.ServeHTTP(answer, r)
	if answer.status >= 400 {
		e := &wherry.Error{}
		if json.Unmarshal(answer.body.Bytes(), e) != nil || e.Code == "" {
			e = wherry.Errorf(wherry.CodeInternal, "%s %s answered %d", method, path, answer.status)
		}
		return e
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer.body.Bytes(), out); err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	return nil
}

type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

func (a *answer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(b)
}

// missing tells whether an API said that something does not exist.
func missing(err error) bool {
	switch wherry.CodeOf(err) {
	case wherry.CodeDoesNotExist, wherry.CodeNotFound, wherry.CodeCatalogNotFound, wherry.CodeSchemaNotFound, wherry.CodeTableNotFound:
		return true
	}
	return false
}
