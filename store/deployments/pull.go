package deployments

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// pullNamespace is what the namespace of a pull request begins with; its number
// follows.
const pullNamespace = "pr-"

// PullOf is the number of the pull request that a namespace is of, 0 for none.
func PullOf(namespace string) (number int64) {
	digits, ok := strings.CutPrefix(namespace, pullNamespace)
	if _, err := fmt.Sscan(digits, &number); !ok || err != nil || fmt.Sprint(number) != digits {
		return 0
	}
	return number
}

// openPull refuses a namespace whose pull request has ended: it went with it. A
// pull request that is not there yet may come.
func openPull(tx *store.Tx, d Deployment) error {
	number := PullOf(d.Namespace)
	if d.RepoID == 0 || number == 0 {
		return nil
	}
	var state, repo string
	err := tx.Row(`SELECT p.state, r.name FROM git_pull p JOIN git_repo r ON r.id = p.repo_id WHERE p.repo_id = $1 AND p.number = $2`, d.RepoID, number).Scan(&state, &repo)
	if errors.Is(err, store.ErrNoRows) || err == nil && state == "open" {
		return nil
	}
	if err != nil {
		return err
	}
	return wherry.Errorf(wherry.CodeInvalidState, "pull request %d of %s is %s, and its namespace %s has gone with it: reopen it, or deploy to another with --namespace", number, repo, state, d.Namespace)
}

// place notes which namespace a deployment is in now. A repository that is known
// stays, unless another is.
func place(tx *store.Tx, out *Deployment, d Deployment) error {
	repo := d.RepoID
	if repo == 0 && out.Namespace == d.Namespace {
		repo = out.RepoID
	}
	if out.Namespace == d.Namespace && out.RepoID == repo {
		return nil
	}
	out.Namespace, out.RepoID = d.Namespace, repo
	_, err := tx.Exec(`UPDATE deployment SET namespace = $1, repo_id = $2 WHERE id = $3`, out.Namespace, out.RepoID, out.ID)
	return err
}

// Ended is a deployment to the namespace of a pull request that has ended.
type Ended struct {
	Deployment
	Repo   string
	Number int64
	State  string // closed or merged
	By     string // who ended it, "" if nobody was seen to
}

// Ended lists what is still deployed to namespaces of pull requests that were
// merged or closed, of all workspaces.
func (s *Store) Ended(ctx context.Context) (list []Ended, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		err := tx.Each(`SELECT d.id, r.name, p.number, p.state, p.closed_by FROM deployment d JOIN git_pull p ON p.repo_id = d.repo_id AND d.namespace = '`+pullNamespace+`' || CAST(p.number AS TEXT)
			JOIN git_repo r ON r.id = p.repo_id WHERE d.repo_id <> 0 AND d.destroyed_at = 0 AND p.state <> 'open' ORDER BY p.updated_at, d.id`, nil, func(scan func(...any) error) error {
			var e Ended
			err := scan(&e.ID, &e.Repo, &e.Number, &e.State, &e.By)
			list = append(list, e)
			return err
		})
		for i := 0; err == nil && i < len(list); i++ {
			list[i].Deployment, err = scanDeployment(tx.Row(`SELECT `+deploymentColumns+` FROM deployment WHERE id = $1`, list[i].ID).Scan)
		}
		return err
	})
	return list, err
}

// LastAtRoot returns what was deployed to a root path last, though it may be
// destroyed; ok is false for nothing.
func (s *Store) LastAtRoot(ctx context.Context, ws int64, root string) (d Deployment, ok bool, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		d, err = scanDeployment(tx.Row(`SELECT `+deploymentColumns+` FROM deployment WHERE workspace_id = $1 AND root_path = $2
			ORDER BY CASE WHEN destroyed_at = 0 THEN 0 ELSE 1 END, destroyed_at DESC, id LIMIT 1`, ws, root).Scan)
		return err
	})
	if errors.Is(err, store.ErrNoRows) {
		return d, false, nil
	}
	return d, err == nil, err
}

// Places returns what was deployed last to a root path of each workspace that
// there still is, though it may be destroyed; of one workspace unless ws is 0.
func (s *Store) Places(ctx context.Context, ws int64, root string) (list []Deployment, err error) {
	var all []int64
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT DISTINCT w.id FROM workspace w JOIN deployment d ON d.workspace_id = w.id
			WHERE d.root_path = $1 AND NOT w.removed AND (w.id = $2 OR $2 = 0) ORDER BY w.id`, []any{root, ws}, func(scan func(...any) error) error {
			var id int64
			err := scan(&id)
			all = append(all, id)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	for _, id := range all {
		d, ok, err := s.LastAtRoot(ctx, id, root)
		if err != nil {
			return nil, err
		}
		if ok {
			list = append(list, d)
		}
	}
	return list, nil
}

func emitDestroyed(tx *store.Tx, v Version, actor string, done Done) error {
	d, err := scanDeployment(tx.Row(`SELECT `+deploymentColumns+` FROM deployment WHERE id = $1`, v.DeploymentID).Scan)
	if err != nil {
		return err
	}
	payload := map[string]any{
		"deployment_id": v.DeploymentID, "version": v.Version, "bundle": d.Bundle, "target": d.Target, "root_path": d.RootPath, "namespace": d.Namespace, "note": v.Note,
	}
	for key, value := range done.Event {
		payload[key] = value
	}
	return tx.Emit(wherry.Event{
		WorkspaceID: d.WorkspaceID, Kind: wherry.EventDestroyed, Subject: fmt.Sprintf("%s/%d", v.DeploymentID, v.Version), Actor: actor,
		RunID: done.RunID, Payload: json.RawMessage(rawJSON(payload)),
	})
}
