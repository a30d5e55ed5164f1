// Package jobs serves the Jobs API in its versions 2.0, 2.1 and 2.2, and the
// calls with which a task talks of its run (task values, notebook runs).
package jobs

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/cron"
	"github.com/wherry-ml/wherry/state"
	db "github.com/wherry-ml/wherry/store"
	store "github.com/wherry-ml/wherry/store/jobs"
)

// Service serves the API.
type Service struct {
	store *store.Store
	dir   state.Dir
	// Permit checks the access_control_list of a new job, and returns what stores
	// it in the transaction of the job; nil ignores lists.
	Permit func(ctx context.Context, list json.RawMessage) (also func(tx *db.Tx, jobID int64) error, err error)
}

// New returns the service.
func New(s *store.Store, dir state.Dir) *Service { return &Service{store: s, dir: dir} }

// Routes lists the calls of all versions.
func (s *Service) Routes() []api.Route {
	routes := []api.Route{
		{Method: "POST", Path: "/api/wherry/task-values", Permission: api.Own, Summary: "Set a task value", Handler: api.JSON(s.setValue)},
		{Method: "GET", Path: "/api/wherry/task-values", Permission: api.Own, Summary: "Get a task value", Handler: api.JSON(s.getValue)},
		{Method: "POST", Path: "/api/wherry/notebook-run", Permission: api.Own, Summary: "Run another notebook (dbutils.notebook.run)", Handler: api.JSON(s.notebookRun)},
		{Method: "POST", Path: "/api/wherry/notebook-run/cancel", Permission: api.Own, Summary: "Cancel a notebook run", Handler: api.JSON(s.cancelNotebookRun)},
		{Method: "GET", Path: "/api/wherry/jobs/workspaces", Permission: api.Read, Summary: "Which workspace a run or a job is in, or which have jobs", Handler: api.JSON(s.workspaces)},
	}
	for _, v := range []version{{"2.0", false}, {"2.1", false}, {"2.2", true}} {
		routes = append(routes, s.routes(v)...)
	}
	return routes
}

// version is one version of the API: 2.2 pages inside of objects and queues
// runs by default.
type version struct {
	name  string
	paged bool
}

func (s *Service) routes(v version) []api.Route {
	base := "/api/" + v.name + "/jobs/"
	return []api.Route{
		{Method: "POST", Path: base + "create", Permission: api.Write, Summary: "Create a job", Handler: api.JSON(with(v, s.create))},
		{Method: "POST", Path: base + "reset", Permission: api.Write, Summary: "Replace a job's settings", Handler: api.JSON(with(v, s.reset))},
		{Method: "POST", Path: base + "update", Permission: api.Write, Summary: "Change a job's settings", Handler: api.JSON(with(v, s.update))},
		{Method: "POST", Path: base + "delete", Permission: api.Write, Summary: "Delete a job", Handler: api.JSON(s.delete)},
		{Method: "GET", Path: base + "get", Permission: api.Read, Summary: "Get a job", Handler: api.JSON(with(v, s.get))},
		{Method: "GET", Path: base + "list", Permission: api.Read, Summary: "List jobs", Handler: api.JSON(with(v, s.list))},
		{Method: "POST", Path: base + "run-now", Permission: api.Write, Summary: "Run a job", Handler: api.JSON(s.runNow)},
		{Method: "POST", Path: base + "runs/submit", Permission: api.Write, Summary: "Run tasks without saving a job", Handler: api.JSON(with(v, s.submit))},
		{Method: "GET", Path: base + "runs/get", Permission: api.Own, Summary: "Get a run", Handler: api.JSON(with(v, s.getRun))},
		{Method: "GET", Path: base + "runs/list", Permission: api.Own, Summary: "List runs", Handler: api.JSON(with(v, s.listRuns))},
		{Method: "GET", Path: base + "runs/get-output", Permission: api.Own, Summary: "Get the output of a task run", Handler: api.JSON(s.output)},
		{Method: "GET", Path: base + "runs/export", Permission: api.Own, Summary: "Export the executed notebook of a run", Handler: api.JSON(s.export)},
		{Method: "POST", Path: base + "runs/cancel", Permission: api.Write, Summary: "Cancel a run", Handler: api.JSON(s.cancel)},
		{Method: "POST", Path: base + "runs/cancel-all", Permission: api.Write, Summary: "Cancel all runs of a job", Handler: api.JSON(s.cancelAll)},
		{Method: "POST", Path: base + "runs/delete", Permission: api.Write, Summary: "Delete a run", Handler: api.JSON(s.deleteRun)},
		{Method: "POST", Path: base + "runs/repair", Permission: api.Write, Summary: "Run tasks of a run again", Handler: api.JSON(s.repair)},
	}
}

// with gives a handler the version that it serves.
func with[In, Out any](v version, fn func(context.Context, version, *In) (*Out, error)) func(context.Context, *In) (*Out, error) {
	return func(ctx context.Context, in *In) (*Out, error) { return fn(ctx, v, in) }
}

type jobID struct {
	JobID wherry.Int64 `json:"job_id"`
}

