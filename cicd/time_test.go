package cicd

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/state"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/cicd"
	"github.com/wherry-ml/wherry/store/environments"
	"github.com/wherry-ml/wherry/workflow"
)

// clocked is a service with its database, in a bubble whose time we move.
func clocked(t *testing.T, fn func(t *testing.T, s *Service)) {
	synctest.Test(t, func(t *testing.T) {
		db, err := store.Open(t.Context(), "sqlite://"+filepath.Join(t.TempDir(), "test.db"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		}()
		fn(t, New(Config{State: state.Dir(t.TempDir()), Store: cicd.New(db), Environments: environments.New(db), Retention: Retention{ArtifactDays: 8, CacheBytes: 100}}))
	})
}

// TestWaitTimer: a job goes on when its environment's minutes are over, counted
// from when it began to wait, and no earlier.
func TestWaitTimer(t *testing.T) {
	clocked(t, func(t *testing.T, s *Service) {
		if _, err := s.cfg.Environments.Put(t.Context(), wherry.Environment{Name: "prod", WaitMinutes: 30}, "ada"); err != nil {
			t.Fatal(err)
		}
		r := &cicd.Record{Run: &workflow.Run{ID: 1, Event: workflow.Event{Ref: "refs/heads/main"}}}
		j := &workflow.Job{ID: 1, State: workflow.Waiting, Environment: "prod"}
		for _, step := range []struct {
			after time.Duration
			want  string
		}{{0, workflow.Waiting}, {29 * time.Minute, workflow.Waiting}, {59 * time.Second, workflow.Waiting}, {time.Second, workflow.Queued}} {
			time.Sleep(step.after)
			if err := s.gate(t.Context(), r, j, nil); err != nil {
				t.Fatal(err)
			}
			if j.State != step.want {
				t.Fatalf("%s: the job is %s, want %s", time.Now().Format("04:05"), j.State, step.want)
			}
			if said := strings.Contains(j.Message, "waits 30 minutes"); said != (step.want == workflow.Waiting) {
				t.Errorf("the job says %q", j.Message)
			}
		}
	})
}

// comes stores bytes as an upload does, and returns their digest.
func comes(t *testing.T, s *Service, text string) string {
	t.Helper()
	_, digest, stored, err := s.receive(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodPut, "/", strings.NewReader(text)), maxStored, nil)
	if err != nil {
		t.Fatal(err)
	}
	stored()
	return digest
}

