package cicd_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry/server/servertest"
	"github.com/wherry-ml/wherry/workflow"
)

// mistakes are workflows that a server must survive, by name, with how each ends
// and words of why.
var mistakes = map[string]struct{ text, conclusion, words string }{
	"text-matrix":    {matrixOf(`{os: "${{ github.ref }}"}`), workflow.Failure, "strategy.matrix"},
	"value-matrix":   {matrixOf(`{os: "${{ fromJSON('\"x\"') }}"}`), workflow.Failure, "strategy.matrix"},
	"number-include": {matrixOf(`{include: "${{ fromJSON('3') }}"}`), workflow.Failure, "strategy.matrix"},
	"no-number":      {matrixOf(`{a: [.nan]}`), workflow.Failure, "strategy.matrix"},
	"number-key":     {matrixOf(`{a: [{1: 2}]}`), workflow.Failure, "strategy.matrix"},
	"huge-matrix":    {matrixOf(`{a: &l [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], b: *l, c: *l, d: *l, e: *l, f: *l, g: *l, h: *l, i: *l}`), workflow.Failure, "combinations"},
	"endless":        {strings.Replace(job("endless", "push", "true"), "    steps:", "    timeout-minutes: ${{ fromJSON('\"NaN\"') }}\n    steps:", 1), workflow.Failure, "timeout-minutes"},
	"null":           {"name: \"null\"\non: push\njobs:\n  null:\n    runs-on: ubuntu-latest\n    steps: [{run: x}]\n", workflow.StartupFailure, "can not be called null"},
	"aliases":        {aliases(12), workflow.StartupFailure, "too large"},
	"many-bytes":     {strings.Replace(job("many-bytes", "push", "exit 1"), "      - run:", "      - name: "+strings.Repeat("鵜", 100)+"\n        run:", 1), workflow.Failure, "鵜鵜"},
	"good":           {job("good", "push", "true"), workflow.Success, ""},
	longName:         {job(longName, "push", "true"), workflow.Success, ""},
}

func matrixOf(matrix string) string {
	return strings.Replace(job("matrix", "push", "true"), "    steps:", "    strategy: {matrix: "+matrix+"}\n    steps:", 1)
}

// longName is longer than a check of a commit may be called.
var longName = strings.Repeat("x", 300)

// aliases is a file whose lists hold nine times the list before.
func aliases(n int) string {
	text := "name: aliases\non: push\nenv:\n  l0: &l0 [x]\n"
	for i := 1; i <= n; i++ {
		text += fmt.Sprintf("  l%d: &l%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*l%d, ", i-1), 9), ", "))
	}
	return text + "jobs: {a: {runs-on: ubuntu-latest, steps: [{run: x}]}}\n"
}

