package deployments_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry/bundle"
	"github.com/wherry-ml/wherry/bundle/deployment"
)

// TestLinksInTheWay: a task replaced a folder of a deployment by a link that
// leads out of the workspace. Neither deploy nor destroy follows it.
func TestLinksInTheWay(t *testing.T) {
	for _, at := range []string{".bundle", ".bundle/x", ".bundle/x/default", ".bundle/x/default/files", ".bundle/x/default/state"} {
		t.Run(filepath.Base(at), func(t *testing.T) {
			s, dir, outside := newSite(t), t.TempDir(), t.TempDir()
			write(t, dir, map[string]string{"databricks.yml": first, "a.py": "old"})
			_, err := s.deploy(dir)
			check(t, err)
			home := filepath.Join(s.dir.Workspace(1), "Users", bundle.LocalUser)
			link := filepath.Join(home, at)
			check(t, os.CopyFS(outside, os.DirFS(link)))
			before := listing(t, outside)
			check(t, os.RemoveAll(link))
			check(t, os.Symlink(outside, link))

			write(t, dir, map[string]string{"a.py": "new", "b.py": "b"})
			if _, err := s.deploy(dir); err != nil && (strings.Contains(err.Error(), "internal error") || !strings.Contains(err.Error(), filepath.Base(at))) {
				t.Errorf("the deploy does not say what is in the way: %v", err)
			}
			err = s.client.Do(context.Background(), "POST", "/api/wherry/deployments/destroy", deployment.Destroy{RootPath: "/Workspace/Users/" + bundle.LocalUser + "/.bundle/x/default"}, nil)
			if err != nil && (strings.Contains(err.Error(), "internal error") || !strings.Contains(err.Error(), filepath.Base(at))) {
				t.Errorf("destroy does not say what is in the way: %v", err)
			}
			if after := listing(t, outside); after != before {
				t.Errorf("outside of the state:\n%s\nbefore:\n%s", after, before)
			}
		})
	}
}

// listing names all files below a folder, with their contents.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	check(t, filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(name)
		b.WriteString(strings.TrimPrefix(name, dir) + " " + string(text) + "\n")
		return err
	}))
	return b.String()
}
