package cicd_test

import (
	"os"
	"testing"

	"github.com/wherry-ml/wherry/server"
	"github.com/wherry-ml/wherry/workflow"
)

// TestArtifactsOfRepository: the artifacts of a repository have a bound in all,
// to which one that is replaced does not count, nor are its bytes kept.
func TestArtifactsOfRepository(t *testing.T) {
	s := newSite(t, func(c *server.Config) { c.CIRetention.ArtifactBytes = 30000 })
	s.push(s.repo("app", ""), "files.yml", `name: files
on: push
jobs:
  a:
    runs-on: ubuntu-latest
    steps:
      - run: head -c 20000 /dev/urandom > out
      - {uses: actions/upload-artifact@v4, with: {name: out, path: out}}
      - run: head -c 20000 /dev/urandom > out
      - {uses: actions/upload-artifact@v4, with: {name: out, path: out, overwrite: true}}
  b:
    needs: a
    runs-on: ubuntu-latest
    steps:
      - run: head -c 20000 /dev/urandom > out
      - {uses: actions/upload-artifact@v4, with: {name: more, path: out}}
`)
	r := s.ended(s.begun("app", "files", "push").ID, workflow.Failure)
	for _, j := range r.Jobs {
		if want := map[string]string{"a": workflow.Success, "b": workflow.Failure}[j.Key]; j.Conclusion != want {
			t.Errorf("%s: %s, want %s", j.Key, j.Conclusion, want)
		}
	}
	s.says(r.ID, "b", `does not fit: the artifacts of app may have 30000 bytes in all, and have 20`, "--artifact-gb")
	if files, err := os.ReadDir(s.State.Path("ci", "stored")); err != nil || len(files) != 1 {
		t.Errorf("%d files are kept, want one: %v", len(files), err)
	}
}