// prepare takes out of the document what is not a setting, checks the settings,
// and finds out who the job runs as.
func (s *Service) prepare(ctx context.Context, settings *wherry.JobSettings, caller wherry.Principal) (wherry.Principal, error) {
	if err := settings.Validate(); err != nil {
		return caller, err
	}
	if c := settings.Schedule; c != nil {
		if err := checkSchedule(c); err != nil {
			return caller, err
		}
	}
	as, err := s.runAs(ctx, settings.RunAs, caller)
	if err != nil {
		return as, err
	}
	// Who may write jobs and is no admin (a manager of a workspace, a run that an
	// admin started) would else become whoever they name.
	if id := wherry.IdentityFrom(ctx); !id.Admin && as.ID != id.Principal.ID {
		return as, wherry.Errorf(wherry.CodePermissionDenied, "only admins may let a job run as someone else: %s may name only themselves in run_as, and not change what runs as %s", id.UserName, as.UserName)
	}
	return as, nil
}

// runAs is the principal that a job's settings name, else the caller.
func (s *Service) runAs(ctx context.Context, r *wherry.RunAs, caller wherry.Principal) (wherry.Principal, error) {
	switch {
	case r == nil:
		return caller, nil
	case r.GroupName != "":
		return caller, wherry.NotImplemented("run_as a group")
	case r.UserName != "":
		return s.store.Principal(ctx, r.UserName)
	case r.ServicePrincipalName != "":
		return s.store.Principal(ctx, r.ServicePrincipalName)
	}
	return caller, nil
}

func checkSchedule(c *wherry.CronSchedule) error {
	schedule, err := cron.Parse(c.Expression)
	if err != nil {
		return wherry.Errorf(wherry.CodeInvalidParameter, "schedule.quartz_cron_expression: %v", err)
	}
	if schedule.Dense(10 * time.Second) {
		return wherry.Errorf(wherry.CodeInvalidParameter, "schedule.quartz_cron_expression: %q fires more often than every 10 seconds", c.Expression)
	}
	if _, err := cron.Zone(c.Timezone); err != nil {
		return wherry.Errorf(wherry.CodeInvalidParameter, "schedule.timezone_id: %v", err)
	}
	return nil
}

// notSettings are fields of create and submit that are not kept with the job.
var notSettings = []string{"access_control_list", "idempotency_token", "job_id"}

func (s *Service) create(ctx context.Context, v version, in *wherry.JobSettings) (*jobID, error) {
	if in.Raw == nil {
		in.Raw = json.RawMessage("{}")
	}
	var extra struct {
		ACL json.RawMessage `json:"access_control_list"`
	}
	if err := json.Unmarshal(in.Raw, &extra); err != nil {
		return nil, err
	}
	settings, err := in.Merge(nil, notSettings)
	if err != nil {
		return nil, err
	}
	if v.paged {
		if settings, err = settings.With("queue", json.RawMessage(`{"enabled":true}`)); err != nil {
			return nil, err
		}
	}
	id := wherry.IdentityFrom(ctx)
	runAs, err := s.prepare(ctx, settings, id.Principal)
	if err != nil {
		return nil, err
	}
	permit := func(*db.Tx, int64) error { return nil }
	if s.Permit != nil && len(extra.ACL) > 0 {
		if permit, err = s.Permit(ctx, extra.ACL); err != nil {
			return nil, err
		}
	}
	j := &wherry.Job{WorkspaceID: id.WorkspaceID, Creator: id.UserName, RunAs: runAs, Settings: *settings}
	if err := s.store.Create(ctx, j, permit); err != nil {
		return nil, err
	}
	return &jobID{wherry.Int64(j.ID)}, nil
}

type changeIn struct {
	JobID          wherry.Int64    `json:"job_id"`
	NewSettings    json.RawMessage `json:"new_settings"`
	FieldsToRemove []string        `json:"fields_to_remove"`
}

func (s *Service) reset(ctx context.Context, v version, in *changeIn) (*api.Empty, error) {
	if len(in.NewSettings) == 0 {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "new_settings is missing")
	}
	return s.change(ctx, int64(in.JobID), func(*wherry.JobSettings) (*wherry.JobSettings, error) {
		settings := &wherry.JobSettings{}
		if err := json.Unmarshal(in.NewSettings, settings); err != nil {
			return nil, wherry.Errorf(wherry.CodeInvalidParameter, "new_settings: %v", err)
		}
		if !v.paged {
			return settings, nil
		}
		return settings.With("queue", json.RawMessage(`{"enabled":true}`))
	})
}

func (s *Service) update(ctx context.Context, _ version, in *changeIn) (*api.Empty, error) {
	return s.change(ctx, int64(in.JobID), func(old *wherry.JobSettings) (*wherry.JobSettings, error) {
		return old.Merge(in.NewSettings, in.FieldsToRemove)
	})
}

