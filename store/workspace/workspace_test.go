package workspace_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/storetest"
	"github.com/wherry-ml/wherry/store/workspace"
)

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for name, content := range map[string]string{
		"Users/e/nb.py":        "# Databricks notebook source\nx",
		"Users/e/bom.py":       "\ufeff# Databricks notebook source\r\nx",
		"Users/e/module.py":    "x = 1\n",
		"Users/e/nearly.py":    "# Databricks notebook sources\n",
		"Users/e/j.ipynb":      `{"metadata":{"language_info":{"name":"python"}}}`,
		"Users/e/sql.ipynb":    `{"metadata":{"application/vnd.databricks.v1+notebook":{"language":"sql"}}}`,
		"Users/e/broken.ipynb": "{",
		"Users/e/q.sql":        "-- Databricks notebook source\n",
		"Users/e/both.py":      "# Databricks notebook source\n",
		"Users/e/both/x.txt":   "",
		"Users/e/.py":          "",
		"Users/e/plain":        "",
	} {
		ok(t, os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755))
		ok(t, os.WriteFile(filepath.Join(root, name), []byte(content), 0o644))
	}
	for _, c := range []struct{ path, kind, language, file string }{
		{"/Users/e/nb", "NOTEBOOK", "PYTHON", "Users/e/nb.py"},
		{"/Workspace/Users/e/nb", "NOTEBOOK", "PYTHON", "Users/e/nb.py"},
		{"/Users/e/nb.py", "NOTEBOOK", "PYTHON", "Users/e/nb.py"},
		{"/Users/e/bom", "NOTEBOOK", "PYTHON", "Users/e/bom.py"},
		{"/Users/e/module.py", "FILE", "", "Users/e/module.py"},
		{"/Users/e/nearly.py", "FILE", "", "Users/e/nearly.py"},
		{"/Users/e/j", "NOTEBOOK", "PYTHON", "Users/e/j.ipynb"},
		{"/Users/e/sql", "NOTEBOOK", "SQL", "Users/e/sql.ipynb"},
		{"/Users/e/broken", "NOTEBOOK", "PYTHON", "Users/e/broken.ipynb"},
		{"/Users/e/q", "NOTEBOOK", "SQL", "Users/e/q.sql"},
		{"/Users/e/both", "NOTEBOOK", "PYTHON", "Users/e/both.py"},
		{"/Users/e/both/", "NOTEBOOK", "PYTHON", "Users/e/both.py"},
		{"/Users/e/.py", "FILE", "", "Users/e/.py"},
		{"/Users/e/plain", "FILE", "", "Users/e/plain"},
		{"/Users/e", "DIRECTORY", "", "Users/e"},
		{"/", "DIRECTORY", "", "."},
		{"/Workspace", "DIRECTORY", "", "."},
	} {
		o, err := workspace.Resolve(root, c.path)
		if err != nil || o.Type != c.kind || o.Language != c.language || o.File != c.file {
			t.Errorf("%s: %+v, %v; want %+v", c.path, o, err, c)
		}
	}
	for path, code := range map[string]string{
		"/Users/e/module": wherry.CodeDoesNotExist, // a module is no notebook
		"/Users/e/none":   wherry.CodeDoesNotExist,
		"Users/e/nb":      wherry.CodeInvalidParameter,
		"/Users/../../x":  wherry.CodeInvalidParameter,
		"/Users/e/nb/x":   wherry.CodeDoesNotExist,
		"/a\x00b":         wherry.CodeInvalidParameter,
		"":                wherry.CodeInvalidParameter,
	} {
		if o, err := workspace.Resolve(root, path); wherry.CodeOf(err) != code {
			t.Errorf("%q: %+v, %v; want %s", path, o, err, code)
		}
	}
}

