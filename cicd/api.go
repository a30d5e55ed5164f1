package cicd

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/cicd"
	"github.com/wherry-ml/wherry/workflow"
)

// Routes is the part of the route table for people and for jobs.
func (s *Service) Routes() []api.Route {
	return append([]api.Route{
		{Method: "GET", Path: "/api/wherry/ci/runs", Permission: api.Read, Summary: "List workflow runs", Handler: api.JSON(s.list)},
		{Method: "GET", Path: "/api/wherry/ci/runs/{id}", Permission: api.Own, Summary: "A workflow run with its jobs and steps", Handler: api.JSON(s.show)},
		{Method: "GET", Path: "/api/wherry/ci/runs/{id}/jobs/{job}/log", Permission: api.Own, Summary: "The output of a workflow's job, from an offset on", Handler: api.Raw(s.log)},
		{Method: "POST", Path: "/api/wherry/ci/runs/{id}/cancel", Permission: api.Write, Summary: "Cancel a workflow run", Handler: api.JSON(s.cancel)},
		{Method: "POST", Path: "/api/wherry/ci/runs/{id}/rerun", Permission: api.Write, Summary: "Run a workflow again, or its failed jobs", Handler: api.JSON(s.rerun)},
		{Method: "POST", Path: "/api/wherry/ci/dispatch", Permission: api.Write, Summary: "Start a workflow by hand", Handler: api.JSON(s.dispatch)},
		{Method: "GET", Path: "/api/wherry/ci/values", Permission: api.Admin, Summary: "List secrets' names and variables", Handler: api.JSON(s.listValues)},
		{Method: "PUT", Path: "/api/wherry/ci/values", Permission: api.Admin, Summary: "Set a secret or a variable", Handler: api.JSON(s.setValue)},
		{Method: "DELETE", Path: "/api/wherry/ci/values", Permission: api.Admin, Summary: "Delete a secret or a variable", Handler: api.JSON(s.deleteValue)},
	}, append(s.reviewRoutes(), s.jobRoutes()...)...)
}

type listIn struct {
	Repo   string `json:"repo"`
	SHA    string `json:"sha"`
	Before int64  `json:"before"`
	Limit  int    `json:"limit"`
}

type listOut struct {
	Runs []*workflow.Run `json:"runs"`
}

func (s *Service) list(ctx context.Context, in *listIn) (*listOut, error) {
	f := cicd.Filter{WorkspaceID: wherry.IdentityFrom(ctx).WorkspaceID, SHA: in.SHA, Before: in.Before, Limit: in.Limit}
	if f.Limit <= 0 || f.Limit > 200 {
		f.Limit = 30
	}
	list, err := s.Runs(ctx, f, in.Repo)
	return &listOut{Runs: list}, err
}

// Runs lists runs, of one repository if it is named, the newest first.
func (s *Service) Runs(ctx context.Context, f cicd.Filter, repo string) ([]*workflow.Run, error) {
	if repo != "" {
		found, err := s.cfg.Git.Repo(ctx, repo)
		if err != nil {
			return nil, err
		}
		f.RepoID = found.ID
	}
	list, err := s.cfg.Store.Runs(ctx, f)
	runs := []*workflow.Run{}
	for _, r := range list {
		r.Event.Payload = nil // large, and of no use in a list
		runs = append(runs, r.Run)
	}
	return runs, err
}

type idIn struct {
	ID int64 `json:"id"`
}

// Shown is a run with what belongs to it.
type Shown struct {
	*workflow.Run
	// Pending are jobs that do not exist yet, as they wait for others.
	Pending   []string        `json:"pending_jobs"`
	Approvals []cicd.Approval `json:"approvals"`
	// Undecided are the environments that wait for a reviewer; Reviews says more.
	Undecided []string `json:"undecided,omitempty"`
	Reviews   []Review `json:"-"`
	// Plan are the jobs of the workflow's file, in its order.
	Plan      []Planned     `json:"plan,omitempty"`
	Artifacts []cicd.Stored `json:"artifacts"`
}

// Planned is a job of a workflow's file, with the jobs that it waits for.
type Planned struct {
	Key   string   `json:"key"`
	Name  string   `json:"name"`
	Needs []string `json:"needs,omitempty"`
}

// TraceKey names the run in the trace.
func (s *Shown) TraceKey() string { return fmt.Sprintf("%d/%d", s.ID, s.Attempt) }

func (s *Service) show(ctx context.Context, in *idIn) (*Shown, error) {
	return s.Shown(ctx, wherry.IdentityFrom(ctx).WorkspaceID, in.ID)
}

