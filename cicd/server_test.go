package cicd_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/cli"
	"github.com/wherry-ml/wherry/client"
	"github.com/wherry-ml/wherry/sandbox"
	"github.com/wherry-ml/wherry/server"
	"github.com/wherry-ml/wherry/server/servertest"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/workflow"
)

// TestMain makes this binary wherry when an agent starts a job by it, or a job a
// step, and databricks in a job that has set it up.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "databricks" {
		os.Exit(cli.Main(os.Args))
	}
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "ci-") {
		sandbox.Main()
		os.Exit(cli.Main(os.Args))
	}
	os.Exit(servertest.Main(m))
}

// site is a server with the real git beside it.
type site struct {
	*testing.T
	*servertest.Server
	env []string
}

func newSite(t *testing.T, edit func(*server.Config)) *site {
	t.Helper()
	s := outside(t)
	s.Server = servertest.Start(t, edit)
	return s
}

// outside is a site without its server yet.
func outside(t *testing.T) *site {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("there is no git on the PATH")
	}
	home := t.TempDir()
	config := "[user]\n\tname = Ada\n\temail = ada@example.com\n[init]\n\tdefaultBranch = main\n"
	if err := os.WriteFile(filepath.Join(home, ".gitconfig"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return &site{T: t, env: []string{"HOME=" + home, "PATH=" + os.Getenv("PATH"), "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C"}}
}

func (s *site) git(dir string, args ...string) string {
	s.Helper()
	c := exec.CommandContext(s.Context(), "git", args...)
	c.Dir, c.Env = dir, s.env
	out, err := c.CombinedOutput()
	if err != nil {
		s.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// repo makes a repository, and a working folder whose origin it is.
func (s *site) repo(name, forkOf string) string {
	s.Helper()
	in := map[string]any{"name": name}
	if forkOf != "" {
		in["fork_of"] = forkOf
	}
	s.call("POST", "/api/wherry/repos", in, nil)
	dir := s.TempDir()
	s.git(dir, "init", "-q")
	s.git(dir, "remote", "add", "origin", strings.Replace(s.URL, "http://", "http://git:"+s.Token+"@", 1)+"/git/"+name+".git")
	return dir
}

// write writes files, by name and text in turn, and commits all; a workflow's
// name has no folder.
func (s *site) write(dir string, files ...string) string {
	s.Helper()
	for i := 0; i < len(files); i += 2 {
		name := filepath.Join(dir, files[i])
		if strings.HasSuffix(name, ".yml") {
			name = filepath.Join(dir, workflow.Dir, files[i])
		}
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			s.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(files[i+1]), 0o600); err != nil {
			s.Fatal(err)
		}
	}
	s.git(dir, "add", ".")
	s.git(dir, "commit", "-q", "--allow-empty", "-m", "change "+files[0])
	return s.git(dir, "rev-parse", "HEAD")
}

// push commits files to main and pushes it.
func (s *site) push(dir string, files ...string) string {
	s.Helper()
	sha := s.write(dir, files...)
	s.git(dir, "push", "-q", "origin", "HEAD:main")
	return sha
}

func (s *site) ask(method, path string, in, out any) error {
	return client.New(s.URL, s.Token).Do(s.Context(), method, path, in, out)
}

func (s *site) call(method, path string, in, out any) {
	s.Helper()
	if err := s.ask(method, path, in, out); err != nil {
		s.Fatalf("%s %s: %v", method, path, err)
	}
}

// denied makes a call that must be refused, with a code and words.
func (s *site) denied(code, words, method, path string, in any) {
	s.Helper()
	err := s.ask(method, path, in, nil)
	if wherry.CodeOf(err) != code || !strings.Contains(err.Error(), words) {
		s.Errorf("%s %s: %v, want %s with %q", method, path, err, code, words)
	}
}

// waits waits until a run is in a state.
func (s *site) waits(id int64, state string) {
	s.Helper()
	s.until(fmt.Sprintf("run %d to be %s", id, state), func() bool { return s.run(id).State == state })
}

// until asks again until what is wanted is so.
func (s *site) until(what string, so func() bool) {
	s.Helper()
	end := time.After(2 * time.Minute)
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for !so() {
		select {
		case <-end:
			s.Fatalf("%s: not after two minutes", what)
		case <-look.C:
		}
	}
}

func (s *site) runs(repo string) []*workflow.Run {
	s.Helper()
	var out struct{ Runs []*workflow.Run }
	s.call("GET", "/api/wherry/ci/runs?repo="+repo, nil, &out)
	return out.Runs
}

func (s *site) run(id int64) *workflow.Run {
	s.Helper()
	r := &workflow.Run{}
	s.call("GET", fmt.Sprintf("/api/wherry/ci/runs/%d", id), nil, r)
	return r
}

// begun waits for the newest run of a workflow at an event.
func (s *site) begun(repo, name, event string) *workflow.Run {
	s.Helper()
	var found *workflow.Run
	s.until(name+" at "+event+" of "+repo, func() bool {
		list := s.runs(repo)
		i := slices.IndexFunc(list, func(r *workflow.Run) bool { return r.Name == name && r.Event.Name == event })
		if i >= 0 {
			found = list[i]
		}
		return i >= 0
	})
	return found
}

// ended waits for the end of a run, which must be the wanted one.
func (s *site) ended(id int64, conclusion string) *workflow.Run {
	s.Helper()
	var r *workflow.Run
	s.until(fmt.Sprintf("the end of run %d", id), func() bool { r = s.run(id); return r.State == workflow.Completed })
	if r.Conclusion != conclusion {
		s.Errorf("run %d of %s: %s, want %s: %s", id, r.Name, r.Conclusion, conclusion, r.Message)
		for _, j := range r.Jobs {
			s.Logf("%s: %s %s\n%s", j.Name, j.Conclusion, j.Message, s.log(id, j.Key))
		}
	}
	return r
}

func (s *site) log(id int64, job string) string {
	s.Helper()
	req, err := http.NewRequestWithContext(s.Context(), http.MethodGet, fmt.Sprintf("%s/api/wherry/ci/runs/%d/jobs/%s/log", s.URL, id, job), nil)
	if err != nil {
		s.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.Token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		s.Fatal(err)
	}
	return string(b)
}

func (s *site) says(id int64, job string, words ...string) {
	s.Helper()
	text := s.log(id, job)
	for _, w := range words {
		if !strings.Contains(text, w) {
			s.Errorf("%s of run %d says not %q:\n%s", job, id, w, text)
		}
	}
}

// statuses are those of a commit: context state, in order.
func (s *site) statuses(repo, sha string) string {
	s.Helper()
	var out struct {
		Statuses []struct{ Context, State, Description string }
	}
	s.call("GET", "/api/wherry/repos/"+repo+"/commits/"+sha+"/statuses", nil, &out)
	var list []string
	for _, st := range out.Statuses {
		list = append(list, st.Context+" "+st.State+" "+st.Description)
	}
	slices.Sort(list)
	return strings.Join(list, "\n")
}

// count is the number that a query of the server's database gives.
func (s *site) count(query string, args ...any) (n int) {
	s.Helper()
	s.database(func(db *store.DB) error {
		return db.Read(s.Context(), func(tx *store.Tx) error { return tx.Row(query, args...).Scan(&n) })
	})
	return n
}

// database opens the server's database.
func (s *site) database(use func(*store.DB) error) {
	s.Helper()
	db, err := store.Open(s.Context(), "sqlite://"+s.State.Path("wherry.db"))
	if err == nil {
		err = errors.Join(use(db), db.Close())
	}
	if err != nil {
		s.Fatal(err)
	}
}

// job is a workflow of one job on the event, with the steps' shell lines.
func job(name, on string, run ...string) string {
	text := "name: " + name + "\non: " + on + "\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n"
	for _, r := range run {
		text += "      - run: |\n          " + strings.ReplaceAll(r, "\n", "\n          ") + "\n"
	}
	return text
}
