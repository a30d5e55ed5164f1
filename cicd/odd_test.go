package cicd_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry/workflow"
)

const odd = `name: odd
on: push
jobs:
  a:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - run: test -z "$(git status --porcelain)" && echo "all is there, $(git ls-files -z | tr -cd '\0' | wc -c) files"
      - {uses: actions/upload-artifact@v4, with: {name: all, path: .}}
      - {uses: actions/cache/save@v4, with: {key: all, path: odd}}
  b:
    needs: a
    runs-on: ubuntu-latest
    steps:
      - {uses: actions/download-artifact@v4, with: {name: all, path: got}}
      - {uses: actions/cache/restore@v4, with: {key: all}}
      - run: |
          echo "links: $(readlink got/odd/out) $(readlink got/odd/up) $(readlink odd/out)"
          echo "case: $(cat got/odd/Name got/odd/name)"
          echo "long: $(find got -name end.txt -exec cat {} +)"
  c:
    runs-on: ubuntu-latest
    steps:
      - {uses: actions/checkout@v4, with: {submodules: recursive}}
`

// TestOddRepository: names that no one would choose, links out of the tree and a
// submodule go from a push through checkout, artifact and cache as what they
// are; submodules are refused with the reason where they are asked for.
func TestOddRepository(t *testing.T) {
	s := newSite(t, nil)
	dir := s.repo("app", "")
	long := strings.Repeat(strings.Repeat("d", 200)+"/", 15)
	for name, text := range map[string]string{
		"odd/new\nline": "x", "odd/\xff\xfe": "x", "odd/Name": "upper", "odd/name": "lower", "odd/ a 'b' \"c\" $(touch pwned) *;": "x", "odd/" + long + "end.txt": "the end",
		".github/workflows/new\nline.yml": job("broken", "push", "true"),
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{"odd/out": "/etc/passwd", "odd/up": "../../../..", ".github/workflows/link.yml": "/etc/passwd"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	s.git(dir, "update-index", "--add", "--cacheinfo", "160000,"+strings.Repeat("1", 40)+",module")
	s.push(dir, "odd.yml", odd, ".gitmodules", "[submodule \"module\"]\n\tpath = module\n\turl = ../other\n")
	r := s.ended(s.begun("app", "odd", "push").ID, workflow.Failure)
	s.says(r.ID, "a", "all is there, ", "Artifact all has been uploaded", "Cache saved")
	s.says(r.ID, "b", "links: /etc/passwd ../../../.. /etc/passwd\n", "case: upperlower\n", "long: the end\n")
	s.says(r.ID, "c", "submodules: recursive is not supported")
	for _, j := range r.Jobs {
		if want := map[bool]string{true: workflow.Failure, false: workflow.Success}[j.Key == "c"]; j.Conclusion != want {
			t.Errorf("%s: %s %s\n%s", j.Key, j.Conclusion, j.Message, s.log(r.ID, j.Key))
		}
	}
	for _, other := range s.runs("app") {
		if strings.Contains(other.Path, "link.yml") || strings.Contains(other.Message, "root:") {
			t.Errorf("a link was followed: %+v", other)
		}
	}
}
