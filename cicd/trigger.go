package cicd

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wherry-ml/wherry"
	hosting "github.com/wherry-ml/wherry/cicd/git"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/cicd"
	"github.com/wherry-ml/wherry/store/git"
	"github.com/wherry-ml/wherry/workflow"
)

// occasion is an event of a repository at a commit, and what is needed to start
// runs for it.
type occasion struct {
	repo   git.Repo
	event  workflow.Event
	actor  string
	status string // the commit whose checks the runs are
	fork   bool
	commit hosting.Commit
	author string // e-mail address of who is told, "" for the commit's author
	title  string // of the runs, unless they have a run-name
	base   string // the commit that the changes are against
	pull   int64  // number of the pull request, 0 for none
	only   string // path of the one workflow to start, "" for all that the event starts
}

// maxTitle bounds the title of a run that is a pull request's, as GitHub does there.
const maxTitle = 256

// handle starts the runs that a trigger asks for, and takes it from the queue,
// in one transaction.
func (s *Service) handle(ctx context.Context, t git.Trigger) error {
	var list []*cicd.Record
	var schedules []cicd.Schedule
	var files workflow.Files
	o, ok, err := s.occasion(ctx, t)
	if err != nil {
		return err
	}
	if ok {
		if files, list, err = s.runs(ctx, o); err != nil {
			return err
		}
		if t.Push != nil && o.event.Branch() == o.repo.DefaultBranch {
			schedules = cronsOf(o.repo, files)
		}
	}
	return s.cfg.Store.DB().Write(ctx, func(tx *store.Tx) error {
		first, err := git.Handled(tx, t.ID)
		if err != nil || !first || !ok {
			return err
		}
		if t.Push != nil && o.event.Branch() == o.repo.DefaultBranch {
			if err := cicd.SetSchedules(tx, o.repo.ID, schedules); err != nil {
				return err
			}
		}
		return s.insert(tx, o, files, list)
	})
}

// occasion is what a trigger means to workflows; ok is false if nothing.
func (s *Service) occasion(ctx context.Context, t git.Trigger) (o occasion, ok bool, err error) {
	o = occasion{repo: t.Repo, actor: t.Actor}
	switch {
	case t.Actor == s.bot.UserName: // a job's own push starts nothing, as on GitHub: else one that commits goes round for ever
		return o, false, nil
	case t.Push != nil:
		p := t.Push
		if p.New == git.Zero || !strings.HasPrefix(p.Ref, "refs/heads/") && !strings.HasPrefix(p.Ref, "refs/tags/") {
			return o, false, nil
		}
		sha, err := s.cfg.Hosting.Resolve(ctx, t.Repo, p.New) // an annotated tag's commit
		if err != nil {
			return o, false, nil //nolint:nilerr // it is no commit, or gone meanwhile
		}
		o.event = workflow.Event{Name: "push", Ref: p.Ref, SHA: sha, Before: p.Old}
		o.status, o.base = sha, p.Old
	case t.Pull != nil:
		p := t.Pull
		o.event = workflow.Event{Name: "pull_request", Action: t.Action, Ref: fmt.Sprintf("refs/pull/%d/merge", p.Number), SHA: p.MergeSHA, BaseRef: p.Base, HeadRef: p.Head}
		if o.event.SHA == "" && t.Action != git.ActionClosed { // branches that cannot be merged start nothing
			return o, false, nil
		}
		if t.Action == git.ActionClosed {
			s.closed(ctx, t.Repo, *p, &o.event)
		}
		o.status, o.base, o.fork, o.pull = p.HeadSHA, p.BaseSHA, p.Fork(), p.Number
		o.title = clip(strings.Join(strings.Fields(p.Title), " "), maxTitle)
	default:
		return o, false, nil
	}
	if o.commit, err = s.cfg.Hosting.Commit(ctx, t.Repo, o.event.SHA); err != nil {
		return o, false, nil //nolint:nilerr // gone meanwhile
	}
	if o.event.Paths, err = s.cfg.Hosting.Differing(ctx, t.Repo, o.base, o.event.SHA); err != nil {
		return o, false, err
	}
	message := o.commit.Message
	if o.status != o.event.SHA { // the server made the merge, somebody else the pull request's head
		if head, err := s.cfg.Hosting.Commit(ctx, t.Repo, o.status); err == nil {
			o.author, message = head.Email, head.Message
		}
	}
	o.event.Payload, err = json.Marshal(s.payload(o, t))
	return o, !skipped(message), err
}

