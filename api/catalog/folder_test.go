package catalog_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/wherry-ml/wherry"
	api "github.com/wherry-ml/wherry/api/catalog"
	"github.com/wherry-ml/wherry/state"
	"github.com/wherry-ml/wherry/store/catalog"
	"github.com/wherry-ml/wherry/store/storetest"
)

// A server killed between a commit and the move of a folder does the move at
// its next start, once, and makes the folders that are missing.
func TestStartDoesWhatACrashLeft(t *testing.T) {
	t.Parallel()
	ctx, dir := context.Background(), state.Dir(t.TempDir())
	if err := dir.Create(); err != nil {
		t.Fatal(err)
	}
	db := storetest.SQLite(t)
	s := catalog.New(db)
	if err := s.Bootstrap(ctx, "admin"); err != nil {
		t.Fatal(err)
	}
	volume := func(name string) {
		t.Helper()
		must(s.Create(ctx, "workspace.default", wherry.Securable{Kind: wherry.SecurableVolume, Name: name, TableType: wherry.Managed}, "eva"))(t)
	}
	file := func(name string) string { return filepath.Join(dir.Volumes(), "workspace", "default", name) }
	for _, name := range []string{"dropped", "renamed", "kept"} {
		volume(name)
		if err := os.MkdirAll(file(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file(name)+"/x", []byte(name), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	volume("without-folder")
	if err := s.Delete(ctx, wherry.SecurableVolume, "workspace.default.dropped", false); err != nil {
		t.Fatal(err)
	}
	must(s.Update(ctx, wherry.SecurableVolume, "workspace.default.renamed", "eva", func(n *wherry.Securable) error { n.Name = "new"; return nil }))(t)

	for range 2 {
		if err := api.New(s, dir).Start(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(file("dropped")); !os.IsNotExist(err) {
			t.Errorf("dropped: %v", err)
		}
		for name, want := range map[string]string{"new": "renamed", "kept": "kept"} {
			if b, err := os.ReadFile(file(name) + "/x"); string(b) != want {
				t.Errorf("%s holds %q, %v", name, b, err)
			}
		}
		if info, err := os.Stat(file("without-folder")); err != nil || !info.IsDir() {
			t.Errorf("without folder: %v", err)
		}
	}
}

// Run empties the trash and ends with its context.
func TestRunEmptiesTheTrash(t *testing.T) {
	t.Parallel()
	dir := state.Dir(t.TempDir())
	if err := os.MkdirAll(dir.Path("trash", "1-2", "deep"), 0o700); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, end := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- api.New(catalog.New(nil), dir).Run(ctx) }()
		synctest.Wait() // until it waits for more
		if left, err := os.ReadDir(dir.Path("trash")); len(left) != 0 || err != nil {
			t.Errorf("left %v, %v", left, err)
		}
		end()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
