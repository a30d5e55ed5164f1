package git_test

import (
	"fmt"
	"testing"

	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/git"
	"github.com/wherry-ml/wherry/store/storetest"
)

// TestOutbox: what waits for a forge is replaced by a later word on the same,
// what could not be told is told later, and what was told is told once.
func TestOutbox(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s, ctx := git.New(db), t.Context()
		r, err := s.Create(ctx, git.Repo{Name: "app", DefaultBranch: "main"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		due := func(want string) []git.Report {
			t.Helper()
			list, next, err := s.DueReports(ctx, 10)
			got := ""
			for _, o := range list {
				got += fmt.Sprint(o.Kind, " ", o.Status.State, o.Deployment.State, " ", o.RemoteID, ";")
			}
			if got += fmt.Sprint(" more:", next > 0); err != nil || got != want {
				t.Errorf("%v: due is %q, want %q", err, got, want)
			}
			return list
		}
		set := func(state string) {
			t.Helper()
			if err := s.SetStatus(ctx, r, git.Status{SHA: sha("a"), Context: "ci", State: state}); err != nil {
				t.Fatal(err)
			}
		}
		set(git.StatePending)
		due(" more:false") // it mirrors nothing
		if err := s.SetMirror(ctx, r, git.Mirror{URL: "https://x/y", Forge: git.GitHub, Reports: true, Sealed: []byte("sealed")}, nil, "ada"); err != nil {
			t.Fatal(err)
		}
		set(git.StatePending)
		old := due("status pending ; more:false")
		set(git.StateSuccess)
		if err := s.Reported(ctx, old[0]); err != nil { // the word before the last
			t.Fatal(err)
		}
		list := due("status success ; more:false")
		if err := s.NotReported(ctx, list[0], "503", false); err != nil {
			t.Fatal(err)
		}
		due(" more:true")
		if failed, err := s.FailedReports(ctx, r.ID); err != nil || len(failed) != 1 {
			t.Errorf("%v %v", err, failed)
		}
		if err := s.Reported(ctx, list[0]); err != nil {
			t.Fatal(err)
		}
		due(" more:false")
		d := git.Deployment{Key: "d", SHA: sha("a"), Environment: "prod", State: "success"}
		if err := s.ReportDeployed(ctx, r, d); err != nil {
			t.Fatal(err)
		}
		list = due("deployment success ; more:false")
		if err := s.KeepRemote(ctx, list[0], "42"); err != nil {
			t.Fatal(err)
		}
		if err := s.Reported(ctx, list[0]); err != nil {
			t.Fatal(err)
		}
		d.State = "inactive"
		if err := s.ReportDeployed(ctx, r, d); err != nil {
			t.Fatal(err)
		}
		list = due("deployment inactive 42; more:false")
		if err := s.NotReported(ctx, list[0], "422", true); err != nil {
			t.Fatal(err)
		}
		due(" more:false")
	})
}

// TestDeliveries: a webhook that is sent again is known, and what was done is
// not given again.
func TestDeliveries(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s, ctx := git.New(db), t.Context()
		r, err := s.Create(ctx, git.Repo{Name: "app", DefaultBranch: "main"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []bool{true, false, true} {
			fresh, err := s.Deliver(ctx, git.Delivery{RepoID: r.ID, Forge: git.GitHub, Delivery: []string{"a", "a", "b"}[i], News: "{}"})
			if err != nil || fresh != want {
				t.Errorf("%d: %v %v", i, fresh, err)
			}
		}
		list, err := s.Deliveries(ctx, 10)
		if err != nil || len(list) != 2 || list[0].Delivery != "a" {
			t.Fatalf("%v %+v", err, list)
		}
		if err := s.Delivered(ctx, list[0], ""); err != nil {
			t.Fatal(err)
		}
		if list, err = s.Deliveries(ctx, 10); err != nil || len(list) != 1 || list[0].Delivery != "b" {
			t.Errorf("%v %+v", err, list)
		}
		p := git.PullRequest{Number: 7, Title: "t", Base: "main", Head: "x", HeadRepo: "eve/app", HeadSHA: sha("b"), State: git.PullOpen, Author: "eve"}
		for range 2 {
			if err := s.PutPull(ctx, r, p, git.ActionOpened, "eve"); err != nil {
				t.Fatal(err)
			}
		}
		got, err := s.Pull(ctx, r, 7)
		if err != nil || !got.Fork() || got.HeadRepo != "eve/app" || got.HeadSHA != sha("b") {
			t.Errorf("%v %+v", err, got)
		}
		waiting, err := s.Pending(ctx, 10)
		if err != nil || len(waiting) != 1 {
			t.Errorf("%v %+v", err, waiting)
		}
	})
}

// TestPulls: what is stale, and that a change of what was changed meanwhile is
// refused.
func TestPulls(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s, ctx := git.New(db), t.Context()
		r, err := s.Create(ctx, git.Repo{Name: "app", DefaultBranch: "main"}, map[string]string{"refs/heads/main": sha("a"), "refs/heads/x": sha("b")})
		if err != nil {
			t.Fatal(err)
		}
		p, err := s.OpenPull(ctx, r, git.PullRequest{HeadRepoID: r.ID, Title: "t", Base: "main", Head: "x", Author: "ada"})
		if err != nil || p.Number != 1 {
			t.Fatalf("%v %+v", err, p)
		}
		stale := func(want int) {
			t.Helper()
			if list, err := s.Stale(ctx, 0); err != nil || len(list) != want {
				t.Errorf("%v %+v, want %d", err, list, want)
			}
		}
		stale(1)
		if err := s.MovePull(ctx, r, p, sha("a"), sha("b"), sha("c")); err != nil {
			t.Fatal(err)
		}
		stale(0)
		if err := s.ClosePull(ctx, r, p, "", "ada"); err == nil {
			t.Error("a change of an old version went well")
		}
		if _, err := s.Record(ctx, r, "eve", 0, []git.Movement{{Ref: "refs/heads/x", New: sha("d")}}); err != nil {
			t.Fatal(err)
		}
		stale(1)
		if p, err = s.Pull(ctx, r, 1); err == nil {
			err = s.MovePull(ctx, r, p, sha("a"), sha("d"), "")
		}
		if err != nil {
			t.Fatal(err)
		}
		if p, err = s.Pull(ctx, r, 1); err == nil {
			err = s.Merge(ctx, r, p, sha("e"), "grace", 0)
		}
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		waiting, err := s.Pending(ctx, 10)
		for _, w := range waiting {
			got += w.Kind + w.Action + " " + w.Actor + ";"
		}
		if want := "pull_requestopened ada;push eve;pull_requestsynchronize eve;push grace;pull_requestclosed grace;"; err != nil || got != want {
			t.Errorf("%v %s, want %s", err, got, want)
		}
	})
}
