package cicd_test

import (
	"testing"

	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/cicd"
	"github.com/wherry-ml/wherry/store/storetest"
	"github.com/wherry-ml/wherry/workflow"
)

// TestDecisions: the decisions about an environment are those of the runs of a
// workspace, the newest first; the first about an attempt counts.
func TestDecisions(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := cicd.New(db)
		for i, ws := range []int64{1, 1, 2} {
			err := db.Write(t.Context(), func(tx *store.Tx) error {
				r := &cicd.Record{Run: &workflow.Run{WorkspaceID: ws, Repo: "app", Name: "cd", Path: "cd.yml", Event: workflow.Event{Name: "push", Ref: "refs/heads/main"}}, RepoID: 1}
				if err := cicd.Insert(tx, r); err != nil {
					return err
				}
				for _, decision := range []string{cicd.Approved, cicd.Rejected} {
					ok, err := cicd.Decide(tx, cicd.Approval{RunID: r.ID, Attempt: 1, Environment: "prod", Decision: decision, By: "ada"})
					if err != nil || ok != (decision == cicd.Approved) {
						t.Errorf("run %d %s: %v %v", i, decision, ok, err)
					}
				}
				_, err := cicd.Decide(tx, cicd.Approval{RunID: r.ID, Attempt: 1, Environment: "staging", Decision: cicd.Rejected, By: "ada"})
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		list, err := s.Decisions(t.Context(), 1, "prod", 10)
		if err != nil || len(list) != 2 || list[0].RunID <= list[1].RunID || list[0].Decision != cicd.Approved || list[0].Workflow != "cd" || list[0].Ref != "main" {
			t.Errorf("%v %+v", err, list)
		}
		if list, err := s.Decisions(t.Context(), 1, "prod", 1); err != nil || len(list) != 1 {
			t.Errorf("one: %v %+v", err, list)
		}
	})
}