// TestMistakes: whatever a workflow says, it fails for itself. The others of the
// commit run, the server goes on, and comes back after it was killed.
func TestMistakes(t *testing.T) {
	m := &mortal{site: outside(t), process: servertest.StartMortal(t)}
	m.Server = m.process.Server
	dir := m.repo("app", "")
	many := filepath.Join(dir, ".github", "actions", "vendored")
	if err := os.MkdirAll(many, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 2100 { // come before the workflows in git's order
		if err := os.WriteFile(filepath.Join(many, fmt.Sprintf("%d.js", i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var files []string
	for name, w := range mistakes {
		files = append(files, name[:min(len(name), 40)]+".yml", strings.Replace(w.text, "name: matrix\n", "name: "+name+"\n", 1))
	}
	m.push(dir, files...)
	m.until("all runs", func() bool { return len(m.runs("app")) == len(mistakes) })
	for name, w := range mistakes {
		r := m.begun("app", nameOf(name), "push")
		m.until("the end of "+name, func() bool { r = m.run(r.ID); return r.State == workflow.Completed })
		said := r.Message
		for _, j := range r.Jobs {
			said += j.Message
		}
		if r.Conclusion != w.conclusion || !strings.Contains(said, w.words) {
			t.Errorf("%.20s: %s %q, want %s %q", name, r.Conclusion, said, w.conclusion, w.words)
		}
	}
	bomb := m.bombs()
	m.process.Kill()
	m.process.Start()
	if got := m.statuses("bombs", bomb); !strings.Contains(got, "git ls-tree has more to say than") {
		t.Errorf("after a restart the commit with a million files has %q", got)
	}
	res, err := http.Get(m.URL + "/health") //nolint:noctx // a server of the test's own
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("after a restart: %v %v", res, err)
	}
	_ = res.Body.Close()
	m.push(m.repo("other", ""), "after.yml", job("after", "push", "true"))
	m.ended(m.begun("other", "after", "push").ID, workflow.Success)
}

// bombs pushes a million files, which take a few kilobytes to push, to where a
// path filter meets them and to .github, where nothing can be started for them;
// it returns that commit.
func (m *mortal) bombs() (sha string) {
	m.Helper()
	dir := m.repo("bombs", "")
	m.push(dir, "filtered.yml", "name: filtered\non: {push: {paths: [none]}}\njobs: {a: {runs-on: ubuntu-latest, steps: [{run: x}]}}\n")
	first := m.begun("bombs", "filtered", "push") // of a new branch, whose paths are not known
	tree := func(list string) string {
		name := filepath.Join(m.TempDir(), "tree")
		if err := os.WriteFile(name, []byte(list), 0o600); err != nil {
			m.Fatal(err)
		}
		return m.git(dir, "-c", "alias.mk=!git mktree < '"+name+"'", "mk")
	}
	entry := "040000 tree " + m.git(dir, "rev-parse", "HEAD:.github")
	root := entry + "\t.github\n"
	for range 6 {
		list := ""
		for i := range 10 {
			list += fmt.Sprintf("%s\t%d\n", entry, i)
		}
		entry = "040000 tree " + tree(list)
	}
	for _, root := range []string{root + entry + "\tdata\n", entry + "\t.github\n"} {
		sha = m.git(dir, "commit-tree", tree(root), "-p", "HEAD", "-m", "a million files")
		m.git(dir, "push", "-q", "origin", "+"+sha+":refs/heads/main")
	}
	m.until("the run of a million files, and the word that there is none", func() bool {
		runs := m.runs("bombs")
		return len(runs) == 2 && runs[0].ID != first.ID && strings.Contains(m.statuses("bombs", sha), "git ls-tree has more to say than")
	})
	return sha
}

// nameOf is what a workflow with that name is listed as; one that can not be read
// has its path for a name.
func nameOf(name string) string {
	if mistakes[name].conclusion == workflow.StartupFailure {
		return workflow.Dir + "/" + name + ".yml"
	}
	return name
}

// TestRerunKeepsWhatStands: a run of what failed keeps what succeeded, whatever
// the order of the file.
func TestRerunKeepsWhatStands(t *testing.T) {
	s := newSite(t, nil)
	dir := s.repo("app", "")
	s.push(dir, "order.yml", `name: order
on: push
jobs:
  deploy: {needs: build, runs-on: ubuntu-latest, steps: [{run: "true"}]}
  build: {runs-on: ubuntu-latest, steps: [{run: "true"}]}
  report: {needs: deploy, runs-on: ubuntu-latest, steps: [{run: "exit 1"}]}
`)
	r := s.ended(s.begun("app", "order", "push").ID, workflow.Failure)
	ran := map[string]int64{}
	for _, j := range r.Jobs {
		ran[j.Key] = j.TaskRun
	}
	s.until("the second attempt", func() bool {
		return s.ask("POST", fmt.Sprintf("/api/wherry/ci/runs/%d/rerun", r.ID), map[string]any{"failed": true}, nil) == nil
	})
	r = s.ended(r.ID, workflow.Failure)
	for _, j := range r.Jobs {
		if again := ran[j.Key] != j.TaskRun; again != (j.Key == "report") {
			t.Errorf("%s ran again: %v", j.Key, again)
		}
	}
}
