package cli

import (
	"testing"

	graph "github.com/wherry-ml/wherry/store/trace"
)

// A deployment of a tree with changes says that the commit is not all of it.
func TestDeploymentTitle(t *testing.T) {
	for _, c := range []struct{ payload, want string }{
		{`{"bundle": "b", "target": "dev", "commit": "c1", "dirty_digest": ""}`, "deployment d/1 of b to dev by me"},
		{`{"bundle": "b", "target": "dev", "commit": "c1", "dirty_digest": "sha256:1"}`, "deployment d/1 of b to dev by me with changes that are in no commit"},
		{`{"bundle": "b", "target": "dev", "commit": "", "dirty_digest": "sha256:1"}`, "deployment d/1 of b to dev by me"},
	} {
		n := &graph.Node{Ref: graph.Ref{Kind: graph.Deployment, Key: "d/1"}, Actor: "me", Payload: []byte(c.payload)}
		if got := title(n); got != c.want {
			t.Errorf("%s: %q", c.payload, got)
		}
	}
}
