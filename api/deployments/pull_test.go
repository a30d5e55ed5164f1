package deployments_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api/deployments"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/bundle"
	"github.com/wherry-ml/wherry/bundle/deploy"
	"github.com/wherry-ml/wherry/client"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/cicd"
	"github.com/wherry-ml/wherry/store/git"
	"github.com/wherry-ml/wherry/store/storetest"
	"github.com/wherry-ml/wherry/workflow"
)

// reviews is a site with repositories that have pull requests.
type reviews struct {
	*site
	repos *git.Store
}

func (s *reviews) repo(name, forkOf, origin string) git.Repo {
	s.t.Helper()
	r, err := s.repos.Create(context.Background(), git.Repo{WorkspaceID: 1, Name: name, DefaultBranch: "main", ForkOf: forkOf, OriginURL: origin}, nil)
	check(s.t, err)
	return r
}

func (s *reviews) pull(into, from git.Repo, head string) git.PullRequest {
	s.t.Helper()
	p, err := s.repos.OpenPull(context.Background(), into, git.PullRequest{Title: "t", Base: "main", Head: head, HeadRepoID: from.ID, Author: "ada"})
	check(s.t, err)
	return p
}

// deployTo deploys a bundle of the name from a clone of origin.
func (s *reviews) deployTo(c *client.Client, name, namespace, origin string) error {
	s.t.Helper()
	dir := s.t.TempDir()
	write(s.t, dir, map[string]string{"databricks.yml": strings.ReplaceAll(goneBundle, "NAME", name), "a.py": "a"})
	b, err := bundle.Load(context.Background(), bundle.Options{Dir: dir, Namespace: namespace})
	check(s.t, err)
	b.Git.OriginURL = origin
	_, err = deploy.Deploy(context.Background(), c, b, deploy.Options{StandIns: true})
	return err
}

func (s *reviews) has(when string, names ...string) {
	s.t.Helper()
	want := map[string]string{}
	for _, n := range names {
		want[n] = ""
	}
	if got := s.jobs(); !maps.Equal(got, want) {
		s.t.Errorf("%s: jobs %v, want %v", when, got, want)
	}
}

// TestPullRequestEnds: what was deployed to the namespace of a pull request goes
// when it ends, though its deployer is gone and the server was killed half-way;
// that of another pull request, another repository or none stays.
func TestPullRequestEnds(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s, ctx := &reviews{site: newSiteOn(t, db), repos: git.New(db)}, context.Background()
		app, other, mirror := s.repo("app", "", ""), s.repo("other", "", ""), s.repo("mirror", "", "https://forge.example.com/team/mirror.git")
		first, second := s.pull(app, app, "one"), s.pull(app, app, "two")
		s.pull(other, other, "one")
		eve, hers := s.user("eve@example.com")
		own := s.client.URL + "/git/"
		check(t, s.deployTo(hers, "app", "pr-1", own+"app.git"))
		check(t, s.deployTo(s.client, "app", "pr-2", strings.Replace(own, "127.0.0.1", "localhost", 1)+"app"))
		check(t, s.deployTo(s.client, "app", "", own+"app.git"))
		check(t, s.deployTo(s.client, "other", "pr-1", own+"other.git"))
		check(t, s.deployTo(s.client, "mirrored", "pr-1", "git@forge.example.com:team/mirror.git"))
		check(t, s.deployTo(s.client, "foreign", "pr-1", "https://elsewhere.example.com/git/app.git"))
		check(t, s.service.EndPulls(ctx))
		s.has("all are open", "[pr-1] app", "[pr-2] app", "app", "[pr-1] other", "[pr-1] mirrored", "[pr-1] foreign")

		check(t, db.Write(ctx, func(tx *store.Tx) error { return auth.RemovePrincipal(tx, eve) }))
		check(t, s.repos.ClosePull(ctx, app, first, strings.Repeat("a", 40), "grace@example.com"))
		s.service.OnStep(func(step string) error {
			if step == "destroyed" {
				return deployments.ErrKilled
			}
			return nil
		})
		check(t, s.service.EndPulls(ctx))
		s.start()
		for range 2 { // the second has nothing to do
			check(t, s.service.EndPulls(ctx))
		}
		s.has("the first was merged", "[pr-2] app", "app", "[pr-1] other", "[pr-1] mirrored", "[pr-1] foreign")
		if got := s.liveAt("Shared/app/pr-1/files/a.py"); got != "none" {
			t.Errorf("its files stay: %q", got)
		}
		s.destroyedBy("grace@example.com", "pull request 1 of app was merged", 1)
		if err := s.deployTo(s.client, "app", "pr-1", own+"app.git"); wherry.CodeOf(err) != wherry.CodeInvalidState || !strings.Contains(err.Error(), "pull request 1 of app is merged") {
			t.Errorf("a deploy to it now: %v", err)
		}

		check(t, s.repos.PutPull(ctx, mirror, git.PullRequest{Number: 1, Base: "main", Head: "x", State: git.PullOpen}, git.ActionOpened, "octocat"))
		check(t, s.repos.PutPull(ctx, mirror, git.PullRequest{Number: 1, Base: "main", Head: "x", State: git.PullClosed, ClosedBy: "octocat"}, git.ActionClosed, "octocat"))
		check(t, s.service.EndPulls(ctx))
		s.has("that of the forge was closed", "[pr-2] app", "app", "[pr-1] other", "[pr-1] foreign")
		s.destroyedBy("octocat", "pull request 1 of mirror was closed", 2)

		fork := s.repo("fork", "app", "")
		third := s.pull(app, fork, "idea")
		check(t, s.deployTo(s.client, "app", "pr-3", own+"fork.git"))
		check(t, s.repos.ClosePull(ctx, app, third, "", "ada"))
		reopened, err := s.repos.Pull(ctx, app, third.Number)
		check(t, err)
		check(t, s.repos.ReopenPull(ctx, app, reopened, "ada"))
		check(t, s.service.EndPulls(ctx))
		s.has("that of a fork is open again", "[pr-3] app", "[pr-2] app", "app", "[pr-1] other", "[pr-1] foreign")
		reopened, err = s.repos.Pull(ctx, app, third.Number)
		check(t, err)
		check(t, s.repos.ClosePull(ctx, app, reopened, "", "ada"))
		check(t, s.repos.ClosePull(ctx, app, second, "", "ada"))
		check(t, s.service.EndPulls(ctx))
		s.has("at the end", "app", "[pr-1] other", "[pr-1] foreign")
	})
}