// closed says where a workflow of a pull request that has ended is: at its head,
// or, if it was merged, on the branch that has it now, as on GitHub. What a
// mirror has not fetched yet is not there.
func (s *Service) closed(ctx context.Context, r git.Repo, p git.PullRequest, e *workflow.Event) {
	e.SHA = p.HeadSHA
	if p.State != git.PullMerged {
		return
	}
	if _, err := s.cfg.Hosting.Commit(ctx, r, p.MergeSHA); err == nil {
		e.Ref, e.SHA = "refs/heads/"+p.Base, p.MergeSHA
	}
}

// skipped are commits that ask for no workflow, in the words that GitHub reads.
func skipped(message string) bool {
	return slices.ContainsFunc([]string{"[skip ci]", "[ci skip]", "[no ci]", "[skip actions]", "[actions skip]"}, func(s string) bool { return strings.Contains(message, s) })
}

// payload is github.event, as far as workflows read it.
func (s *Service) payload(o occasion, t git.Trigger) map[string]any {
	name := s.cfg.Owner + "/" + o.repo.Name
	p := map[string]any{
		"repository": map[string]any{"id": o.repo.ID, "name": o.repo.Name, "full_name": name, "default_branch": o.repo.DefaultBranch, "html_url": s.cfg.URL + "/" + name, "owner": map[string]any{"login": s.cfg.Owner, "name": s.cfg.Owner}},
		"sender":     map[string]any{"login": o.actor},
	}
	commit := map[string]any{"id": o.commit.SHA, "tree_id": o.commit.Tree, "message": o.commit.Message, "timestamp": o.commit.At, "author": map[string]any{"name": o.commit.Author, "email": o.commit.Email}}
	if t.Push != nil {
		p["ref"], p["before"], p["after"], p["forced"], p["deleted"], p["created"] = t.Push.Ref, t.Push.Old, t.Push.New, t.Push.Forced, false, t.Push.Old == git.Zero
		p["head_commit"], p["commits"] = commit, []any{commit}
		p["pusher"] = map[string]any{"name": o.actor, "email": o.commit.Email}
	}
	if t.Pull != nil {
		r := t.Pull
		head := o.repo.Name
		if r.HeadRepo != "" {
			head = r.HeadRepo
		}
		state := r.State
		if state == git.PullMerged { // which is closed, and merged, to GitHub
			state = git.PullClosed
		}
		p["action"], p["number"] = t.Action, r.Number
		p["pull_request"] = map[string]any{
			"number": r.Number, "title": r.Title, "body": r.Body, "state": state, "merged": r.State == git.PullMerged, "merge_commit_sha": r.MergeSHA, "user": map[string]any{"login": r.Author},
			"head": map[string]any{"ref": r.Head, "sha": r.HeadSHA, "repo": map[string]any{"full_name": s.cfg.Owner + "/" + head, "fork": r.HeadRepo != ""}},
			"base": map[string]any{"ref": r.Base, "sha": r.BaseSHA, "repo": map[string]any{"full_name": name}},
		}
	}
	return p
}

// runs makes, and does not store, the runs of an occasion. A file with mistakes
// gives a run that could not start, and does not hold up the others.
func (s *Service) runs(ctx context.Context, o occasion) (files workflow.Files, list []*cicd.Record, err error) {
	if files, err = s.cfg.Hosting.Files(ctx, o.repo, o.event.SHA, ".github"); err != nil {
		return nil, nil, err
	}
	for _, name := range files.Paths() {
		if o.only != "" && o.only != name {
			continue
		}
		r := s.record(o, name)
		started := false
		err := guarded(func() error { started = s.open(o, files, r); return nil })
		if err != nil {
			r.refuse([]workflow.Problem{{Path: name, Line: 1, Column: 1, Message: err.Error()}})
		}
		if started || err != nil {
			list = append(list, r.Record)
		}
	}
	return files, list, nil
}

// open makes a run of its file, if the occasion starts it; the file's mistakes
// make it one that could not start.
func (s *Service) open(o occasion, files workflow.Files, r newRun) (started bool) {
	name := r.Path
	w, problems := workflow.Parse(name, files[name])
	switch {
	case w == nil && (o.event.Name == "push" || o.only != ""):
		r.refuse(problems)
	case w == nil || o.only == "" && !w.Triggered(o.event):
		return false
	default:
		if problems, _ = w.Check(files, s.cfg.Tools().Machine(), nil); len(problems) > 0 {
			r.Name = w.Name
			r.refuse(problems)
		} else if err := w.Open(r.Run); err != nil {
			r.refuse([]workflow.Problem{{Path: name, Line: 1, Column: 1, Message: err.Error()}})
		}
	}
	return true
}

// newRun is a run that is not stored yet.
type newRun struct{ *cicd.Record }

