package azure_test

import (
	"slices"
	"testing"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/azure"
	"github.com/wherry-ml/wherry/store/storetest"
)

const group = "/subscriptions/00000000-0000-0000-0000-0000000000aa/resourceGroups/RG_1"

func put(t *testing.T, s *azure.Store, id, kind, name string) {
	t.Helper()
	_, _, err := s.Put(t.Context(), id, "ann", func(_ *store.Tx, old *azure.Resource) (azure.Resource, error) {
		return azure.Resource{ID: id, Subscription: "00000000-0000-0000-0000-0000000000aa", Group: "RG_1", Type: kind, Name: name, Document: azure.Document{"n": 1}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestResources: ids are compared without case; a deletion takes what is below,
// and nothing that only looks so.
func TestResources(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := azure.New(db)
		put(t, s, group, "Microsoft.Resources/resourceGroups", "RG_1")
		put(t, s, group+"/providers/A.B/c/d", "A.B/c", "d")
		put(t, s, group[:len(group)-4]+"RGx1", "Microsoft.Resources/resourceGroups", "RGx1")
		put(t, s, group+"/PROVIDERS/A.B/C/D", "A.B/c", "d") // the same
		r, err := s.Get(t.Context(), group+"/providers/a.b/C/D/")
		if err != nil || r.ID != group+"/providers/A.B/c/d" || r.CreatedBy != "ann" || r.Document["n"] != 1.0 {
			t.Fatalf("%+v %v", r, err)
		}
		list, err := s.List(t.Context(), azure.Query{Group: "rg_1", Type: "a.b/C"})
		if err != nil || len(list) != 1 {
			t.Fatalf("%v %v", list, err)
		}
		if _, _, err := s.Assign(t.Context(), azure.Assignment{ID: group + "/providers/A.B/c/d/x", Scope: group + "/providers/A.B/c/d", Role: "r", ObjectID: "o"}, "ann"); err != nil {
			t.Fatal(err)
		}
		var gone []string
		if _, err := s.Delete(t.Context(), group, "ann", func(_ *store.Tx, r azure.Resource) error { gone = append(gone, r.Name); return nil }); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(gone, []string{"d", "RG_1"}) {
			t.Errorf("removed %v", gone)
		}
		if left, err := s.List(t.Context(), azure.Query{}); err != nil || len(left) != 1 || left[0].Name != "RGx1" {
			t.Errorf("left %v %v", left, err)
		}
		if a, err := s.Assignments(t.Context(), "", ""); err != nil || len(a) != 0 {
			t.Errorf("assignments %v %v", a, err)
		}
		_, err = s.Delete(t.Context(), group, "ann", func(*store.Tx, azure.Resource) error { return nil })
		if wherry.CodeOf(err) != wherry.CodeDoesNotExist {
			t.Errorf("a second deletion: %v", err)
		}
		var events int
		if err := db.Read(t.Context(), func(tx *store.Tx) error {
			return tx.Row(`SELECT count(*) FROM event WHERE kind = $1`, wherry.EventAzureResource).Scan(&events)
		}); err != nil || events != 8 { // four puts, a role, three removals
			t.Errorf("%d events, %v", events, err)
		}
	})
}

// TestRoles: a role is had where it was given and below, by oneself and through
// groups in groups.
func TestRoles(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := azure.New(db)
		for i, a := range []azure.Assignment{{Role: "own", Scope: group, ObjectID: "ann"}, {Role: "theirs", Scope: group + "/providers/A.B/c/d", ObjectID: "outer"}, {Role: "all", Scope: "", ObjectID: "bob"}} {
			a.ID = "/" + string(rune('a'+i))
			if _, created, err := s.Assign(t.Context(), a, "x"); err != nil || !created {
				t.Fatal(created, err)
			}
			if _, created, err := s.Assign(t.Context(), a, "x"); err != nil || created {
				t.Fatalf("again: %v %v", created, err)
			}
			a.ID += "2"
			if _, _, err := s.Assign(t.Context(), a, "x"); wherry.CodeOf(err) != wherry.CodeAlreadyExists {
				t.Fatalf("the same under another id: %v", err)
			}
		}
		if err := db.Write(t.Context(), func(tx *store.Tx) error {
			if err := azure.Link(tx, "inner", azure.RelMember, "ann"); err != nil {
				return err
			}
			if err := azure.Link(tx, "outer", azure.RelMember, "inner"); err != nil {
				return err
			}
			return azure.Link(tx, "inner", azure.RelMember, "outer") // in a circle
		}); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			who, scope string
			want       []string
		}{
			{"ann", group, []string{"own"}},
			{"Ann", group + "/providers/a.b/c/D/e/f", []string{"own", "theirs"}},
			{"ann", group + "2", nil},
			{"ann", group[:40], nil},
			{"bob", group, []string{"all"}},
			{"eve", group, nil},
		} {
			got, err := s.Roles(t.Context(), c.who, c.scope)
			slices.Sort(got)
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%s at %s: %v %v, want %v", c.who, c.scope, got, err, c.want)
			}
		}
		if subs, err := s.Subscriptions(t.Context(), "ann"); err != nil || !slices.Equal(subs, []string{"00000000-0000-0000-0000-0000000000aa"}) {
			t.Errorf("subscriptions %v %v", subs, err)
		}
		if at, err := s.Assignments(t.Context(), group, "ann"); err != nil || len(at) != 1 {
			t.Errorf("assignments %v %v", at, err)
		}
		if at, err := s.Assignments(t.Context(), group, ""); err != nil || len(at) != 3 {
			t.Errorf("assignments above and below: %v %v", at, err)
		}
	})
}