// TestPrune: artifacts go when their days are over, caches when nobody used them
// or there are too many, and bytes when nothing holds them any more; what is
// coming in stays.
func TestPrune(t *testing.T) {
	clocked(t, func(t *testing.T, s *Service) {
		names := map[string]string{}
		put := func(name, text, days string) {
			t.Helper()
			expires, err := s.expires(httptest.NewRequestWithContext(t.Context(), http.MethodPut, "/?retention-days="+days, nil))
			if err != nil {
				t.Fatal(err)
			}
			a := cicd.Stored{Name: name, Size: int64(len(text)), Digest: comes(t, s, text), ExpiresAt: expires}
			names[a.Digest] = text
			if err := s.cfg.Store.DB().Write(t.Context(), func(tx *store.Tx) error { return cicd.PutArtifact(tx, 1, 1, a) }); err != nil {
				t.Fatal(err)
			}
		}
		cache := func(name, text string) cicd.Stored {
			t.Helper()
			c := cicd.Stored{Name: name, Size: int64(len(text)), Digest: comes(t, s, text)}
			names[c.Digest] = text
			if ok, err := s.cfg.Store.PutCache(t.Context(), 7, "refs/heads/main", c, s.cfg.Retention.CacheBytes); err != nil || !ok {
				t.Fatal(ok, err)
			}
			return c
		}
		// A server that was killed left an upload, and bytes without their row.
		names[comes(t, s, "orphan")] = "orphan"
		if err := os.WriteFile(s.file(upload+"1"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		put("short", "one day", "1")
		put("long", "as long as may be", "400")
		put("usual", "usual", "")
		put("same", "shared bytes", "1")
		unused, used := cache("unused", "unused cache"), cache("used", "shared bytes")
		names[unused.Digest] = "unused cache"
		arriving := comes(t, s, "arriving")
		names[arriving] = "arriving"
		left := s.arrives(arriving)

		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Prune(ctx) }()
		held := func(want ...string) {
			t.Helper()
			synctest.Wait()
			entries, err := os.ReadDir(s.stored())
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]bool{}
			for _, e := range entries {
				got[names[e.Name()]] = true
			}
			slices.Sort(want)
			if list := slices.Sorted(maps.Keys(got)); !slices.Equal(list, want) {
				t.Errorf("%s: there are %q, want %q", time.Now().Format(time.DateTime), list, want)
			}
		}
		held("one day", "as long as may be", "usual", "shared bytes", "unused cache", "arriving")
		time.Sleep(day + pruneEvery)
		held("as long as may be", "usual", "shared bytes", "unused cache", "arriving")
		left()
		time.Sleep(4 * day)
		if err := s.cfg.Store.CacheUsed(t.Context(), 7, used); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * day)
		held("as long as may be", "usual", "shared bytes")

		cache("large", strings.Repeat("x", 95)) // and with it more than 100 bytes
		if list, err := s.cfg.Store.Caches(t.Context(), 7, "refs/heads/main"); err != nil || len(list) != 1 || list[0].Name != "large" {
			t.Errorf("the caches are %+v, %v", list, err)
		}
		time.Sleep(pruneEvery)
		held("as long as may be", "usual", strings.Repeat("x", 95))
		time.Sleep(8 * day)
		held()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestPruneGoesOn: what others left where the bytes are is let be, and a folder
// that can not be read ends no server.
func TestPruneGoesOn(t *testing.T) {
	clocked(t, func(t *testing.T, s *Service) {
		s.cfg.State = state.Dir(filepath.Join(t.TempDir(), "odd[name"))
		orphan := comes(t, s, "orphan")
		folder := strings.Repeat("0", 64) // as a digest, but not empty and no file
		for _, err := range []error{
			os.MkdirAll(filepath.Join(s.stored(), folder, "a"), 0o700), os.WriteFile(s.file("notes.txt"), nil, 0o600), os.WriteFile(s.file(upload+"1"), nil, 0o600),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Prune(ctx) }()
		synctest.Wait()
		for name, there := range map[string]bool{orphan: false, upload + "1": false, folder: true, "notes.txt": true} {
			if _, err := os.Stat(s.file(name)); (err == nil) != there {
				t.Errorf("%s is there: %t, want %t", name, err == nil, there)
			}
		}
		if err := errors.Join(os.RemoveAll(s.stored()), os.WriteFile(s.stored(), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * pruneEvery)
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("the pruner ended: %v", err)
		default:
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestRoom: what an artifact may have is what the repository's others leave, for
// a fork's pull request at most a tenth with its other runs, and not the last one.
func TestRoom(t *testing.T) {
	clocked(t, func(t *testing.T, s *Service) {
		s.cfg.Retention.ArtifactBytes = 1000
		record := func(fork bool, ref string) *cicd.Record {
			return &cicd.Record{RepoID: 7, Run: &workflow.Run{Repo: "app", Path: "a.yml", Fork: fork, Event: workflow.Event{Ref: ref}}}
		}
		first, second := record(true, "refs/pull/1/merge"), record(true, "refs/pull/1/merge")
		other, after, own := record(true, "refs/pull/2/merge"), record(true, "refs/heads/main"), record(false, "refs/heads/main")
		for _, step := range []struct {
			run  *cicd.Record
			name string
			size int64 // that comes in then
			left int64
			full string
		}{
			{first, "a", 60, 100, "fork's pull request may have 100 bytes in all"},
			{second, "a", 40, 40, "fork's pull request"},
			{second, "b", 0, 0, "fork's pull request"},
			{second, "a", 40, 40, "fork's pull request"}, // it replaces its own
			{other, "a", 0, 100, "fork's pull request"},
			{own, "a", 780, 900, "the artifacts of app may have 1000 bytes in all, and have 100"},
			{after, "a", 0, 20, "and have 0; the last tenth, of 1000, is for its own runs"},
			{own, "b", 100, 120, "and have 880"},
			{other, "a", 0, 0, "the last tenth"},
			{own, "c", 0, 20, "and have 980"},
		} {
			err := s.cfg.Store.DB().Write(t.Context(), func(tx *store.Tx) error {
				if step.run.ID == 0 {
					if err := cicd.Insert(tx, step.run); err != nil {
						return err
					}
				}
				left, full, err := s.room(tx, step.run, step.name)
				if err != nil {
					return err
				}
				if left != step.left || !strings.Contains(full.Error(), step.full) {
					t.Errorf("%s of %d: %d, %v; want %d, %s", step.name, step.run.ID, left, full, step.left, step.full)
				}
				if step.size == 0 {
					return nil
				}
				return cicd.PutArtifact(tx, step.run.ID, 1, cicd.Stored{Name: step.name, Size: step.size})
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestReceiveLimit: what is too large is refused, whether it says so or not, and
// leaves nothing.
func TestReceiveLimit(t *testing.T) {
	s := New(Config{State: state.Dir(t.TempDir())})
	for _, length := range []int64{6, -1} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPut, "/", strings.NewReader("123456"))
		r.ContentLength = length
		r.SetPathValue("name", "wheels")
		_, _, _, err := s.receive(httptest.NewRecorder(), r, 5, tooLarge("wheels", 5))
		if wherry.CodeOf(err) != wherry.CodeInvalidParameter || !strings.Contains(err.Error(), `"wheels" has more than 5 bytes`) {
			t.Errorf("length %d: %v", length, err)
		}
	}
	if names, err := s.names(); err != nil || len(names) != 0 {
		t.Errorf("it left %q, %v", names, err)
	}
}

// TestRetentionDays refuses what is no number of days.
func TestRetentionDays(t *testing.T) {
	s := New(Config{})
	for _, days := range []string{"-1", "soon", "1.5"} {
		if _, err := s.expires(httptest.NewRequestWithContext(t.Context(), http.MethodPut, "/?retention-days="+days, nil)); wherry.CodeOf(err) != wherry.CodeInvalidParameter {
			t.Errorf("%s: %v", days, err)
		}
	}
}

// TestAttempt: what goes wrong in a part of a pass, a panic too, is given up when
// it went wrong often and for a while, and not in a burst of passes; what goes
// well meanwhile begins anew.
func TestAttempt(t *testing.T) {
	clocked(t, func(t *testing.T, s *Service) {
		var why error
		try := func(do func() error) {
			s.attempt(t.Context(), "run 1", do, func(err error) error { why = err; return nil })
		}
		broken := func() error { panic("no such job") }
		for range 10 {
			try(broken)
		}
		time.Sleep(patience)
		try(func() error { return nil })
		for range 10 {
			try(broken)
		}
		if why != nil {
			t.Fatalf("given up in a burst: %v", why)
		}
		time.Sleep(patience)
		try(broken)
		if why == nil || !strings.Contains(why.Error(), "no such job") {
			t.Errorf("given up with %v", why)
		}
	})
}

// TestReplaced: who fetches an artifact while it is replaced gets one of the two.
func TestReplaced(t *testing.T) {
	clocked(t, func(t *testing.T, s *Service) {
		r := &cicd.Record{Run: &workflow.Run{ID: 1}}
		put := func(text string) error {
			before, err := s.cfg.Store.Artifacts(t.Context(), 1)
			a := cicd.Stored{Name: "out", Digest: comes(t, s, text)}
			err = errors.Join(err, s.cfg.Store.DB().Write(t.Context(), func(tx *store.Tx) error { return cicd.PutArtifact(tx, 1, 1, a) }))
			s.release(t.Context(), before)
			return err
		}
		if err := put("0"); err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() {
			var err error
			for i := range 40 {
				err = errors.Join(err, put(strings.Repeat("x", 1+i%2)))
			}
			done <- err
		}()
		for {
			f, err := s.openArtifact(t.Context(), r, "out")
			if err == nil {
				err = f.Close()
			}
			if err != nil {
				t.Errorf("while it is replaced: %v", err)
			}
			select {
			case err := <-done:
				if err != nil {
					t.Error(err)
				}
				return
			default:
				if t.Failed() {
					<-done
					return
				}
			}
		}
	})
}