func (s *Service) record(o occasion, path string) newRun {
	now := time.Now().UnixMilli()
	return newRun{&cicd.Record{
		Run: &workflow.Run{
			WorkspaceID: o.repo.WorkspaceID, Repo: o.repo.Name, Owner: s.cfg.Owner, Path: path, Name: path, Title: cmp.Or(o.title, o.commit.Subject), Event: o.event, Actor: o.actor,
			Attempt: 1, State: workflow.Queued, Fork: o.fork, CreatedAt: now, QueuedAt: now, ServerURL: s.cfg.URL, RetentionDays: s.cfg.Retention.ArtifactDays,
		},
		RepoID: o.repo.ID, StatusSHA: o.status,
	}}
}

// refuse ends a run that can not start.
func (r newRun) refuse(problems []workflow.Problem) {
	var lines []string
	for _, p := range problems {
		lines = append(lines, p.String())
	}
	r.State, r.Conclusion, r.Message, r.EndedAt = workflow.Completed, workflow.StartupFailure, strings.Join(lines, "\n"), r.CreatedAt
}

func (s *Service) insert(tx *store.Tx, o occasion, files workflow.Files, list []*cicd.Record) error {
	digest, err := cicd.Keep(tx, files)
	if err != nil {
		return err
	}
	for _, r := range list {
		r.Files = digest
		if err := cicd.Insert(tx, r); err != nil {
			return err
		}
		err := s.emit(tx, r, wherry.EventCIRunStarted, o.actor, map[string]any{
			"repo": r.Repo, "origin_url": s.origin(o.repo), "workflow": r.Name, "path": r.Path, "event": o.event.Name, "ref": o.event.Ref, "sha": o.event.SHA, "base_sha": o.base,
			"pull_request": o.pull, "title": r.Title, "author": o.commit.Author + " <" + o.commit.Email + ">", "message": o.commit.Subject, "actor": o.actor,
		})
		if err != nil {
			return err
		}
		if err := s.tell(tx, o.repo, r, cmp.Or(o.author, o.commit.Email)); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) origin(r git.Repo) string {
	if r.OriginURL != "" {
		return r.OriginURL
	}
	return s.cfg.URL + "/git/" + r.Name + ".git"
}

// tell sets the commit's status, and of a run that ended tells its outcome.
func (s *Service) tell(tx *store.Tx, repo git.Repo, r *cicd.Record, email string) error {
	st := git.Status{SHA: r.StatusSHA, Context: clip(r.Name, maxContext), State: git.StatePending, Description: "queued", Path: Page(r.ID), Actor: botName}
	switch {
	case r.State == workflow.Running:
		st.Description = "in progress"
	case r.State == workflow.Waiting:
		st.Description = "waits for an approval"
	case r.State != workflow.Completed:
	case workflow.Passed(r.Conclusion): // skipped is no success, but as on GitHub it holds nobody up
		st.State, st.Description = git.StateSuccess, r.Conclusion
	case r.Conclusion == workflow.Failure:
		st.State, st.Description = git.StateFailure, failure(r.Run)
	default:
		st.State, st.Description = git.StateError, r.Conclusion
	}
	st.Description = clip(st.Description, maxDescription)
	if len(st.SHA) == 40 {
		if err := git.SetStatus(tx, repo, st); err != nil {
			return err
		}
	}
	if r.State != workflow.Completed {
		return nil
	}
	return tellOutcome(tx, repo, r, email)
}

// failure says in a line what went wrong in a run.
func failure(r *workflow.Run) string {
	if r.Message != "" {
		first, _, _ := strings.Cut(r.Message, "\n")
		return first
	}
	for _, j := range r.Jobs {
		if j.Conclusion == workflow.Failure || j.Conclusion == workflow.TimedOut {
			if j.Message != "" {
				return j.Name + ": " + j.Message
			}
			return j.Name + " failed"
		}
	}
	return r.Conclusion
}

// remarks are what a pusher sees. The runs are made after the push is recorded,
// so the workflows are named that it will start.
func (s *Service) remarks(ctx context.Context, base string, repo git.Repo, pushes []git.Push) (lines []string) {
	for _, p := range pushes {
		o, ok, err := s.occasion(ctx, git.Trigger{Repo: repo, Push: &p, Actor: p.Actor})
		if err != nil || !ok {
			continue
		}
		_, list, err := s.runs(ctx, o)
		if err != nil {
			continue
		}
		for _, r := range list {
			if r.Conclusion == workflow.StartupFailure {
				lines = append(lines, r.Name+" can not run:")
				lines = append(lines, strings.Split(r.Message, "\n")...)
				continue
			}
			lines = append(lines, fmt.Sprintf("%s queued: %s/workflows?repo=%s", r.Name, base, repo.Name))
		}
	}
	return lines
}
