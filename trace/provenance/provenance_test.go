package provenance_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wherry-ml/wherry"
	graph "github.com/wherry-ml/wherry/store/trace"
	"github.com/wherry-ml/wherry/trace"
	"github.com/wherry-ml/wherry/trace/provenance"
)

var digest = strings.Repeat("ab", 32)

func node(kind, key, digest, actor, payload string) *graph.Node {
	return &graph.Node{Ref: graph.Ref{Kind: kind, Key: key}, Digest: digest, Actor: actor, At: time.Unix(1700000000, 0), Payload: json.RawMessage(payload)}
}

// delivered is what a deployment came of.
func delivered() *trace.Graph {
	return &trace.Graph{Nodes: []*graph.Node{
		node(graph.Deployment, "d/4", "sha256:"+digest, "robot", `{"bundle": "shop", "target": "prod", "version": 4}`),
		node(graph.Commit, "c0ffee", "", "Ada", `{"author": "Ada", "message": "m", "branch": "main", "origin_url": "https://git.example.com/shop"}`),
		node(graph.WorkflowRun, "18/1", "", "ada", `{"workflow": "cd", "event": "push"}`),
		node(graph.Approval, "18/1/prod", "", "bob", `{"environment": "prod", "decision": "approved"}`),
		node(graph.TestResults, "17/1/test", "", "", `{"suites": [{"tests": 3}]}`),
	}}
}

func seal(t *testing.T, dir string) (file, public []byte) {
	t.Helper()
	key, err := provenance.OpenKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := provenance.Of(delivered(), "builder")
	if err != nil {
		t.Fatal(err)
	}
	if file, err = key.Seal(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if public, err = os.ReadFile(filepath.Join(dir, provenance.PublicFile)); err != nil {
		t.Fatal(err)
	}
	return file, public
}

func TestStatement(t *testing.T) {
	dir := t.TempDir()
	file, public := seal(t, dir)
	if again, _ := seal(t, dir); !bytes.Equal(file, again) {
		t.Error("the key is another the second time")
	}
	s, err := provenance.Verify(t.Context(), file, public)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"_type":"https://in-toto.io/Statement/v1"`, `"predicateType":"https://slsa.dev/provenance/v1"`, `"name":"deployment/d/4","digest":{"sha256":"` + digest + `"}`,
		`"gitCommit":"c0ffee"`, `"uri":"git+https://git.example.com/shop@refs/heads/main"`, `"invocationId":"workflow_run/18/1"`, `"decision":"approved"`, `"actor":"bob"`,
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %s in %s", want, b)
		}
	}
}

// TestAbout: a statement that verifies is told from one of something else.
func TestAbout(t *testing.T) {
	file, public := seal(t, t.TempDir())
	s, err := provenance.Verify(t.Context(), file, public)
	if err != nil {
		t.Fatal(err)
	}
	for _, of := range []struct {
		name, digest string
		is           bool
	}{
		{"", "", true},
		{"deployment/d/4", "", true},
		{"d/4", digest, true},
		{"", strings.ToUpper(digest), true},
		{"deployment/d/5", "", false},
		{"d", "", false},
		{"/d/4", "", false},
		{"d/4", strings.Repeat("0", 64), false},
		{"d/5", digest, false},
		{"", digest[:63], false},
	} {
		if err := s.About(of.name, of.digest); (err == nil) != of.is || err != nil && !strings.Contains(err.Error(), "is of deployment/d/4 (sha256:"+digest) {
			t.Errorf("%q %q: %v", of.name, of.digest, err)
		}
	}
}

// TestEveryChangeIsTold changes each byte of the file in turn, and more.
func TestEveryChangeIsTold(t *testing.T) {
	file, public := seal(t, t.TempDir())
	for i := range file {
		for _, flip := range []byte{1, 2, 0x20, 0x80} {
			changed := bytes.Clone(file)
			changed[i] ^= flip
			if _, err := provenance.Verify(t.Context(), changed, public); wherry.CodeOf(err) != wherry.CodeInvalidParameter {
				t.Fatalf("byte %d from %q to %q: %v", i, file[i], changed[i], err)
			}
		}
	}
	for name, changed := range map[string][]byte{
		"a space": append([]byte(" "), file...), "a line": append(bytes.Clone(file), '\n'), "a field": bytes.Replace(file, []byte("{"), []byte(`{"a": 1,`), 1), "nothing": nil, "no object": []byte("null"),
	} {
		if _, err := provenance.Verify(t.Context(), changed, public); err == nil {
			t.Errorf("with %s it verifies", name)
		}
	}
	_, other := seal(t, t.TempDir())
	for _, key := range [][]byte{other, []byte("no key"), file} {
		if _, err := provenance.Verify(t.Context(), file, key); err == nil {
			t.Errorf("it verifies with the key %.30q", key)
		}
	}
}

func TestNoStatement(t *testing.T) {
	for name, g := range map[string]*trace.Graph{
		"nothing": {}, "a cut graph": {Nodes: delivered().Nodes, Truncated: true}, "a commit": {Nodes: delivered().Nodes[1:]},
		"no digest": {Nodes: []*graph.Node{node(graph.ModelVersion, "m/1", "", "", `{}`)}},
	} {
		if s, err := provenance.Of(g, "b"); err == nil {
			t.Errorf("%s: %+v", name, s)
		}
	}
}