// read reads a run that the caller may read.
func (s *Service) read(ctx context.Context, ws, id int64) (*cicd.Record, error) {
	r, err := s.cfg.Store.Run(ctx, ws, id)
	if err != nil {
		return nil, err
	}
	may, err := s.readable(ctx, r)
	if err == nil && !may {
		err = wherry.Errorf(wherry.CodePermissionDenied, "run %d is not yours: admins read it, who started it, and the reviewers of what it deploys to", id)
	}
	return r, err
}

// Shown reads a run as it stands now, the steps of jobs that run included.
func (s *Service) Shown(ctx context.Context, ws, id int64) (*Shown, error) {
	r, err := s.read(ctx, ws, id)
	if err != nil {
		return nil, err
	}
	out := &Shown{Run: r.Run, Pending: []string{}}
	if w, err := s.workflow(ctx, r); err == nil {
		for _, key := range w.Jobs() {
			out.Plan = append(out.Plan, Planned{key, w.JobName(key), w.Needs(key)})
			if r.State != workflow.Completed && !slices.ContainsFunc(r.Jobs, func(j *workflow.Job) bool { return j.Key == key }) {
				out.Pending = append(out.Pending, w.JobName(key))
			}
		}
	}
	if out.Reviews, err = s.undecided(ctx, r); err != nil {
		return nil, err
	}
	for _, v := range out.Reviews {
		out.Undecided = append(out.Undecided, v.Environment)
	}
	for _, j := range r.Jobs {
		if j.State == workflow.Running {
			if _, j.Steps, err = s.Events(j); err != nil {
				return nil, err
			}
		}
	}
	r.Event.Payload = nil
	if out.Approvals, err = s.cfg.Store.Approvals(ctx, id); err != nil {
		return nil, err
	}
	out.forgetDecided()
	out.Artifacts, err = s.cfg.Store.Artifacts(ctx, id)
	return out, err
}

// forgetDecided takes away that jobs wait for an approval which was given since:
// they go on with the next pass.
func (s *Shown) forgetDecided() {
	for _, j := range s.Jobs {
		if j.State == workflow.Waiting && !j.Approved && slices.ContainsFunc(s.Approvals, func(a cicd.Approval) bool {
			return a.Attempt == s.Attempt && strings.EqualFold(a.Environment, j.Environment)
		}) {
			j.Message = ""
		}
	}
}

