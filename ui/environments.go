package ui

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/api/environments"
	"github.com/wherry-ml/wherry/cicd"
	cistore "github.com/wherry-ml/wherry/store/cicd"
	"github.com/wherry-ml/wherry/store/deployments"
	"github.com/wherry-ml/wherry/store/verification"
)

// environmentRoutes are the pages of environments.
func (s *Service) environmentRoutes() []api.Route {
	return []api.Route{
		{Method: "GET", Path: "/environments", Permission: api.Read, Summary: "Page of all environments with what is deployed there", Handler: api.Raw(s.environments)},
		{Method: "GET", Path: "/environments/{name}", Permission: api.Read, Summary: "Page of an environment: what is deployed, what waits, what was", Handler: api.Raw(s.environment)},
	}
}

// viewProof is the verification of a deployed version, by shape and word; no
// word where nothing has to prove it.
func viewProof(state string) stateView {
	switch state {
	case "":
		return stateView{}
	case verification.Verified:
		return stateView{"ok", "Verified"}
	case verification.Waiting:
		return stateView{"waiting", "Not proved yet"}
	case verification.RollingBack:
		return stateView{"pending", "Rolling back"}
	case verification.Superseded:
		return stateView{"skipped", "Superseded"}
	default:
		return stateView{"failed", "Failed"}
	}
}

// viewVersion is how the deploy of a version ended, by shape and word.
func viewVersion(status, reason string) stateView {
	switch {
	case status == deployments.VersionInProgress:
		return stateView{"running", "Deploying"}
	case reason == deployments.ReasonSuccess:
		return stateView{"ok", "Deployed"}
	case reason == deployments.ReasonForce:
		return stateView{"canceled", "Lock taken"}
	case reason == deployments.ReasonExpired:
		return stateView{"failed", "Broke off"}
	default:
		return stateView{"failed", "Failed"}
	}
}

// viewDecision is what a reviewer said, by shape and word.
func viewDecision(decision string) stateView {
	if decision == cistore.Approved {
		return stateView{"ok", "Approved"}
	}
	return stateView{"failed", "Rejected"}
}

// environmentRow is an environment in a list.
type environmentRow struct {
	environments.Shown
	Waiting int // runs that wait for a reviewer
}

// environments lists the environments, each with what is deployed there.
func (s *Service) environments(w http.ResponseWriter, r *http.Request) error {
	rows, err := s.environmentRows(r.Context())
	if err != nil {
		return err
	}
	return s.render(w, r, http.StatusOK, "environments", page{Title: "Environments", Section: "environments", Body: rows})
}

func (s *Service) environmentRows(ctx context.Context) ([]environmentRow, error) {
	list, err := s.cfg.Environments.List(ctx)
	if err != nil {
		return nil, err
	}
	reviews, err := s.cfg.Workflows.Reviews(ctx)
	if err != nil {
		return nil, err
	}
	rows := make([]environmentRow, 0, len(list))
	for _, e := range list {
		row := environmentRow{Shown: e}
		for _, review := range reviews {
			if strings.EqualFold(review.Environment, e.Name) {
				row.Waiting++
			}
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// maxHistory is how many versions and decisions an environment's page lists.
const maxHistory = 20

type environmentView struct {
	*environments.Shown
	Waiting   []reviewCard
	History   []environments.Version
	Decisions []cistore.Decided
}

// environment shows one environment.
func (s *Service) environment(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	shown, err := s.cfg.Environments.Get(ctx, r.PathValue("name"))
	if err != nil {
		return err
	}
	v := environmentView{Shown: shown}
	ws := wherry.IdentityFrom(ctx).WorkspaceID
	reviews, err := s.cfg.Workflows.Reviews(ctx)
	if err != nil {
		return err
	}
	v.Waiting = cards(ctx, slices.DeleteFunc(reviews, func(r cicd.Review) bool { return !strings.EqualFold(r.Environment, shown.Name) }))
	if v.History, err = s.cfg.Environments.History(ctx, shown, maxHistory); err != nil {
		return err
	}
	if v.Decisions, err = s.cfg.Workflows.Decisions(ctx, ws, shown.Name, maxHistory); err != nil {
		return err
	}
	return s.render(w, r, http.StatusOK, "environment", page{Title: shown.Name, Section: "environments", Body: v})
}

func environmentPath(name string) string { return "/environments/" + url.PathEscape(name) }
