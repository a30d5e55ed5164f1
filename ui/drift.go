package ui

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/api/deployments"
	"github.com/wherry-ml/wherry/store/drift"
)

// driftRoutes are the pages of drift.
func (s *Service) driftRoutes() []api.Route {
	const one = "/drift/{drift}"
	return []api.Route{
		{Method: "GET", Path: "/drift", Permission: api.Read, Summary: "Page of what differs from what was deployed", Handler: api.Raw(s.drift)},
		{Method: "POST", Path: "/drift/compare", Permission: api.Write, Summary: "Compare everything deployed with what is there, from the page of drift", Handler: api.Raw(s.compareDrift)},
		{Method: "GET", Path: one, Permission: api.Read, Summary: "Page of a drift with the patch that adopts it", Handler: api.Raw(s.adoption)},
		{Method: "POST", Path: one + "/revert", Permission: api.Write, Summary: "Write the deployed settings of a drifted resource back, from its page", Handler: api.Raw(s.revertDrift)},
		{Method: "POST", Path: one + "/adopt", Permission: api.Write, Summary: "Note that the project has what drifted, from its page", Handler: api.Raw(s.adoptDrift)},
	}
}

// difference is a field that differs, as text.
type difference struct{ Path, Before, After string }

// driftView is a drift as pages show it.
type driftView struct {
	drift.Drift
	Differs []difference
}

func viewDrift(list []drift.Drift) (views []driftView) {
	for _, d := range list {
		v := driftView{Drift: d}
		for _, f := range d.Fields {
			v.Differs = append(v.Differs, difference{f.Path, settingText(f.Before), settingText(f.After)})
		}
		views = append(views, v)
	}
	return views
}

// CanRevert: Terraform's are brought back by its next apply, see the API.
func (v driftView) CanRevert() bool { return v.Source == "" && v.State != drift.Settled }

// settingText is a setting as JSON, a missing one as a word.
func settingText(v any) string {
	if v == nil {
		return "not set"
	}
	b, err := json.Marshal(v)
	if err != nil {
		return "cannot be shown"
	}
	return string(b)
}

// syncView is a deployment with what drifted from it.
type syncView struct {
	deployments.Synced
	Drifts []driftView
}

// Standing is whether it is what was deployed, by shape and word.
func (v syncView) Standing() stateView {
	if v.Sync == deployments.InSync {
		return stateView{"ok", "In sync"}
	}
	if v.Sync == deployments.Unknown {
		return stateView{"warn", "Not compared"}
	}
	return stateView{"warn", "Drifted"}
}

// Works is whether its jobs' last runs succeeded, by shape and word.
func (v syncView) Works() stateView {
	switch v.Health {
	case deployments.Healthy:
		return stateView{"ok", "Healthy"}
	case deployments.Unhealthy:
		return stateView{"failed", "Unhealthy"}
	default:
		return stateView{"queued", "Not run yet"}
	}
}

// driftList is what the page of drift shows.
type driftList struct {
	Drifted, InSync []syncView
	Infra           []driftView
	Settled         []driftView
}

// maxSettled is how many settled drifts the page lists.
const maxSettled = 20

// drift lists what differs, by deployment.
func (s *Service) drift(w http.ResponseWriter, r *http.Request) error {
	report, err := s.cfg.Deployments.Drift(r.Context(), false)
	if err != nil {
		return err
	}
	v := driftList{Infra: viewDrift(report.Infra), Settled: viewDrift(report.History[:min(maxSettled, len(report.History))])}
	for _, d := range report.Deployments {
		if d.Sync == deployments.InSync {
			v.InSync = append(v.InSync, syncView{Synced: d})
		} else {
			v.Drifted = append(v.Drifted, syncView{d, viewDrift(d.Drift)})
		}
	}
	return s.render(w, r, http.StatusOK, "drift", page{Title: "Drift", Section: "drift", Body: v})
}

func (s *Service) compareDrift(w http.ResponseWriter, r *http.Request) error {
	if _, err := form(w, r); err != nil {
		return err
	}
	if _, err := s.cfg.Deployments.Drift(r.Context(), true); err != nil {
		return err
	}
	return seeOther(w, r, "/drift")
}

// adoptionView is a drift with its patch.
type adoptionView struct {
	driftView
	*deployments.Patch
}

// adoption shows a drift with the patch of the bundle's files that has it.
func (s *Service) adoption(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r, "drift")
	if err != nil {
		return err
	}
	patch, err := s.cfg.Deployments.Patch(r.Context(), id)
	if err != nil {
		return err
	}
	v := adoptionView{viewDrift([]drift.Drift{patch.Of})[0], patch}
	return s.render(w, r, http.StatusOK, "adoption", page{Title: "Drift of " + patch.Of.Resource, Section: "drift", Body: v})
}

func (s *Service) revertDrift(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r, "drift")
	if err != nil {
		return err
	}
	if _, err := form(w, r); err != nil {
		return err
	}
	if err := s.cfg.Deployments.Revert(r, id); err != nil {
		return err
	}
	return seeOther(w, r, "/drift")
}

func (s *Service) adoptDrift(w http.ResponseWriter, r *http.Request) error {
	id, err := pathID(r, "drift")
	if err != nil {
		return err
	}
	fields, err := form(w, r)
	if err != nil {
		return err
	}
	if err := s.cfg.Deployments.Adopt(r.Context(), id, fields.Get("note")); err != nil {
		return err
	}
	return seeOther(w, r, "/drift")
}

// whoever names who did something, also nobody that was seen.
func whoever(name string) string {
	if name == "" {
		return "nobody we saw"
	}
	return name
}

// diffLine is a line of a patch: added, taken away, or neither.
type diffLine struct{ Class, Text string }

func diffLines(diff string) (lines []diffLine) {
	for line := range strings.Lines(diff) {
		l := diffLine{Text: strings.TrimSuffix(line, "\n")}
		switch {
		case strings.HasPrefix(line, "+++"), strings.HasPrefix(line, "---"), strings.HasPrefix(line, "@@"), strings.HasPrefix(line, "diff "):
			l.Class = "dim"
		case strings.HasPrefix(line, "+"):
			l.Class = "added"
		case strings.HasPrefix(line, "-"):
			l.Class = "gone"
		}
		lines = append(lines, l)
	}
	return lines
}