// log writes what a job has written so far, from ?offset= on; X-Wherry-Offset
// says where the next begins, X-Wherry-Complete that no more will come.
func (s *Service) log(w http.ResponseWriter, r *http.Request) error {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		return wherry.Errorf(wherry.CodeInvalidParameter, "a run's id is a number")
	}
	rec, err := s.read(r.Context(), wherry.IdentityFrom(r.Context()).WorkspaceID, id)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(rec.Jobs, func(j *workflow.Job) bool {
		return strconv.FormatInt(j.ID, 10) == r.PathValue("job") || j.Name == r.PathValue("job") || j.Key == r.PathValue("job")
	})
	if i < 0 {
		return wherry.Errorf(wherry.CodeDoesNotExist, "run %d has no job %s that has begun", id, r.PathValue("job"))
	}
	j := rec.Jobs[i]
	offset, err := strconv.ParseInt(cmp.Or(r.URL.Query().Get("offset"), "0"), 10, 64)
	if err != nil || offset < 0 {
		return wherry.Errorf(wherry.CodeInvalidParameter, "offset is a number of bytes from the begin on, not %.60q", r.URL.Query().Get("offset"))
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Wherry-Complete", strconv.FormatBool(j.State == workflow.Completed))
	f, err := s.Log(j)
	if err != nil { // it has not begun
		w.Header().Set("X-Wherry-Offset", "0")
		return nil
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	end := max(offset, info.Size())
	w.Header().Set("X-Wherry-Offset", strconv.FormatInt(end, 10))
	_, err = io.Copy(w, io.NewSectionReader(f, offset, end-offset))
	return err
}

func (s *Service) cancel(ctx context.Context, in *idIn) (*Shown, error) {
	if err := s.Cancel(ctx, in.ID); err != nil {
		return nil, err
	}
	return s.Shown(ctx, wherry.IdentityFrom(ctx).WorkspaceID, in.ID)
}

// Cancel has a run end.
func (s *Service) Cancel(ctx context.Context, id int64) error {
	by := wherry.IdentityFrom(ctx)
	_, err := s.cfg.Store.Change(ctx, by.WorkspaceID, id, func(tx *store.Tx, r *cicd.Record) error {
		if r.State == workflow.Completed {
			return wherry.Errorf(wherry.CodeInvalidState, "run %d has ended: %s", r.ID, r.Conclusion)
		}
		if r.Cancel {
			return nil
		}
		r.Cancel = true
		return s.emit(tx, r, wherry.EventCIRunCancelled, by.UserName, map[string]any{"repo": r.Repo, "workflow": r.Name, "sha": r.Event.SHA})
	})
	return err
}

type rerunIn struct {
	ID     int64 `json:"id"`
	Failed bool  `json:"failed"` // only the jobs that did not succeed, and those after them
}

func (s *Service) rerun(ctx context.Context, in *rerunIn) (*Shown, error) {
	if err := s.Rerun(ctx, in.ID, in.Failed); err != nil {
		return nil, err
	}
	return s.Shown(ctx, wherry.IdentityFrom(ctx).WorkspaceID, in.ID)
}

// Rerun makes another attempt of a run that has ended: of all jobs, or of those
// that failed with all that need them.
func (s *Service) Rerun(ctx context.Context, run int64, failed bool) error {
	id := wherry.IdentityFrom(ctx)
	_, err := s.cfg.Store.Change(ctx, id.WorkspaceID, run, func(tx *store.Tx, r *cicd.Record) error {
		if r.State != workflow.Completed || !r.Settled {
			return wherry.Errorf(wherry.CodeInvalidState, "run %d has not ended", r.ID)
		}
		w, err := s.workflow(ctx, r)
		if err != nil || r.Conclusion == workflow.StartupFailure {
			return wherry.Errorf(wherry.CodeInvalidState, "run %d could not start: push a workflow that can", r.ID)
		}
		r.Jobs = slices.DeleteFunc(r.Jobs, func(j *workflow.Job) bool { return !failed || !r.Stands(w, j.Key) })
		r.Attempt++
		r.State, r.Conclusion, r.Message, r.Cancel, r.Settled, r.Actor = workflow.Queued, "", "", false, false, id.UserName
		r.StartedAt, r.EndedAt, r.QueuedAt, r.HadTurn = 0, 0, time.Now().UnixMilli(), false
		return s.emit(tx, r, wherry.EventCIRunStarted, id.UserName, map[string]any{
			"repo": r.Repo, "workflow": r.Name, "path": r.Path, "event": r.Event.Name, "ref": r.Event.Ref, "sha": r.Event.SHA, "title": r.Title, "actor": id.UserName,
		})
	})
	return err
}

type dispatchIn struct {
	Repo     string            `json:"repo"`
	Workflow string            `json:"workflow"` // file or name
	Ref      string            `json:"ref"`      // branch or tag, "" is the default branch
	Inputs   map[string]string `json:"inputs"`
}

func (s *Service) dispatch(ctx context.Context, in *dispatchIn) (*Shown, error) {
	id := wherry.IdentityFrom(ctx)
	repo, err := s.cfg.Git.Repo(ctx, in.Repo)
	if err != nil {
		return nil, err
	}
	ref := in.Ref
	if ref == "" {
		ref = repo.DefaultBranch
	}
	full := ref
	if !strings.HasPrefix(ref, "refs/") {
		full = "refs/heads/" + ref
		if _, err := s.cfg.Hosting.Resolve(ctx, repo, full); err != nil {
			full = "refs/tags/" + ref
		}
	}
	sha, err := s.cfg.Hosting.Resolve(ctx, repo, full)
	if err != nil || (workflow.Event{Ref: full}).Branch() == "" && (workflow.Event{Ref: full}).Tag() == "" { // a pull request may be a fork's
		return nil, wherry.Errorf(wherry.CodeDoesNotExist, "%s has no branch or tag %s", repo.Name, ref)
	}
	if in.Inputs == nil {
		in.Inputs = map[string]string{} // for the defaults
	}
	o := occasion{repo: repo, actor: id.UserName, status: sha, event: workflow.Event{Name: "workflow_dispatch", Ref: full, SHA: sha, Inputs: in.Inputs}}
	if o.commit, err = s.cfg.Hosting.Commit(ctx, repo, sha); err != nil {
		return nil, err
	}
	if o.only, err = s.named(ctx, o, in.Workflow); err != nil {
		return nil, err
	}
	if o.event.Payload, err = json.Marshal(map[string]any{"inputs": in.Inputs, "ref": full, "workflow": o.only, "sender": map[string]any{"login": id.UserName}}); err != nil {
		return nil, err
	}
	files, list, err := s.runs(ctx, o)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, wherry.Errorf(wherry.CodeInvalidState, "%s can not be read at %.8s: it is too large", o.only, sha)
	}
	err = s.cfg.Store.DB().Write(ctx, func(tx *store.Tx) error { return s.insert(tx, o, files, list) })
	if err != nil {
		return nil, err
	}
	return s.Shown(ctx, id.WorkspaceID, list[0].ID)
}

