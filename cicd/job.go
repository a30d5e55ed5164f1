package cicd

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/cicd"
	"github.com/wherry-ml/wherry/store/drift"
	"github.com/wherry-ml/wherry/workflow"
)

// jobRoutes are what the jobs themselves call, with the token of their attempt.
func (s *Service) jobRoutes() []api.Route {
	return []api.Route{
		{Method: "GET", Path: "/api/wherry/ci/id-token", Permission: api.Own, Summary: "An OIDC token that tells who a workflow's job is", Handler: api.JSON(s.idToken)},
		{Method: "POST", Path: "/api/wherry/ci/infra", Permission: api.Own, Summary: "Report what an apply of Terraform left, from a workflow's job", Handler: api.JSON(s.infra)},
		{Method: "GET", Path: "/api/wherry/ci/runs/{id}/artifacts", Permission: api.Own, Summary: "List the artifacts of a workflow run", Handler: api.JSON(s.artifacts)},
		{Method: "GET", Path: "/api/wherry/ci/runs/{id}/artifacts/{name}", Permission: api.Own, Summary: "Download an artifact: a tar compressed with zstd", Handler: api.Raw(s.getArtifact)},
		{Method: "PUT", Path: "/api/wherry/ci/runs/{id}/artifacts/{name}", Permission: api.Own, Summary: "Upload an artifact", Handler: api.Raw(s.putArtifact)},
		{Method: "GET", Path: "/api/wherry/ci/caches", Permission: api.Own, Summary: "List the caches that a job may use", Handler: api.JSON(s.caches)},
		{Method: "GET", Path: "/api/wherry/ci/caches/{name}", Permission: api.Own, Summary: "Restore a cache", Handler: api.Raw(s.getCache)},
		{Method: "PUT", Path: "/api/wherry/ci/caches/{name}", Permission: api.Own, Summary: "Save a cache", Handler: api.Raw(s.putCache)},
	}
}

// caller is the job that calls, with its run; anyone else is refused.
func (s *Service) caller(ctx context.Context) (*cicd.Record, *workflow.Job, error) {
	id := wherry.IdentityFrom(ctx)
	if id.RunID == 0 {
		return nil, nil, wherry.Errorf(wherry.CodePermissionDenied, "only a workflow's job may do that")
	}
	return s.cfg.Store.JobOfTask(ctx, id.RunID)
}

type tokenIn struct {
	Audience string `json:"audience"`
}

type tokenOut struct {
	Value string `json:"value"`
}

// idToken signs who the calling job is, if its permissions have id-token: write.
// The claims are those that GitHub documents.
func (s *Service) idToken(ctx context.Context, in *tokenIn) (*tokenOut, error) {
	r, j, err := s.caller(ctx)
	if err != nil {
		return nil, err
	}
	w, err := s.workflow(ctx, r)
	if err != nil {
		return nil, err
	}
	if r.Fork || w.Permissions(j.Key)["id-token"] != "write" {
		return nil, wherry.Errorf(wherry.CodePermissionDenied, "the job %s may not have an OIDC token: give it permissions: id-token: write", j.Name)
	}
	audience := in.Audience
	if audience == "" {
		audience = "https://github.com/" + r.Owner
	}
	claims := map[string]any{
		"ref": r.Event.Ref, "sha": r.Event.SHA, "repository": r.Repository(), "repository_owner": r.Owner, "workflow": r.Name, "event_name": r.Event.Name,
		"run_id": strconv.FormatInt(r.ID, 10), "run_number": strconv.FormatInt(r.Number, 10), "run_attempt": strconv.FormatInt(r.Attempt, 10), "actor": r.Actor,
		"head_ref": r.Event.HeadRef, "base_ref": r.Event.BaseRef, "job_workflow_ref": r.Repository() + "/" + r.Path + "@" + r.Event.Ref, "runner_environment": "self-hosted",
	}
	if j.Environment != "" {
		claims["environment"] = j.Environment
	}
	token, err := s.cfg.SignIn.SignActions(s.subject(r, j.Environment), audience, claims)
	return &tokenOut{Value: token}, err
}

// ownRun is the run of the path: a job may touch its own, and who is none may
// only read, those that they may see; the job is nil then.
func (s *Service) ownRun(ctx context.Context, id int64, write bool) (*cicd.Record, *workflow.Job, error) {
	who := wherry.IdentityFrom(ctx)
	if who.RunID == 0 && !write {
		r, err := s.read(ctx, who.WorkspaceID, id)
		return r, nil, err
	}
	r, j, err := s.caller(ctx)
	if err == nil && r.ID != id {
		err = wherry.Errorf(wherry.CodePermissionDenied, "a job may use the artifacts of its own run only")
	}
	return r, j, err
}

