package ui

import (
	"strings"
	"testing"

	"github.com/wherry-ml/wherry/cicd"
	cistore "github.com/wherry-ml/wherry/store/cicd"
	"github.com/wherry-ml/wherry/workflow"
)

// TestLayCI: jobs of a matrix that have one name are jobs of their own, each
// between what it needs and what needs it.
func TestLayCI(t *testing.T) {
	shown := &cicd.Shown{
		Run: &workflow.Run{State: workflow.Running, Jobs: []*workflow.Job{
			{ID: 1, Key: "test", Name: "Tests", Total: 2, State: workflow.Completed, Conclusion: workflow.Success},
			{ID: 2, Key: "test", Name: "Tests", Total: 2, Index: 1, State: workflow.Completed, Conclusion: workflow.Failure},
		}},
		Plan: []cicd.Planned{{Key: "test", Name: "Tests"}, {Key: "tell", Name: "Tests", Needs: []string{"test"}}},
	}
	g := layCI(shown)
	if len(g.Nodes) != 3 || len(g.Edges) != 2 {
		t.Fatalf("%d nodes and %d edges: %+v", len(g.Nodes), len(g.Edges), g)
	}
	for i, want := range []string{"Succeeded", "Failed", "Waits for others"} {
		if n := g.Nodes[i]; n.View.Word != want || n.Name != "Tests" {
			t.Errorf("node %d is %s, %s", i, n.Name, n.View.Word)
		}
	}
	if g.Nodes[0].ID != 1 || g.Nodes[1].ID != 2 || g.Nodes[0].spot == g.Nodes[1].spot {
		t.Errorf("the two are one: %+v", g.Nodes)
	}
}

// TestSummaries: the summaries of all jobs share one bound; each that is cut says
// so.
func TestSummaries(t *testing.T) {
	text := strings.Repeat("words\n", maxSummaries/6/2+1000) // over half of what there is
	run := &workflow.Run{}
	for _, name := range []string{"a", "b", "c"} {
		run.Jobs = append(run.Jobs, &workflow.Job{Name: name, Steps: []workflow.Step{{Summary: text}}})
	}
	list := summaries(run)
	if len(list) != 3 || list[0].Cut || !list[1].Cut || !list[2].Cut {
		t.Fatalf("%d summaries", len(list))
	}
	words := 0
	for _, s := range list {
		words += strings.Count(string(s.HTML), "words")
	}
	if want := maxSummaries / 6; words < want-1 || words > want {
		t.Errorf("%d words are shown, want %d", words, want)
	}
	if list[2].HTML != "" {
		t.Errorf("nothing was left, and there is %.100q", list[2].HTML)
	}
}

// TestReviewOfAgain: an approval of a run that was run again says of which
// attempt it is.
func TestReviewOfAgain(t *testing.T) {
	shown := &cicd.Shown{Run: &workflow.Run{ID: 1, Attempt: 1}, Approvals: []cistore.Approval{{Attempt: 1, Environment: "prod", Decision: cistore.Approved, By: "ada"}}}
	for attempt, want := range []string{1: "prod by ada <span", 2: "prod by ada in attempt 1 <span"} {
		shown.Attempt = int64(attempt)
		list, err := New(Config{}).sections("workflow", &workflowView{Shown: shown}, "workflow-review")
		if err != nil {
			t.Fatal(err)
		}
		if text := string(list[0].HTML); !strings.Contains(text, want) {
			t.Errorf("attempt %d says %s", attempt, text)
		}
	}
}

// TestHeadOfAgain: the page of a run that was run again counts from when that
// was.
func TestHeadOfAgain(t *testing.T) {
	run := &workflow.Run{ID: 1, Attempt: 2, State: workflow.Completed, CreatedAt: 1_000, QueuedAt: 90_000_000, EndedAt: 90_002_000}
	list, err := New(Config{}).sections("workflow", &workflowView{Shown: &cicd.Shown{Run: run}}, "workflow-head")
	if err != nil {
		t.Fatal(err)
	}
	if text := string(list[0].HTML); !strings.Contains(text, "<span>2.0 s</span>") {
		t.Error(text)
	}
}