func TestObjectIDs(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := context.Background(), workspace.New(db)
		a, b := &wherry.Object{File: "Users/ü", ModifiedAt: 5}, &wherry.Object{File: "Users/ü/x.py", ModifiedAt: 6}
		ok(t, s.Identify(ctx, 1, a, b))
		again := &wherry.Object{File: "Users/ü", ModifiedAt: 9}
		ok(t, s.Identify(ctx, 1, again))
		if a.ID == 0 || a.ID == b.ID || again.ID != a.ID || again.CreatedAt != 5 {
			t.Errorf("ids %+v %+v %+v", a, b, again)
		}
		ok(t, s.Renamed(ctx, 1, "Users/ü/x.py", "Users/ü/x.ipynb"))
		if file, err := s.ByID(ctx, 1, b.ID); file != "Users/ü/x.ipynb" || err != nil {
			t.Errorf("renamed to %q %v", file, err)
		}
		other := &wherry.Object{File: "Users/üx"}
		ok(t, s.Identify(ctx, 1, other))
		ok(t, s.Forget(ctx, 1, "Users/ü"))
		if _, err := s.ByID(ctx, 1, b.ID); wherry.CodeOf(err) != wherry.CodeDoesNotExist {
			t.Errorf("forgotten: %v", err)
		}
		if _, err := s.ByID(ctx, 1, other.ID); err != nil {
			t.Errorf("a name that begins alike: %v", err)
		}
		if _, err := s.ByID(ctx, 2, other.ID); wherry.CodeOf(err) != wherry.CodeDoesNotExist {
			t.Errorf("another workspace's: %v", err)
		}
	})
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s, dir := context.Background(), workspace.New(db), t.TempDir()
		key, err := workspace.OpenKey(dir)
		ok(t, err)
		ok(t, s.CreateScope(ctx, 1, "sc", "admin", true))
		if err := s.CreateScope(ctx, 1, "sc", "admin", false); wherry.CodeOf(err) != wherry.CodeAlreadyExists {
			t.Errorf("twice: %v", err)
		}
		ok(t, s.PutSecret(ctx, key, 1, "sc", "k", []byte("one")))
		ok(t, s.PutSecret(ctx, key, 1, "sc", "k", []byte("two")))
		admin, eva := wherry.Principal{Admin: true}, wherry.Principal{UserName: "eva"}
		reopened, err := workspace.OpenKey(dir)
		ok(t, err)
		if v, err := s.GetSecret(ctx, reopened, 1, "sc", "k", admin); !bytes.Equal(v, []byte("two")) || err != nil {
			t.Errorf("got %q %v", v, err)
		}
		if _, err := s.GetSecret(ctx, key, 1, "sc", "k", eva); wherry.CodeOf(err) != wherry.CodePermissionDenied {
			t.Errorf("eva without a grant: %v", err)
		}
		ok(t, s.PutACL(ctx, 1, "sc", "eva", "read"))
		if _, err := s.GetSecret(ctx, key, 1, "sc", "k", eva); err != nil {
			t.Errorf("eva with a grant: %v", err)
		}
		if _, err := s.GetSecret(ctx, key, 2, "sc", "k", admin); wherry.CodeOf(err) != wherry.CodeDoesNotExist {
			t.Errorf("another workspace's: %v", err)
		}
		foreign, err := workspace.OpenKey(t.TempDir())
		ok(t, err)
		if _, err := s.GetSecret(ctx, foreign, 1, "sc", "k", admin); wherry.CodeOf(err) != wherry.CodeInvalidState {
			t.Errorf("with another key: %v", err)
		}
		scopes, err := s.Scopes(ctx, 1)
		if fmt.Sprint(scopes) != "[{sc DATABRICKS true}]" || err != nil {
			t.Errorf("scopes %v %v", scopes, err)
		}
		ok(t, s.DeleteScope(ctx, 1, "sc"))
		ok(t, s.CreateScope(ctx, 1, "sc", "admin", false))
		if list, err := s.Secrets(ctx, 1, "sc", admin); len(list) != 0 || err != nil {
			t.Errorf("a new scope has %v %v", list, err)
		}
	})
}

func TestPermissionsAndSettings(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := context.Background(), workspace.New(db)
		set := func(list ...workspace.Access) []workspace.Access {
			t.Helper()
			out, err := s.ChangePermissions(ctx, 1, "jobs", "7", func([]workspace.Access) ([]workspace.Access, error) { return list, nil })
			ok(t, err)
			return out
		}
		set(workspace.Access{UserName: "eva", Level: "IS_OWNER"}, workspace.Access{GroupName: "g", Level: "CAN_VIEW"}, workspace.Access{ServicePrincipalName: "sp", Level: "CAN_MANAGE"})
		got := set(workspace.Access{UserName: "eva", Level: "CAN_VIEW"})
		if fmt.Sprint(got) != "[{eva   CAN_VIEW}]" {
			t.Errorf("permissions %v", got)
		}
		if v, err := s.Setting(ctx, 1, "x"); v != nil || err != nil {
			t.Errorf("never set: %v %v", v, err)
		}
		ok(t, s.Set(ctx, 1, map[string]string{"x": "1"}))
		ok(t, s.Set(ctx, 1, map[string]string{"x": "2"}))
		if v, err := s.Setting(ctx, 1, "x"); err != nil || v == nil || *v != "2" {
			t.Errorf("set: %v %v", v, err)
		}
	})
}