// infra stores what an apply in a job left. Which run and environment it was
// of, the token says.
func (s *Service) infra(ctx context.Context, in *drift.Infra) (*struct{}, error) {
	r, j, err := s.caller(ctx)
	if err != nil {
		return nil, err
	}
	if r.Fork {
		return nil, wherry.Errorf(wherry.CodePermissionDenied, "a run for a fork's pull request applies nothing of %s", r.Repo)
	}
	in.Source = r.Repo + "/" + in.Source
	if j.Environment != "" {
		in.Source += "@" + j.Environment
	}
	in.RunID, in.Attempt, in.Environment, in.Commit = strconv.FormatInt(r.ID, 10), r.Attempt, j.Environment, r.Event.SHA
	return &struct{}{}, s.cfg.Drift.Applied(ctx, r.WorkspaceID, *in, r.Actor, 0)
}

type namesIn struct {
	ID     int64  `json:"id"`
	Prefix string `json:"prefix"`
}

type namesOut struct {
	Names []string      `json:"names"`
	Items []cicd.Stored `json:"items"`
}

func named(list []cicd.Stored, prefix string) *namesOut {
	out := &namesOut{Names: []string{}, Items: []cicd.Stored{}}
	for _, a := range list {
		if strings.HasPrefix(a.Name, prefix) && !slices.Contains(out.Names, a.Name) {
			out.Names, out.Items = append(out.Names, a.Name), append(out.Items, a)
		}
	}
	return out
}

func (s *Service) artifacts(ctx context.Context, in *namesIn) (*namesOut, error) {
	r, _, err := s.ownRun(ctx, in.ID, false)
	if err != nil {
		return nil, err
	}
	list, err := s.cfg.Store.Artifacts(ctx, r.ID)
	return named(list, in.Prefix), err
}

func runID(r *http.Request) (int64, error) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		return 0, wherry.Errorf(wherry.CodeInvalidParameter, "a run's id is a number")
	}
	return id, nil
}

func (s *Service) putArtifact(w http.ResponseWriter, r *http.Request) error {
	id, err := runID(r)
	if err != nil {
		return err
	}
	a := cicd.Stored{Name: r.PathValue("name")}
	rec, j, err := s.ownRun(r.Context(), id, true)
	if err == nil {
		err = s.tells(r.Context(), rec, j, a.Name)
	}
	if err != nil {
		return err
	}
	a.Job = j.Name
	if a.ExpiresAt, err = s.expires(r); err != nil {
		return err
	}
	before, err := s.cfg.Store.Artifacts(r.Context(), rec.ID)
	if err != nil {
		return err
	}
	var left int64
	var full error
	err = s.cfg.Store.DB().Read(r.Context(), func(tx *store.Tx) (err error) {
		left, full, err = s.room(tx, rec, a.Name)
		return err
	})
	if err != nil {
		return err
	}
	var stored func()
	if a.Size, a.Digest, stored, err = s.receive(w, r, left, full); err != nil {
		return err
	}
	defer func() {
		stored()
		replaced := slices.DeleteFunc(before, func(b cicd.Stored) bool { return b.Name != a.Name })
		s.release(context.WithoutCancel(r.Context()), append(replaced, a))
	}()
	return s.keep(r.Context(), rec, j, a)
}

// keep records an artifact that came in, and what it holds.
func (s *Service) keep(ctx context.Context, r *cicd.Record, j *workflow.Job, a cicd.Stored) error {
	suites, err := testResults(ctx, s.file(a.Digest), resultBounds)
	if err != nil {
		suites = nil // it holds no readable results
	}
	return s.cfg.Store.DB().Write(ctx, func(tx *store.Tx) error {
		left, full, err := s.room(tx, r, a.Name)
		if err != nil {
			return err
		}
		if a.Size > left { // others came in meanwhile
			return full
		}
		if err := cicd.PutArtifact(tx, r.ID, r.Attempt, a); err != nil {
			return err
		}
		if suites != nil {
			if err := s.emit(tx, r, wherry.EventCITest, r.Actor, suites.payload(j)); err != nil {
				return err
			}
		}
		return s.emit(tx, r, wherry.EventCIArtifact, r.Actor, map[string]any{"job": j.Leg(), "name": a.Name, "sha256": a.Digest, "size": a.Size})
	})
}

// tells refuses a name that holds a secret of the job: names are shown. What is
// shorter than four characters hides nothing.
func (s *Service) tells(ctx context.Context, r *cicd.Record, j *workflow.Job, name string) error {
	secrets, err := s.secrets(ctx, r, j.Environment)
	for _, value := range secrets {
		for line := range strings.SplitSeq(value, "\n") {
			if line = strings.TrimSpace(line); len(line) >= 4 && strings.Contains(name, line) {
				return wherry.Errorf(wherry.CodeInvalidParameter, "the name holds a secret of this job, and names are shown")
			}
		}
	}
	return err
}