// named finds a workflow that can be started by hand, and checks its inputs.
func (s *Service) named(ctx context.Context, o occasion, name string) (string, error) {
	files, err := s.cfg.Hosting.Files(ctx, o.repo, o.event.SHA, workflow.Dir)
	if err != nil {
		return "", err
	}
	var names []string
	for _, p := range workflow.Files(files).Paths() {
		w, _ := workflow.Parse(p, files[p])
		if w == nil {
			continue
		}
		short := strings.TrimPrefix(p, workflow.Dir+"/")
		names = append(names, short)
		if p != name && short != name && w.Name != name && strings.TrimSuffix(strings.TrimSuffix(short, ".yml"), ".yaml") != name {
			continue
		}
		if !slices.Contains(w.Events(), "workflow_dispatch") {
			return "", wherry.Errorf(wherry.CodeInvalidState, "%s can not be started by hand: it has no on: workflow_dispatch", short)
		}
		return p, w.CheckInputs(o.event.Inputs)
	}
	return "", wherry.Errorf(wherry.CodeDoesNotExist, "there is no workflow %s: there are %s", name, strings.Join(names, ", "))
}

type valueIn struct {
	Repo        string `json:"repo"`
	Environment string `json:"environment"`
	Name        string `json:"name"`
	Value       string `json:"value"`
	Secret      bool   `json:"secret"`
}

var valueName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,254}$`)

func (s *Service) scope(ctx context.Context, in *valueIn) (string, error) {
	switch {
	case in.Repo != "" && in.Environment != "" || in.Repo == "" && in.Environment == "":
		return "", wherry.Errorf(wherry.CodeInvalidParameter, "name a repository or an environment")
	case in.Environment != "":
		return environmentScope(in.Environment), nil
	}
	repo, err := s.cfg.Git.Repo(ctx, in.Repo)
	return repoScope(repo.Name), err
}

func (s *Service) setValue(ctx context.Context, in *valueIn) (*struct{}, error) {
	scope, err := s.scope(ctx, in)
	if err != nil {
		return nil, err
	}
	name := strings.ToUpper(in.Name)
	if !valueName.MatchString(name) || strings.HasPrefix(name, "GITHUB_") {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "a name has letters, digits and _, and does not begin with a digit or GITHUB_: %.60q", in.Name)
	}
	if len(in.Value) > 48<<10 {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "a value has at most 48 KB")
	}
	if in.Secret && in.Value == "" {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "the secret %s would be empty: nothing was set; give its value as an argument or on standard input, or delete it", name)
	}
	if in.Environment != "" {
		if err := s.isEnvironment(ctx, in.Environment); err != nil {
			return nil, err
		}
	}
	id := wherry.IdentityFrom(ctx)
	v := cicd.Value{WorkspaceID: id.WorkspaceID, Scope: scope, Name: name, Secret: in.Secret, Value: in.Value, UpdatedBy: id.UserName}
	if in.Secret {
		v.Value = string(s.cfg.Key.Seal("ci:"+scope, name, []byte(in.Value)))
	}
	return &struct{}{}, s.cfg.Store.SetValue(ctx, v)
}

// isEnvironment refuses the name of an environment that there is not.
func (s *Service) isEnvironment(ctx context.Context, name string) error {
	list, err := s.cfg.Environments.List(ctx)
	if err != nil {
		return err
	}
	names := make([]string, len(list))
	for i, e := range list {
		if names[i] = e.Name; strings.EqualFold(e.Name, name) {
			return nil
		}
	}
	there := "there is none yet"
	if len(names) > 0 {
		there = "there are " + strings.Join(names, ", ")
	}
	return wherry.Errorf(wherry.CodeDoesNotExist, "there is no environment %s: %s; `wherry env set` makes one", name, there)
}

func (s *Service) deleteValue(ctx context.Context, in *valueIn) (*struct{}, error) {
	scope, err := s.scope(ctx, in)
	if err != nil {
		return nil, err
	}
	id := wherry.IdentityFrom(ctx)
	return &struct{}{}, s.cfg.Store.DeleteValue(ctx, cicd.Value{WorkspaceID: id.WorkspaceID, Scope: scope, Name: strings.ToUpper(in.Name), Secret: in.Secret, UpdatedBy: id.UserName})
}

type valuesOut struct {
	Values []cicd.Value `json:"values"`
}

func (s *Service) listValues(ctx context.Context, in *valueIn) (*valuesOut, error) {
	scope := ""
	if in.Repo != "" || in.Environment != "" {
		var err error
		if scope, err = s.scope(ctx, in); err != nil {
			return nil, err
		}
	}
	list, err := s.cfg.Store.Values(ctx, wherry.IdentityFrom(ctx).WorkspaceID, scope)
	for i := range list {
		if list[i].Secret {
			list[i].Value = ""
		}
	}
	return &valuesOut{Values: list}, err
}
