package workspace

import (
	"context"
	"testing"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/state"
	"github.com/wherry-ml/wherry/store/catalog"
	"github.com/wherry-ml/wherry/store/storetest"
	"github.com/wherry-ml/wherry/store/workspace"
)

// TestWhoReadsSecrets: code in a run whose principal was granted READ, and
// admins.
func TestWhoReadsSecrets(t *testing.T) {
	t.Parallel()
	db, dir := storetest.SQLite(t), state.Dir(t.TempDir())
	if err := dir.Create(); err != nil {
		t.Fatal(err)
	}
	s := New(workspace.New(db), catalog.New(db), dir)
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	as := func(p wherry.Principal, run int64) context.Context {
		return wherry.WithIdentity(context.Background(), wherry.Identity{Principal: p, WorkspaceID: 1, RunID: run})
	}
	admin := wherry.Principal{ID: 1, UserName: "admin", Admin: true}
	value := "v"
	for _, in := range []*secretInput{{Scope: "open"}, {Scope: "closed"}} {
		if _, err := s.createScope(as(admin, 0), in); err != nil {
			t.Fatal(err)
		}
		if _, err := s.putSecret(as(admin, 0), &secretInput{Scope: in.Scope, Key: "k", StringValue: &value}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.putACL(as(admin, 0), &secretInput{Scope: "open", Principal: "app-id", Permission: "READ"}); err != nil {
		t.Fatal(err)
	}
	sp := wherry.Principal{ID: 2, Kind: wherry.KindServicePrincipal, UserName: "loader", ApplicationID: "app-id"}
	other := wherry.Principal{ID: 3, UserName: "eva"} // without an application id
	for _, c := range []struct {
		who   wherry.Principal
		run   int64
		scope string
		code  string
	}{
		{admin, 0, "closed", ""},
		{admin, 7, "closed", ""},
		{sp, 7, "open", ""},
		{sp, 0, "open", wherry.CodePermissionDenied},
		{sp, 7, "closed", wherry.CodePermissionDenied},
		{other, 7, "open", wherry.CodePermissionDenied},
		{other, 7, "none", wherry.CodeDoesNotExist},
	} {
		out, err := s.getSecret(as(c.who, c.run), &secretInput{Scope: c.scope, Key: "k"})
		if wherry.CodeOf(err) != c.code || err == nil && out.Value != "dg==" {
			t.Errorf("%s in run %d reads %s: %+v, %v; want %q", c.who.UserName, c.run, c.scope, out, err, c.code)
		}
	}
}
