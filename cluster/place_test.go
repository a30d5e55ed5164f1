//go:build linux

package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/cluster"
)

// TestLinkOut: what a task's settings name is not read through a link that
// leads out of the workspace, whatever it names; a link within is followed.
func TestLinkOut(t *testing.T) {
	var asked []string
	s := newSite(t, func(c *cluster.Config) {
		c.Overlay = func(_ context.Context, requirements, wheels []string) (string, error) {
			asked = append(asked, requirements...)
			for _, w := range wheels {
				b, err := os.ReadFile(w)
				if err != nil {
					return "", err
				}
				asked = append(asked, filepath.Base(w)+" "+string(b))
			}
			return "", nil
		}
	})
	dir, secret := s.dir.Workspace(1), "dapi0123456789"
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, "dist"), 0o700), os.WriteFile(s.dir.Path("admin-token"), []byte(secret), 0o600)); err != nil {
		t.Fatal(err)
	}
	out := s.dir.Path("admin-token")
	for name, to := range map[string]string{
		"x.py": out, "up.py": "../../admin-token", "state": string(s.dir), "list.txt": out, "dist/x-1-py3-none-any.whl": out, "near.txt": "./dist/real.txt",
	} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "dist", "real.txt"), []byte("# one\nfound-it\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	library := func(kind, file string) string {
		return fmt.Sprintf(`[{%q: %q}]`, kind, "/Workspace/"+file)
	}
	for _, c := range []struct{ task, libraries, code string }{
		{`{"notebook_task": {"notebook_path": "/x"}}`, "", wherry.TermNotFound},
		{`{"notebook_task": {"notebook_path": "/Workspace/up.py"}}`, "", wherry.TermNotFound},
		{`{"notebook_task": {"notebook_path": "/state/admin-token"}}`, "", wherry.TermNotFound},
		{`{"spark_python_task": {"python_file": "/x.py"}}`, "", wherry.TermNotFound},
		{"", library("requirements", "list.txt"), wherry.TermLibrary},
		{"", library("requirements", "state/admin-token"), wherry.TermLibrary},
		{"", library("whl", "dist/*.whl"), wherry.TermLibrary},
		{"", library("requirements", "near.txt"), "SUCCESS"},
	} {
		a := s.script("ok.py", "pass")
		if c.task != "" {
			a.Task = json.RawMessage(c.task)
		}
		a.Libraries = json.RawMessage(c.libraries)
		if r := s.run(a); r.Code != c.code || strings.Contains(r.Message+r.Trace, secret) {
			t.Errorf("%s %s: %+v", c.task, c.libraries, r)
		}
	}
	if got := strings.Join(asked, "\n"); got != "found-it" {
		t.Errorf("libraries asked for: %q", got)
	}
}

// TestRequirementsOfThemselves: requirements files that include one another are
// read once each, and not without bound.
func TestRequirementsOfThemselves(t *testing.T) {
	var asked []string
	s := newSite(t, func(c *cluster.Config) {
		c.Overlay = func(_ context.Context, requirements, _ []string) (string, error) {
			asked = requirements
			return "", nil
		}
	})
	a := s.script("ok.py", "pass")
	dir := s.dir.Workspace(1)
	a.Libraries = json.RawMessage(`[{"requirements": "/Workspace/a.txt"}]`)
	err := errors.Join(
		os.WriteFile(filepath.Join(dir, "a.txt"), []byte("one\n-r a.txt\n-r b.txt\n"), 0o600),
		os.WriteFile(filepath.Join(dir, "b.txt"), []byte("-r a.txt\ntwo\n"), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	if r := s.run(a); r.State != wherry.ResultSuccess || strings.Join(asked, " ") != "one two" {
		t.Errorf("%q, %+v", asked, r)
	}
	for i := range 100 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.txt", i)), fmt.Appendf(nil, "-r %d.txt\n", i+1), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a = s.script("ok.py", "pass")
	a.Libraries = json.RawMessage(`[{"requirements": "/Workspace/0.txt"}]`)
	if r := s.run(a); r.Code != wherry.TermLibrary || !strings.Contains(r.Message, "include one another") {
		t.Errorf("a long chain: %+v", r)
	}
}