// TestPullRequestOfAWorkflow: what a workflow of a pull request deploys to a root
// path that names it belongs to the workflow's repository, wherever its folder
// says that it is from, and goes with the pull request.
func TestPullRequestOfAWorkflow(t *testing.T) {
	s, ctx := &reviews{site: newSite(t)}, context.Background()
	s.repos = git.New(s.db)
	app, other := s.repo("app", "", ""), s.repo("other", "", "")
	first, theirs := s.pull(app, app, "one"), s.pull(other, other, "one")
	run := &cicd.Record{Run: &workflow.Run{WorkspaceID: 1, Repo: "app", Name: "review", Path: "review.yml", Attempt: 1, State: workflow.Running}, RepoID: app.ID}
	check(t, s.db.Write(ctx, func(tx *store.Tx) error { return cicd.Insert(tx, run) }))
	t.Setenv("GITHUB_REF", "refs/pull/1/merge")
	t.Setenv(wherry.CIRunEnv, "a proof")
	s.ciRun = fmt.Sprintf("%d/1/deploy", run.ID)
	check(t, s.deployTo(s.client, "pr-1", "", s.client.URL+"/git/other.git")) // to /Workspace/Shared/pr-1
	check(t, s.deployTo(s.client, "shared", "", s.client.URL+"/git/other.git"))
	s.ciRun = ""
	check(t, s.repos.ClosePull(ctx, other, theirs, "", "ada"))
	check(t, s.service.EndPulls(ctx))
	s.has("another repository's was closed", "pr-1", "shared")
	check(t, s.repos.ClosePull(ctx, app, first, "", "ada"))
	check(t, s.service.EndPulls(ctx))
	s.has("its own was closed", "shared")
}

// destroyedBy checks the newest event of a destroyed deployment and how many
// there are, and what the history says.
func (s *reviews) destroyedBy(who, why string, n int) {
	s.t.Helper()
	var actor, doc string
	check(s.t, s.db.Read(context.Background(), func(tx *store.Tx) error {
		return tx.Row(`SELECT actor, payload FROM event WHERE kind = $1 ORDER BY id DESC LIMIT 1`, wherry.EventDestroyed).Scan(&actor, &doc)
	}))
	var said struct {
		Note string
		ID   string `json:"deployment_id"`
	}
	check(s.t, json.Unmarshal([]byte(doc), &said))
	if actor != who || said.Note != why || s.events(wherry.EventDestroyed) != n {
		s.t.Errorf("the event: by %s, %s", actor, doc)
	}
	h, err := deploy.History(context.Background(), s.client, said.ID)
	check(s.t, err)
	if v := h.Versions[0]; v.Type != "destroy" || v.Status != "success" || v.CreatedBy != who || v.Note != why || h.Versions[len(h.Versions)-1].Live {
		s.t.Errorf("the history: %+v", h.Versions)
	}
}