// TestVaultAndDirectory: the queries of secrets and directory objects.
func TestVaultAndDirectory(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := azure.New(db)
		for i, version := range []string{"a", "b"} {
			if err := s.AddSecret(t.Context(), azure.VaultSecret{Vault: "kv", Name: "Db", Version: version, Sealed: []byte{0, 1}, Document: azure.Document{"n": i}, CreatedAt: int64(i + 1)}); err != nil {
				t.Fatal(err)
			}
		}
		list, err := s.Secrets(t.Context(), "kv", "db", false)
		if err != nil || len(list) != 2 || list[0].Version != "b" || string(list[0].Sealed) != "\x00\x01" {
			t.Fatalf("%v %v", list, err)
		}
		if err := s.DeleteSecret(t.Context(), "kv", "DB", false); err != nil {
			t.Fatal(err)
		}
		if err := s.AddSecret(t.Context(), azure.VaultSecret{Vault: "kv", Name: "db", Version: "c", Sealed: []byte{1}}); wherry.CodeOf(err) != wherry.CodeConflict {
			t.Errorf("a deleted name: %v", err)
		}
		err = db.Write(t.Context(), func(tx *store.Tx) error {
			if err := azure.PurgeSecrets(tx, "kv", "db"); err != nil {
				return err
			}
			o := azure.Object{ID: auth.NewGUID(), Kind: azure.KindGroup, Document: azure.Document{"displayName": "g"}}
			if err := azure.PutObject(tx, o, "ann"); err != nil {
				return err
			}
			if err := azure.GrantRole(tx, azure.AppRole{ID: "1", ObjectID: o.ID, ResourceID: "r", Role: "x"}); err != nil {
				return err
			}
			if got, err := azure.FindObject(tx, o.ID); err != nil || got.Document["displayName"] != "g" || got.CreatedAt == 0 {
				t.Errorf("%+v %v", got, err)
			}
			if err := azure.DropObject(tx, o, "ann"); err != nil {
				return err
			}
			roles, err := azure.AppRoles(tx, o.ID)
			if len(roles) != 0 {
				t.Errorf("roles of nobody: %v", roles)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}
