package deployments_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/wherry-ml/wherry/bundle"
	"github.com/wherry-ml/wherry/bundle/deploy"
	"github.com/wherry-ml/wherry/bundle/deployment"
)

// TestNamespaces: a target and two namespaces of it share nothing, the folder of
// a namespace survives the destroy of its target, and one call removes all that
// is in a namespace.
func TestNamespaces(t *testing.T) {
	s, dir, ctx := newSite(t), t.TempDir(), context.Background()
	write(t, dir, map[string]string{"databricks.yml": second, "a.py": "a"})
	for _, ns := range []string{"", "pr-1", "pr-12"} {
		b, err := bundle.Load(ctx, bundle.Options{Dir: dir, Namespace: ns})
		check(t, err)
		_, err = deploy.Deploy(ctx, s.client, b, deploy.Options{StandIns: true})
		check(t, err)
	}
	if got := s.jobs(); len(got) != 6 || got["[pr-12] one"] != "new" || !s.schema("lab.pr_1_made") || !s.schema("lab.made") {
		t.Fatalf("deployed: %v", got)
	}
	destroy := func(in deployment.Namespace) *deployment.Destroyed {
		out := &deployment.Destroyed{}
		check(t, s.client.Do(ctx, "POST", "/api/wherry/deployments/destroy-namespace", in, out))
		return out
	}
	if other := destroy(deployment.Namespace{Name: "pr-12", OriginURL: "https://git.example.com/other.git"}); len(other.Reports) != 0 {
		t.Errorf("another repository's: %+v", other)
	}
	b, err := bundle.Load(ctx, bundle.Options{Dir: dir})
	check(t, err)
	_, err = deploy.Destroy(ctx, s.client, b.Workspace.Root, false)
	check(t, err)
	below := func(ns string) bool {
		_, err := os.Stat(filepath.Join(s.dir.Workspace(1), "Users", bundle.LocalUser, ".bundle/x/default", ns, "files/a.py"))
		return err == nil
	}
	if got := s.jobs(); len(got) != 4 || s.schema("lab.made") || below("") || !below("pr-1") || !below("pr-12") {
		t.Errorf("after the destroy of the target: %v", got)
	}
	if gone := destroy(deployment.Namespace{Name: "pr-12", Bundle: "x"}); len(gone.Reports) != 1 {
		t.Errorf("destroyed: %+v", gone)
	}
	if got := s.jobs(); len(got) != 2 || s.schema("lab.pr_12_made") || !s.schema("lab.pr_1_made") || below("pr-12") || !below("pr-1") {
		t.Errorf("after the destroy of pr-12: %v", got)
	}
	if again := destroy(deployment.Namespace{Name: "pr-12"}); len(again.Reports) != 0 {
		t.Errorf("destroyed twice: %+v", again)
	}
}