func (s *Service) getArtifact(w http.ResponseWriter, r *http.Request) error {
	id, err := runID(r)
	if err != nil {
		return err
	}
	rec, _, err := s.ownRun(r.Context(), id, false)
	if err != nil {
		return err
	}
	f, err := s.openArtifact(r.Context(), rec, r.PathValue("name"))
	if err != nil {
		return err
	}
	return send(w, f)
}

// openArtifact opens an artifact of a run. No bytes are deleted meanwhile, so that
// one that is replaced is the old one or the new one.
func (s *Service) openArtifact(ctx context.Context, r *cicd.Record, name string) (*os.File, error) {
	s.storing.Lock()
	defer s.storing.Unlock()
	list, err := s.cfg.Store.Artifacts(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	return s.openFirst(list, name)
}

// openFirst opens what the first of a name holds.
func (s *Service) openFirst(list []cicd.Stored, name string) (*os.File, error) {
	i := slices.IndexFunc(list, func(c cicd.Stored) bool { return c.Name == name })
	if i < 0 {
		return nil, wherry.Errorf(wherry.CodeDoesNotExist, "there is none of the name %.200q", name)
	}
	f, err := os.Open(s.file(list[i].Digest))
	if errors.Is(err, fs.ErrNotExist) { // pruned meanwhile
		err = wherry.Errorf(wherry.CodeDoesNotExist, "%.200q was pruned", name)
	}
	return f, err
}

// send answers with a file, and closes it.
func send(w http.ResponseWriter, f *os.File) error {
	w.Header().Set("Content-Type", "application/zstd")
	_, err := io.Copy(w, f)
	return errors.Join(err, f.Close())
}

// cacheRefs are the refs whose caches a run may use: its own, that which a pull
// request goes to, and the default branch's. What a fork's run saves, only that
// pull request sees.
func (s *Service) cacheRefs(ctx context.Context, r *cicd.Record) ([]string, error) {
	repo, err := s.cfg.Git.RepoByID(ctx, r.RepoID)
	refs := []string{r.Event.Ref}
	if r.Event.BaseRef != "" {
		refs = append(refs, "refs/heads/"+r.Event.BaseRef)
	}
	return append(refs, "refs/heads/"+repo.DefaultBranch), err
}

func (s *Service) usable(ctx context.Context) (*cicd.Record, []cicd.Stored, error) {
	r, _, err := s.caller(ctx)
	if err != nil {
		return nil, nil, err
	}
	refs, err := s.cacheRefs(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	list, err := s.cfg.Store.Caches(ctx, r.RepoID, refs...)
	return r, list, err
}

func (s *Service) caches(ctx context.Context, in *namesIn) (*namesOut, error) {
	_, list, err := s.usable(ctx)
	return named(list, in.Prefix), err
}

func (s *Service) getCache(w http.ResponseWriter, r *http.Request) error {
	rec, list, err := s.usable(r.Context())
	if err != nil {
		return err
	}
	name := r.PathValue("name")
	if i := slices.IndexFunc(list, func(c cicd.Stored) bool { return c.Name == name }); i >= 0 {
		if err := s.cfg.Store.CacheUsed(r.Context(), rec.RepoID, list[i]); err != nil {
			return err
		}
	}
	f, err := s.openFirst(list, name)
	if err != nil {
		return err
	}
	return send(w, f)
}

func (s *Service) putCache(w http.ResponseWriter, r *http.Request) error {
	rec, j, err := s.caller(r.Context())
	if err == nil {
		err = s.tells(r.Context(), rec, j, r.PathValue("name"))
	}
	if err != nil {
		return err
	}
	if rec.Fork && !strings.HasPrefix(rec.Event.Ref, "refs/pull/") { // a workflow_run, which is on the default branch
		return wherry.Errorf(wherry.CodePermissionDenied, "a run that a fork's pull request led to saves no caches of %s", rec.Event.Ref)
	}
	limit := min(maxStored, s.cfg.Retention.CacheBytes)
	size, digest, stored, err := s.receive(w, r, limit, tooLarge(r.PathValue("name"), limit))
	if err != nil {
		return err
	}
	defer stored()
	c := cicd.Stored{Name: r.PathValue("name"), Size: size, Digest: digest}
	ok, err := s.cfg.Store.PutCache(r.Context(), rec.RepoID, rec.Event.Ref, c, s.cfg.Retention.CacheBytes)
	if err == nil && !ok {
		return wherry.Errorf(wherry.CodeAlreadyExists, "%s has a cache %.200q already, of other files: a cache never changes", rec.Event.Ref, c.Name)
	}
	return err
}
