package notify_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/notify"
	"github.com/wherry-ml/wherry/store/storetest"
)

func notice(key string) notify.Notice {
	return notify.Notice{
		WorkspaceID: 1, DedupKey: key, Kind: "jobs.on_failure", Subject: "Job otters failed", Text: "It failed.", Link: "/jobs/1/runs/2", RunID: 2,
		Emails: []string{"ada@example.com", "ada@example.com"}, Destinations: []string{"nobody-made-this"},
	}
}

func TestOutbox(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := context.Background(), notify.New(db)
		if _, wait, err := s.Lease(ctx, 1, 10, time.Minute); err != nil || wait != -1 {
			t.Fatalf("an empty outbox waits %s, %v", wait, err)
		}
		broken := errors.New("the change that the notice tells of fails")
		err := db.Write(ctx, func(tx *store.Tx) error { return errors.Join(notify.Enqueue(tx, notice("a")), broken) })
		if list, lerr := s.List(ctx, 1, notify.Filter{}); !errors.Is(err, broken) || lerr != nil || len(list) != 0 {
			t.Fatalf("a notice of what did not happen: %v %v %v", list, err, lerr)
		}
		for range 2 { // the second changes nothing
			if _, err := s.Send(ctx, notice("a")); err != nil {
				t.Fatal(err)
			}
		}
		list, _, err := s.Lease(ctx, 1, 10, time.Minute)
		if err != nil || len(list) != 2 || list[0].Address != "ada@example.com" || list[1].Channel != notify.Destination || list[0].Attempts != 1 {
			t.Fatalf("leased %+v, %v", list, err)
		}
		if again, wait, err := s.Lease(ctx, 1, 10, time.Minute); err != nil || len(again) != 0 || wait < 50*time.Second || wait > time.Minute {
			t.Errorf("leased twice: %+v, %s, %v", again, wait, err)
		}
		mail, hook := list[0], list[1]
		if err := s.Sent(ctx, mail); err != nil {
			t.Fatal(err)
		}
		// A server that was killed left the other: the next one has it at once,
		// with the same token, and the first one's word counts no more.
		next, _, err := s.Lease(ctx, 2, 10, time.Minute)
		if err != nil || len(next) != 1 || next[0].ID != hook.ID || next[0].Token != hook.Token || next[0].Token == "" || next[0].Attempts != 2 {
			t.Fatalf("the next server leased %+v, %v", next, err)
		}
		if err := s.GiveUp(ctx, hook, notify.Failed, "late"); err != nil {
			t.Fatal(err)
		}
		if err := s.GiveUp(ctx, next[0], notify.Undeliverable, "there is no such destination"); err != nil {
			t.Fatal(err)
		}
		got, err := s.Get(ctx, 1, hook.ID)
		if err != nil || got.State != notify.Undeliverable || got.LastError != "there is no such destination" || got.Notice.Subject != "Job otters failed" {
			t.Errorf("given up: %+v, %v", got, err)
		}
		if _, err := s.Retry(ctx, 1, mail.ID); wherry.CodeOf(err) != wherry.CodeInvalidState {
			t.Errorf("what was sent is tried again: %v", err)
		}
		if got, err = s.Retry(ctx, 1, hook.ID); err != nil || got.State != notify.Pending {
			t.Errorf("tried again: %+v, %v", got, err)
		}
		if _, err := s.Get(ctx, 2, hook.ID); wherry.CodeOf(err) != wherry.CodeDoesNotExist {
			t.Errorf("another workspace reads it: %v", err)
		}
		if list, err := s.List(ctx, 1, notify.Filter{State: notify.Sent, RunID: 2}); err != nil || len(list) != 1 || list[0].DoneAt == 0 {
			t.Errorf("sent: %+v, %v", list, err)
		}
		var events int
		err = db.Read(ctx, func(tx *store.Tx) error {
			return tx.Row(`SELECT count(*) FROM event WHERE kind = $1`, wherry.EventNotificationSent).Scan(&events)
		})
		if err != nil || events != 1 {
			t.Errorf("%d events, %v", events, err)
		}
	})
}

func TestLater(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := context.Background(), notify.New(db)
		n := notice("b")
		n.Destinations = nil
		if _, err := s.Send(ctx, n); err != nil {
			t.Fatal(err)
		}
		lease := func() notify.Notification {
			t.Helper()
			list, _, err := s.Lease(ctx, 1, 10, time.Minute)
			if err != nil || len(list) != 1 {
				t.Fatalf("leased %+v, %v", list, err)
			}
			return list[0]
		}
		if err := s.Later(ctx, lease(), -time.Second, time.Hour, "busy"); err != nil {
			t.Fatal(err)
		}
		second := lease()
		if second.LastError != "busy" || second.Attempts != 2 {
			t.Errorf("tried again: %+v", second)
		}
		if err := s.Later(ctx, second, time.Minute, time.Hour, "busy"); err != nil {
			t.Fatal(err)
		}
		if list, wait, err := s.Lease(ctx, 1, 10, time.Minute); err != nil || len(list) != 0 || wait < 50*time.Second || wait > time.Minute {
			t.Errorf("leased %+v before its time, wait %s, %v", list, wait, err)
		}
		if err := s.Later(ctx, second, 2*time.Hour, time.Hour, "still busy"); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Get(ctx, 1, second.ID); err != nil || got.State != notify.Failed || got.DoneAt == 0 || got.LastError != "still busy" {
			t.Errorf("after its time: %+v, %v", got, err)
		}
	})
}

func TestDestinations(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		ctx, s := context.Background(), notify.New(db)
		team := notify.StoredDestination{ID: notify.NewDestinationID(), WorkspaceID: 1, Name: "team", Kind: "EMAIL", Addresses: []string{"a@example.com", "b@example.com"}, Sealed: []byte{1}}
		if err := s.CreateDestination(ctx, team); err != nil {
			t.Fatal(err)
		}
		n := notice("c")
		n.Emails, n.Destinations = []string{"a@example.com"}, []string{team.ID}
		list, err := s.Send(ctx, n) // the address that is named twice is told once
		if err != nil || len(list) != 2 || list[1].Address != "b@example.com" || list[1].Destination != "team" {
			t.Errorf("sent %+v, %v", list, err)
		}
		d, err := s.UpdateDestination(ctx, 1, team.ID, func(d *notify.StoredDestination) error { d.Name = "the team"; return nil })
		if err != nil || d.Name != "the team" || len(d.Addresses) != 2 || len(d.Sealed) != 1 {
			t.Errorf("updated %+v, %v", d, err)
		}
		if list, err := s.Destinations(ctx, 1, 0, 10); err != nil || len(list) != 1 || list[0].Name != "the team" {
			t.Errorf("listed %+v, %v", list, err)
		}
		if err := s.DeleteDestination(ctx, 2, team.ID); wherry.CodeOf(err) != wherry.CodeDoesNotExist {
			t.Errorf("another workspace deletes it: %v", err)
		}
		if err := s.DeleteDestination(ctx, 1, team.ID); err != nil {
			t.Error(err)
		}
		if _, err := s.Destination(ctx, 1, team.ID); wherry.CodeOf(err) != wherry.CodeDoesNotExist {
			t.Errorf("deleted: %v", err)
		}
	})
}
