package git_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/server"
	"github.com/wherry-ml/wherry/server/servertest"
	"github.com/wherry-ml/wherry/store"
	gitstore "github.com/wherry-ml/wherry/store/git"
)

func TestMain(m *testing.M) { os.Exit(servertest.Main(m)) }

// site is a server with someone's folders beside it, and the real git.
type site struct {
	*testing.T
	*servertest.Server
	root string
	env  []string
}

func newSite(t *testing.T, edit func(*server.Config)) *site {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("there is no git on the PATH")
	}
	quiet := func(cfg *server.Config) {
		cfg.KeepTriggers = true
		if edit != nil {
			edit(cfg)
		}
	}
	return &site{T: t, Server: servertest.Start(t, quiet), root: t.TempDir(), env: environment(t)}
}

// environment is that of a person who has set up nothing but their name.
func environment(t testing.TB) []string {
	home := t.TempDir()
	config := "[user]\n\tname = Ada\n\temail = ada@example.com\n[init]\n\tdefaultBranch = main\n[protocol \"file\"]\n\tallow = always\n[advice]\n\tpushUpdateRejected = false\n"
	if err := os.WriteFile(filepath.Join(home, ".gitconfig"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"HOME=" + home, "PATH=" + os.Getenv("PATH"), "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C"}
}

// url is the address of a repository with the admin's token in it.
func (s *site) url(name string) string { return s.urlAs(name, s.Token) }

func (s *site) urlAs(name, token string) string {
	return strings.Replace(s.URL, "http://", "http://git:"+token+"@", 1) + "/git/" + name + ".git"
}

// try runs git and returns all that it says.
func (s *site) try(dir string, args ...string) (string, error) {
	c := exec.CommandContext(s.Context(), "git", args...)
	c.Dir, c.Env = dir, s.env
	out, err := c.CombinedOutput()
	return string(out), err
}

func (s *site) run(dir string, args ...string) string {
	s.Helper()
	out, err := s.try(dir, args...)
	if err != nil {
		s.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// refused runs git, which must fail and say all of the words.
func (s *site) refused(dir string, words []string, args ...string) {
	s.Helper()
	out, err := s.try(dir, args...)
	if err == nil {
		s.Fatalf("git %s: it was not refused\n%s", strings.Join(args, " "), out)
	}
	for _, word := range words {
		if !strings.Contains(out, word) {
			s.Errorf("git %s says not %q:\n%s", strings.Join(args, " "), word, out)
		}
	}
}

// work makes a folder with one commit, whose origin is the repository.
func (s *site) work(name string) string {
	s.Helper()
	dir, err := os.MkdirTemp(s.root, name+"-*")
	if err != nil {
		s.Fatal(err)
	}
	s.run(dir, "init", "-q")
	s.commit(dir, "README.md", "first")
	s.run(dir, "remote", "add", "origin", s.url(name))
	return dir
}

// commit writes a file, commits it and returns the commit's id.
func (s *site) commit(dir, file, text string) string {
	s.Helper()
	name := filepath.Join(dir, file)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		s.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		s.Fatal(err)
	}
	s.run(dir, "add", "--", file)
	s.run(dir, "commit", "-q", "-m", "change "+file)
	return s.sha(dir, "HEAD")
}

func (s *site) sha(dir, what string) string {
	s.Helper()
	return strings.TrimSpace(s.run(dir, "rev-parse", what))
}

// open opens the server's database beside it.
func (s *site) open() *store.DB {
	s.Helper()
	db, err := store.Open(s.Context(), "sqlite://"+s.State.Path("wherry.db"))
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { db.Close() })
	return db
}

// pushes are what the store has of a repository, the oldest first: ref old new.
func (s *site) pushes(name string) (list []gitstore.Push) {
	s.Helper()
	st := gitstore.New(s.open())
	r, err := st.Repo(s.Context(), name)
	if err != nil {
		s.Fatal(err)
	}
	newest, err := st.Pushes(s.Context(), r.ID, 1000)
	if err != nil {
		s.Fatal(err)
	}
	for _, p := range newest {
		list = append([]gitstore.Push{p}, list...)
	}
	return list
}

// consistent checks that the pushes of each ref follow each other and end where
// git's ref is, and that each has its event and its trigger.
func (s *site) consistent(name string) {
	s.Helper()
	at := map[string]string{}
	list := s.pushes(name)
	for _, p := range list {
		old := at[p.Ref]
		if old == "" {
			old = gitstore.Zero
		}
		if p.Old != old {
			s.Errorf("push %d of %s begins at %s, and the one before ended at %s", p.ID, p.Ref, p.Old, old)
		}
		at[p.Ref] = p.New
	}
	out := s.run(s.root, "-C", s.State.Path("repos", name+".git"), "for-each-ref", "--format=%(refname) %(objectname)")
	has := 0
	for line := range strings.Lines(out) {
		ref, sha, _ := strings.Cut(strings.TrimSpace(line), " ")
		if strings.HasPrefix(ref, "refs/pull/") {
			continue
		}
		has++
		if at[ref] != sha {
			s.Errorf("git has %s at %s, the store at %s", ref, sha, at[ref])
		}
	}
	recorded := 0
	for _, sha := range at {
		if sha != gitstore.Zero {
			recorded++
		}
	}
	if has != recorded {
		s.Errorf("git has %d refs, the store %d", has, recorded)
	}
	err := s.open().Read(s.Context(), func(tx *store.Tx) error {
		var events, triggers int
		if err := tx.Row(`SELECT count(*) FROM event WHERE kind = 'git.ref.updated' AND subject LIKE $1`, name+":%").Scan(&events); err != nil {
			return err
		}
		if err := tx.Row(`SELECT count(*) FROM git_trigger t JOIN git_repo r ON r.id = t.repo_id WHERE t.kind = 'push' AND r.name = $1`, name).Scan(&triggers); err != nil {
			return err
		}
		if events != len(list) || triggers != len(list) {
			return fmt.Errorf("%d pushes have %d events and %d triggers", len(list), events, triggers)
		}
		return nil
	})
	if err != nil {
		s.Error(err)
	}
}

// TestGit is everyday work with the real git: each kind of clone, fetch and
// push, over both versions of the protocol.
func TestGit(t *testing.T) {
	s := newSite(t, nil)
	dir := s.work("app")
	if out := s.run(dir, "push", "origin", "main"); !strings.Contains(out, "remote: Made the repository app") {
		t.Errorf("the first push says\n%s", out)
	}
	first := s.sha(dir, "HEAD")
	for i := range 5 {
		s.commit(dir, fmt.Sprintf("src/file%d.py", i), strings.Repeat("x = 1\n", 1000*i))
	}
	s.run(dir, "tag", "-a", "v1", "-m", "one")
	s.run(dir, "push", "-q", "origin", "main", "v1")
	last := s.sha(dir, "HEAD")
	for _, c := range [][]string{
		{"clone", "-q"},
		{"-c", "protocol.version=0", "clone", "-q"},
		{"clone", "-q", "--depth=2"},
		{"clone", "-q", "--filter=blob:none"},
		{"-c", "protocol.version=0", "clone", "-q", "--filter=blob:none"},
		{"clone", "-q", "--mirror"},
	} {
		to := filepath.Join(t.TempDir(), "clone")
		s.run(s.root, append(c, s.url("app"), to)...)
		if got := s.sha(to, "HEAD"); got != last {
			t.Errorf("git %v is at %s, want %s", c, got, last)
		}
	}

	t.Run("shallow", func(t *testing.T) {
		to := filepath.Join(t.TempDir(), "shallow")
		s.run(s.root, "clone", "-q", "--depth=1", s.url("app"), to)
		s.run(to, "fetch", "-q", "--deepen=1")
		if n := strings.TrimSpace(s.run(to, "rev-list", "--count", "HEAD")); n != "2" {
			t.Errorf("it has %s commits, want 2", n)
		}
		s.run(to, "fetch", "-q", "--unshallow")
		s.commit(to, "other.txt", "from a shallow clone")
		s.run(to, "push", "-q", "origin", "HEAD:shallow")
	})
	t.Run("one commit by its id", func(t *testing.T) {
		to := t.TempDir()
		s.run(to, "init", "-q")
		s.run(to, "fetch", "-q", "--depth=1", s.url("app"), first)
		if got := s.sha(to, "FETCH_HEAD"); got != first {
			t.Errorf("it fetched %s, want %s", got, first)
		}
	})
	t.Run("force", func(t *testing.T) {
		s.run(dir, "checkout", "-q", "-b", "side", first)
		s.commit(dir, "side.txt", "1")
		s.run(dir, "push", "-q", "origin", "side")
		s.run(dir, "commit", "-q", "--amend", "-m", "again")
		s.refused(dir, []string{"rejected"}, "push", "origin", "side")
		s.run(dir, "push", "-q", "--force", "origin", "side")
		list := s.pushes("app")
		if p := list[len(list)-1]; !p.Forced || p.Branch() != "side" || p.Actor != "admin@localhost" {
			t.Errorf("the forced push is %+v", p)
		}
	})
	t.Run("delete", func(t *testing.T) {
		s.run(dir, "push", "-q", "origin", "--delete", "side")
		list := s.pushes("app")
		if p := list[len(list)-1]; p.New != gitstore.Zero || p.Ref != "refs/heads/side" {
			t.Errorf("the deletion is %+v", p)
		}
	})
	t.Run("atomic", func(t *testing.T) {
		before := len(s.pushes("app"))
		s.run(dir, "checkout", "-q", "-B", "a", first)
		s.commit(dir, "a.txt", "a")
		s.refused(dir, []string{"atomic"}, "push", "--atomic", "origin", "a:new-one", "a:main")
		if after := len(s.pushes("app")); after != before {
			t.Errorf("%d refs moved", after-before)
		}
		s.run(dir, "push", "-q", "--atomic", "origin", "a:one", "a:two")
	})
	t.Run("gzip", func(t *testing.T) { // a fetch with many haves is sent packed
		to := t.TempDir()
		s.run(to, "init", "-q")
		for i := range 60 {
			s.run(to, "commit", "-q", "--allow-empty", "-m", fmt.Sprint("own ", i))
		}
		s.run(to, "fetch", "-q", s.url("app"), "main")
	})
	s.consistent("app")
}

// TestBigPush: 200 MB arrive whole, in chunks, and a push above the limit is
// refused with the limit named and leaves nothing.
func TestBigPush(t *testing.T) {
	s := newSite(t, nil)
	dir := s.work("big")
	random := rand.NewChaCha8([32]byte{1})
	write := func(name string, mb int64) {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(f, random, mb<<20); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		s.run(dir, "-c", "core.bigFileThreshold=1m", "-c", "core.compression=0", "add", name)
	}
	write("a.bin", 120)
	write("b.bin", 80)
	s.run(dir, "commit", "-q", "-m", "large")
	// The pusher's own programs are as modest as the server's, to be measured with them.
	modest := []string{"-c", "pack.compression=0", "-c", "core.bigFileThreshold=1m", "-c", "core.packedGitLimit=64m", "-c", "core.packedGitWindowSize=16m"}
	s.run(dir, append(modest, "push", "-q", "origin", "main")...)
	s.consistent("big")
	var used syscall.Rusage // the largest of all programs of git, here and of the server
	if err := syscall.Getrusage(syscall.RUSAGE_CHILDREN, &used); err != nil {
		t.Fatal(err)
	}
	if mb := used.Maxrss >> 10; runtime.GOOS == "linux" && mb > 150 {
		t.Errorf("a program of git took %d MB of memory", mb)
	}
	to := filepath.Join(t.TempDir(), "clone")
	s.run(s.root, append(modest, "clone", "-q", s.url("big"), to)...)
	if got, want := s.sha(to, "HEAD:b.bin"), s.sha(dir, "HEAD:b.bin"); got != want {
		t.Errorf("the blob is %s, want %s", got, want)
	}
	if out := s.run(to, append(modest, "status", "--porcelain")...); out != "" {
		t.Errorf("the clone's files differ:\n%s", out)
	}
}

// TestTooBig: a push above the limit is refused, with the limit, and leaves
// nothing behind.
func TestTooBig(t *testing.T) {
	s := newSite(t, func(c *server.Config) { c.MaxPush = 1 << 20 })
	dir := s.work("small")
	s.run(dir, "push", "-q", "origin", "main")
	objects := s.State.Path("repos", "small.git", "objects")
	before := files(t, objects)
	b := make([]byte, 30<<20)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(b)
	s.commit(dir, "big.bin", string(b))
	s.refused(dir, []string{"remote: fatal: pack exceeds maximum allowed size (1024.00 KiB)", "remote rejected"}, "push", "origin", "main")
	if after := files(t, objects); after != before {
		t.Errorf("before it was refused:\n%s\nafter:\n%s", before, after)
	}
	s.consistent("small")
}

// files lists the files below a folder.
func files(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		fmt.Fprintln(&b, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestConcurrentPushes: pushes to many branches and a race for one; each
// movement is recorded once, in the order in which git made them.
func TestConcurrentPushes(t *testing.T) {
	s := newSite(t, nil)
	dir := s.work("race")
	s.run(dir, "push", "-q", "origin", "main")
	var all sync.WaitGroup
	for i := range 6 {
		clone := filepath.Join(t.TempDir(), "clone")
		s.run(s.root, "clone", "-q", s.url("race"), clone)
		s.commit(clone, fmt.Sprint(i, ".txt"), "x")
		all.Go(func() {
			for j := range 3 {
				if out, err := s.try(clone, "push", "-q", "origin", fmt.Sprintf("HEAD:own/%d-%d", i, j)); err != nil {
					t.Errorf("an own branch: %v\n%s", err, out)
				}
				_, _ = s.try(clone, "push", "-q", "--force", "origin", "HEAD:shared") // one may lose
			}
		})
	}
	all.Wait()
	s.consistent("race")
	if n := len(s.pushes("race")); n < 1+18+1 {
		t.Errorf("%d pushes", n)
	}
}

// TestSignIn: who may not push or read is told so by git itself.
func TestSignIn(t *testing.T) {
	s := newSite(t, nil)
	dir := s.work("private")
	s.run(dir, "push", "-q", "origin", "main")
	bare := s.URL + "/git/private.git"
	s.refused(s.root, []string{"could not read Username"}, "ls-remote", bare)
	s.refused(s.root, []string{"Authentication failed"}, "ls-remote", s.urlAs("private", "dapi00"))
	s.run(s.root, "-c", "http.extraHeader=Authorization: Bearer "+s.Token, "ls-remote", bare)
	s.refused(s.root, []string{"remote: there is no repository", "wherry repo create"}, "ls-remote", s.url("absent"))
	s.refused(dir, []string{"remote: ", "is no name for a repository"}, "push", s.url("..x"), "main")
}

// TestLFS: git-lfs is told in its own words that it is not there.
func TestLFS(t *testing.T) {
	s := newSite(t, nil)
	r, err := http.NewRequestWithContext(t.Context(), "POST", s.url("any")+"/info/lfs/objects/batch", strings.NewReader(`{"operation":"upload"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/vnd.git-lfs+json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusNotImplemented || resp.Header.Get("Content-Type") != "application/vnd.git-lfs+json" || !strings.Contains(body.String(), `{"message":"Git LFS is not supported`) {
		t.Errorf("%s %s %s", resp.Status, resp.Header.Get("Content-Type"), &body)
	}
}

// TestQueue: what was pushed waits for whoever looks for workflows, once.
func TestQueue(t *testing.T) {
	s := newSite(t, nil)
	dir := s.work("queue")
	s.run(dir, "push", "-q", "origin", "main", "main:release/1")
	db := s.open()
	st := gitstore.New(db)
	list, err := st.Pending(t.Context(), 10)
	if err != nil || len(list) != 2 || list[0].Push.New != s.sha(dir, "main") || list[0].Repo.Name != "queue" {
		t.Fatalf("%v %+v", err, list)
	}
	for _, want := range []bool{true, false} {
		err = db.Write(context.Background(), func(tx *store.Tx) error {
			ok, err := gitstore.Handled(tx, list[0].ID)
			if ok != want {
				t.Errorf("handled: %v, want %v", ok, want)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if rest, err := st.Pending(t.Context(), 10); err != nil || len(rest) != 1 || rest[0].ID != list[1].ID {
		t.Errorf("%v %+v", err, rest)
	}
}

// user adds someone who is no admin and returns a token of theirs.
func (s *site) user(name string) (token string) {
	s.Helper()
	err := s.open().Write(s.Context(), func(tx *store.Tx) error {
		p, err := auth.CreateUser(tx, name, "", false)
		if err == nil {
			_, token, err = auth.IssueToken(tx, wherry.DefaultWorkspace, p.ID, 0, "test", time.Hour)
		}
		return err
	})
	if err != nil {
		s.Fatal(err)
	}
	return token
}