// change replaces a job's settings by what edit makes of them, once they are
// valid.
func (s *Service) change(ctx context.Context, id int64, edit func(*wherry.JobSettings) (*wherry.JobSettings, error)) (*api.Empty, error) {
	who := wherry.IdentityFrom(ctx)
	old, err := s.store.Job(ctx, who.WorkspaceID, id)
	if err != nil {
		return nil, err
	}
	for { // settled by version: prepare reads the store, and so stands outside of the transaction
		settings, err := edit(&old.Settings)
		if err != nil {
			return nil, err
		}
		base := old.RunAs
		if old.Settings.RunAs != nil && settings.RunAs == nil { // back to who made the job
			if base, err = s.store.Principal(ctx, old.Creator); err != nil {
				return nil, err
			}
		}
		runAs, err := s.prepare(ctx, settings, base)
		if err != nil {
			return nil, err
		}
		moved := false
		err = s.store.Update(ctx, who.WorkspaceID, id, func(j *wherry.Job) error {
			if moved = j.Version != old.Version; moved {
				old = j
				return wherry.Errorf(wherry.CodeConflict, "the job was changed in the meantime")
			}
			j.Settings, j.RunAs = *settings, runAs
			return nil
		})
		if moved && ctx.Err() == nil {
			continue
		}
		return &api.Empty{}, err
	}
}

func (s *Service) delete(ctx context.Context, in *jobID) (*api.Empty, error) {
	return &api.Empty{}, s.store.Delete(ctx, wherry.IdentityFrom(ctx).WorkspaceID, int64(in.JobID))
}

type getIn struct {
	JobID        wherry.Int64 `json:"job_id"`
	PageToken    string       `json:"page_token"`
	TriggerState bool         `json:"include_trigger_state"`
}

// jobOut is a job on the wire.
type jobOut struct {
	JobID         int64           `json:"job_id"`
	Creator       string          `json:"creator_user_name"`
	RunAs         string          `json:"run_as_user_name"`
	CreatedTime   int64           `json:"created_time"`
	Settings      json.RawMessage `json:"settings"`
	HasMore       bool            `json:"has_more,omitempty"`
	NextPageToken string          `json:"next_page_token,omitempty"`
	// NotEffective is ours: what is stored and changes nothing yet.
	NotEffective []string `json:"wherry_not_effective,omitempty"`
}

func (s *Service) get(ctx context.Context, v version, in *getIn) (*jobOut, error) {
	j, err := s.store.Job(ctx, wherry.IdentityFrom(ctx).WorkspaceID, int64(in.JobID))
	if err != nil {
		return nil, err
	}
	if err := tooLarge(v, "job", j.ID, len(j.Settings.Tasks)); err != nil {
		return nil, err
	}
	offset, err := pageOffset(in.PageToken)
	if err != nil {
		return nil, err
	}
	out, err := jobView(j, v, offset, true)
	if err != nil {
		return nil, err
	}
	out.NotEffective = j.NotEffective()
	if out.HasMore {
		out.NextPageToken = strconv.Itoa(offset + pageSize)
	}
	return out, nil
}

func jobView(j *wherry.Job, v version, offset int, expand bool) (*jobOut, error) {
	out := &jobOut{JobID: j.ID, Creator: j.Creator, RunAs: j.RunAs.UserName, CreatedTime: j.CreatedAt}
	if j.RunAs.ApplicationID != "" {
		out.RunAs = j.RunAs.ApplicationID
	}
	var err error
	out.Settings, out.HasMore, err = settingsPage(&j.Settings, v, offset, expand)
	return out, err
}

type listIn struct {
	Limit       *int   `json:"limit"`
	Offset      int    `json:"offset"`
	Name        string `json:"name"`
	ExpandTasks bool   `json:"expand_tasks"`
	PageToken   string `json:"page_token"`
}

type listOut struct {
	Jobs          []*jobOut `json:"jobs,omitempty"`
	HasMore       bool      `json:"has_more"`
	NextPageToken string    `json:"next_page_token,omitempty"`
	PrevPageToken string    `json:"prev_page_token,omitempty"`
}

func (s *Service) list(ctx context.Context, v version, in *listIn) (*listOut, error) {
	limit := 20
	if in.Limit != nil {
		limit = *in.Limit
	}
	if limit < 1 || limit > 100 {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "limit is between 1 and 100, not %d", limit)
	}
	offset := in.Offset
	if in.PageToken != "" {
		var err error
		if offset, err = pageOffset(in.PageToken); err != nil {
			return nil, err
		}
	}
	list, err := s.store.Jobs(ctx, wherry.IdentityFrom(ctx).WorkspaceID, in.Name, limit+1, offset)
	if err != nil {
		return nil, err
	}
	out := &listOut{}
	if len(list) > limit {
		list, out.HasMore, out.NextPageToken = list[:limit], true, strconv.Itoa(offset+limit)
	}
	if offset > 0 {
		out.PrevPageToken = strconv.Itoa(max(0, offset-limit))
	}
	for _, j := range list {
		view, err := jobView(j, v, 0, in.ExpandTasks)
		if err != nil {
			return nil, err
		}
		out.Jobs = append(out.Jobs, view)
	}
	return out, nil
}
