package compute_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/agent/protocol"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/compute"
	"github.com/wherry-ml/wherry/store/storetest"
)

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func isAborted(t testing.TB, what string, err error) {
	t.Helper()
	if wherry.CodeOf(err) != wherry.CodeAborted {
		t.Errorf("%s: %v, want ABORTED", what, err)
	}
}

func TestAttempts(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, signIn, s := context.Background(), auth.New(db), compute.New(db)
		ok(t, signIn.Bootstrap(ctx, "secret"))
		if _, err := s.Attempt(ctx, 7); wherry.CodeOf(err) != wherry.CodeDoesNotExist {
			t.Errorf("no attempt: %v", err)
		}
		a := compute.Attempt{RunID: 7, WorkspaceID: 1, AgentID: "a", Epoch: 3, AskedAt: time.UnixMilli(1000)}
		first, err := s.Assign(ctx, a, 1)
		ok(t, err)
		a.AgentID = "b" // the first agent never began it
		token, err := s.Assign(ctx, a, 1)
		ok(t, err)
		if _, err := signIn.Token(ctx, first); err == nil {
			t.Error("the first agent's token is still valid")
		}
		if id, err := signIn.Token(ctx, token); err != nil || id.RunID != 7 {
			t.Errorf("token: %+v, %v", id, err)
		}

		at := protocol.Offsets{Out: 10, Events: 5}
		ok(t, s.Advance(ctx, 7, 3, protocol.Offsets{}, at))
		isAborted(t, "advance twice", s.Advance(ctx, 7, 3, protocol.Offsets{}, at))
		isAborted(t, "an older epoch", s.Advance(ctx, 7, 2, at, protocol.Offsets{Out: 11, Events: 5}))
		_, err = s.Assign(ctx, a, 1)
		isAborted(t, "assign what has begun", err)

		ok(t, s.TakeOver(ctx, 7, 4, at))
		isAborted(t, "the server before", s.Advance(ctx, 7, 3, at, protocol.Offsets{Out: 11, Events: 5}))
		isAborted(t, "take over back", s.TakeOver(ctx, 7, 3, at))
		active, err := s.Active(ctx)
		ok(t, err)
		if len(active) != 1 || active[0].AgentID != "b" || active[0].Offsets != at || active[0].AskedAt.UnixMilli() != 1000 {
			t.Errorf("active: %+v", active)
		}

		end, called := protocol.Offsets{Out: 12, Events: 6}, 0
		also := func(*store.Tx) error { called++; return nil }
		ok(t, s.Finish(ctx, 7, 4, at, end, also))
		ok(t, s.Finish(ctx, 7, 4, end, end, also))
		isAborted(t, "output after the end", s.Advance(ctx, 7, 4, end, protocol.Offsets{Out: 13, Events: 6}))
		if got, err := s.Attempt(ctx, 7); err != nil || !got.Done || got.Offsets != end || called != 2 {
			t.Errorf("done: %+v, %v, %d", got, err, called)
		}
		if _, err := signIn.Token(ctx, token); err == nil {
			t.Error("the token outlives its attempt")
		}
	})
}

func TestClusters(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := context.Background(), compute.New(db)
		ok(t, auth.New(db).Bootstrap(ctx, "secret"))
		c := wherry.Cluster{
			ID: "c1", WorkspaceID: 1, Name: "one", Source: wherry.ClusterSourceJob, Owner: wherry.Principal{ID: 1}, JobRunID: 5, Key: "k",
			State: wherry.ClusterPending, Spec: json.RawMessage(`{"spark_version":"x"}`),
		}
		_, err := s.Create(ctx, c)
		ok(t, err)
		again := c
		again.ID = "c2"
		got, err := s.Create(ctx, again)
		ok(t, err)
		if got.ID != "c1" || got.Owner.UserName != "admin@localhost" {
			t.Errorf("a run has two clusters of one key: %+v", got)
		}
		got.State, got.AgentID = wherry.ClusterRunning, "a"
		ok(t, s.Update(ctx, got, "RUNNING", map[string]int{"current_num_workers": 0}))
		isAborted(t, "an old version", s.Update(ctx, got, "", nil))
		if _, err := s.Cluster(ctx, 2, "c1"); wherry.CodeOf(err) != wherry.CodeInvalidParameter {
			t.Errorf("another workspace's cluster: %v", err)
		}
		if list, err := s.JobClusters(ctx, 5); err != nil || len(list) != 1 || list[0].State != wherry.ClusterRunning {
			t.Errorf("job's clusters: %+v, %v", list, err)
		}
		for source, want := range map[string]int{wherry.ClusterSourceJob: 1, wherry.ClusterSourceAPI: 0} {
			if list, err := s.ClustersFrom(ctx, 1, source, 5); err != nil || len(list) != want {
				t.Errorf("clusters from %s: %+v, %v", source, list, err)
			}
		}
		events, total, err := s.Events(ctx, "c1", 0, 1)
		ok(t, err)
		if total != 2 || len(events) != 1 || events[0].Type != "RUNNING" {
			t.Errorf("events: %+v of %d", events, total)
		}
		ok(t, s.Delete(ctx, 1, "c1"))
		if all, err := s.Clusters(ctx, 0); err != nil || len(all) != 0 {
			t.Errorf("after delete: %+v, %v", all, err)
		}
	})
}
