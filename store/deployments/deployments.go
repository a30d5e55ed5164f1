// Package deployments stores what was deployed from where: deployments, their
// versions (which are their locks too), the resources they hold, and what each
// version did.
package deployments

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// Words of the public deployments API.
const (
	StatusActive     = "DEPLOYMENT_STATUS_ACTIVE"
	StatusFailed     = "DEPLOYMENT_STATUS_FAILED"
	StatusInProgress = "DEPLOYMENT_STATUS_IN_PROGRESS"
	StatusDeleted    = "DEPLOYMENT_STATUS_DELETED"

	VersionInProgress = "VERSION_STATUS_IN_PROGRESS"
	VersionCompleted  = "VERSION_STATUS_COMPLETED"

	KindDeploy  = "VERSION_TYPE_DEPLOY"
	KindDestroy = "VERSION_TYPE_DESTROY"

	ReasonSuccess = "VERSION_COMPLETE_SUCCESS"
	ReasonFailure = "VERSION_COMPLETE_FAILURE"
	ReasonForce   = "VERSION_COMPLETE_FORCE_ABORT"
	ReasonExpired = "VERSION_COMPLETE_LEASE_EXPIRED"

	ActionCreate   = "OPERATION_ACTION_TYPE_CREATE"
	ActionUpdate   = "OPERATION_ACTION_TYPE_UPDATE"
	ActionRecreate = "OPERATION_ACTION_TYPE_RECREATE"
	ActionDelete   = "OPERATION_ACTION_TYPE_DELETE"
	ActionBind     = "OPERATION_ACTION_TYPE_BIND"

	OperationPending   = "OPERATION_STATUS_PENDING" // ours: begun, not known to have ended
	OperationSucceeded = "OPERATION_STATUS_SUCCEEDED"
	OperationFailed    = "OPERATION_STATUS_FAILED"
)

// Lease is how long a version in progress locks its deployment without a
// heartbeat.
const Lease = time.Minute

// Deployment is a bundle's target as deployed to one root path.
type Deployment struct {
	ID          string
	WorkspaceID int64
	RootPath    string
	FilePath    string
	Bundle      string
	Target      string
	Mode        string // DEPLOYMENT_MODE_DEVELOPMENT, DEPLOYMENT_MODE_PRODUCTION or ""
	DisplayName string
	Status      string
	LastVersion int64
	TreeDigest  string
	CreatedBy   string
	CreatedAt   int64 // ms
	UpdatedAt   int64
	DestroyedBy string
	DestroyedAt int64
	// Namespace is that of a pull request, say, "" for none; RepoID is the
	// repository whose pull request that is, 0 if it is not known.
	Namespace string
	RepoID    int64
}

// Git is where the source of a version came from.
type Git struct {
	Branch    string `json:"branch,omitempty"`
	Commit    string `json:"commit,omitempty"`
	OriginURL string `json:"origin_url,omitempty"`
	RootPath  string `json:"bundle_root_path,omitempty"`
	Author    string `json:"author,omitempty"`
	Message   string `json:"message,omitempty"`
	Dirty     bool   `json:"dirty,omitempty"`
}

// Version is one deploy or destroy of a deployment.
type Version struct {
	DeploymentID string
	Version      int64
	Kind         string
	Status       string
	Reason       string
	DisplayName  string
	Target       string
	Mode         string
	CLIVersion   string
	Git          Git
	// DirtyDigest is the digest of the files if they were not those of
	// Git.Commit, "" if they were.
	DirtyDigest string
	TreeDigest  string
	CreatedBy   string
	CreatedAt   int64
	CompletedBy string
	CompletedAt int64
	ExpiresAt   int64
	// Resumable versions are the server's own: it takes them back if it finds
	// them half done.
	Resumable bool
	// Restores is the version that this one brought back, 0 for none.
	Restores int64
	// Note says why, of one that its deployer did not ask for.
	Note string
	// Restorable tells whether it can be deployed again; it is read only.
	Restorable bool
}

// Store keeps deployments in db.
type Store struct{ db *store.DB }

// New returns the store.
func New(db *store.DB) *Store { return &Store{db: db} }

const deploymentColumns = `id, workspace_id, root_path, file_path, bundle, target, mode, display_name, status, last_version,
	tree_digest, created_by, created_at, updated_at, destroyed_by, destroyed_at, namespace, repo_id`

func scanDeployment(scan func(...any) error) (d Deployment, err error) {
	err = scan(&d.ID, &d.WorkspaceID, &d.RootPath, &d.FilePath, &d.Bundle, &d.Target, &d.Mode, &d.DisplayName, &d.Status, &d.LastVersion,
		&d.TreeDigest, &d.CreatedBy, &d.CreatedAt, &d.UpdatedAt, &d.DestroyedBy, &d.DestroyedAt, &d.Namespace, &d.RepoID)
	return d, err
}

func noDeployment(id string) error {
	return wherry.Errorf(wherry.CodeDoesNotExist, "Deployment %s does not exist.", id)
}

func get(tx *store.Tx, ws int64, id string) (Deployment, error) {
	d, err := scanDeployment(tx.Row(`SELECT `+deploymentColumns+` FROM deployment WHERE workspace_id = $1 AND id = $2`, ws, id).Scan)
	if errors.Is(err, store.ErrNoRows) {
		return d, noDeployment(id)
	}
	return d, err
}

// Get returns a deployment, destroyed ones too.
func (s *Store) Get(ctx context.Context, ws int64, id string) (d Deployment, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) (err error) {
		d, err = get(tx, ws, id)
		return err
	})
	return d, err
}

// ByID returns a deployment of any workspace.
func (s *Store) ByID(ctx context.Context, id string) (d Deployment, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) (err error) {
		d, err = scanDeployment(tx.Row(`SELECT `+deploymentColumns+` FROM deployment WHERE id = $1`, id).Scan)
		return err
	})
	if errors.Is(err, store.ErrNoRows) {
		return d, noDeployment(id)
	}
	return d, err
}

// AtRoot returns what is deployed to a root path; ok is false for nothing.
func (s *Store) AtRoot(ctx context.Context, ws int64, root string) (d Deployment, ok bool, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) (err error) {
		d, err = atRoot(tx, ws, root)
		return err
	})
	if errors.Is(err, store.ErrNoRows) {
		return d, false, nil
	}
	return d, err == nil, err
}

func atRoot(tx *store.Tx, ws int64, root string) (Deployment, error) {
	return scanDeployment(tx.Row(`SELECT `+deploymentColumns+` FROM deployment
		WHERE workspace_id = $1 AND root_path = $2 AND destroyed_at = 0`, ws, root).Scan)
}

// List returns deployments, the newest change first, from the offset on; of all
// workspaces for ws 0.
func (s *Store) List(ctx context.Context, ws int64, limit, offset int) (list []Deployment, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT `+deploymentColumns+` FROM deployment WHERE (workspace_id = $1 OR $1 = 0) ORDER BY updated_at DESC, id LIMIT $2 OFFSET $3`,
			[]any{ws, limit, offset}, func(scan func(...any) error) error {
				d, err := scanDeployment(scan)
				list = append(list, d)
				return err
			})
	})
	return list, err
}

// NewID makes an id for a deployment.
func NewID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return hex.EncodeToString(b)
}

// Create stores a new deployment. An id that is taken is ALREADY_EXISTS.
func (s *Store) Create(ctx context.Context, d Deployment) (out Deployment, err error) {
	err = s.db.Write(ctx, func(tx *store.Tx) error {
		out, err = create(tx, d)
		return err
	})
	if store.IsDuplicate(err) {
		return out, wherry.Errorf(wherry.CodeAlreadyExists, "Deployment %s already exists.", d.ID)
	}
	return out, err
}

func create(tx *store.Tx, d Deployment) (Deployment, error) {
	now, err := tx.Now()
	if err != nil {
		return d, err
	}
	if d.ID == "" {
		d.ID = NewID()
	}
	d.CreatedAt, d.UpdatedAt = now, now
	_, err = tx.Exec(`INSERT INTO deployment (`+deploymentColumns+`)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, '', 0, $15, $16)`,
		d.ID, d.WorkspaceID, d.RootPath, d.FilePath, d.Bundle, d.Target, d.Mode, d.DisplayName, d.Status, d.LastVersion,
		d.TreeDigest, d.CreatedBy, d.CreatedAt, d.UpdatedAt, d.Namespace, d.RepoID)
	return d, err
}

// Open returns the deployment at d.RootPath, making it of d if there is none.
// To the namespace of a pull request that has ended it is INVALID_STATE.
func (s *Store) Open(ctx context.Context, d Deployment) (out Deployment, err error) {
	for range 3 { // on PostgreSQL two may make it at once: who lost finds the other's the next time
		err = s.db.Write(ctx, func(tx *store.Tx) error {
			if err := openPull(tx, d); err != nil {
				return err
			}
			out, err = atRoot(tx, d.WorkspaceID, d.RootPath)
			if errors.Is(err, store.ErrNoRows) {
				out, err = create(tx, d)
				return err
			}
			if err != nil {
				return err
			}
			return place(tx, &out, d)
		})
		if !store.IsDuplicate(err) {
			return out, err
		}
	}
	return out, wherry.Errorf(wherry.CodeConflict, "others begin to deploy to %s at the same moment: wait for them", d.RootPath)
}

// Delete marks a deployment as gone (its history stays).
func (s *Store) Delete(ctx context.Context, ws int64, id, actor string) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		if _, err := get(tx, ws, id); err != nil {
			return err
		}
		return markDeleted(tx, id, actor)
	})
}

func markDeleted(tx *store.Tx, id, actor string) error {
	now, err := tx.Now()
	if err != nil {
		return err
	}
	_, err = tx.Exec(`UPDATE deployment SET status = $1, destroyed_by = $2, destroyed_at = $3, updated_at = $3, tree_digest = ''
		WHERE id = $4 AND destroyed_at = 0`, StatusDeleted, actor, now, id)
	return err
}

// TreeOf finds the deployed files that a workspace path is among: the digest of
// the live tree (below state.Dir.Trees) and the workspace path it is at. A
// database that does not answer is logged: the path is then read live.
func (s *Store) TreeOf(ctx context.Context, ws int64, path string) (digest, root string, ok bool) {
	path = "/Workspace/" + strings.TrimPrefix(strings.TrimPrefix(path, "/"), "Workspace/")
	err := s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT tree_digest, file_path FROM deployment WHERE workspace_id = $1 AND destroyed_at = 0 AND tree_digest <> ''`,
			[]any{ws}, func(scan func(...any) error) error {
				var d, r string
				if err := scan(&d, &r); err != nil {
					return err
				}
				if (path == r || strings.HasPrefix(path, r+"/")) && len(r) > len(root) {
					digest, root, ok = d, r, true
				}
				return nil
			})
	})
	if err != nil {
		slog.Error("find the deployed tree", "path", path, "err", err)
	}
	return digest, root, ok
}

// DeploymentOf returns which deployment, and which version of it, wrote a job's
// settings; ok is false for a job that was made by hand.
func (s *Store) DeploymentOf(ctx context.Context, jobID int64) (id string, version int64, ok bool, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		id, version, ok, err = DeploymentOf(tx, jobID)
		return err
	})
	return id, version, ok, err
}

// DeploymentOf is the same inside of a transaction. The version is the last one
// that completed: the files of a run are those, whichever version wrote the job.
func DeploymentOf(tx *store.Tx, jobID int64) (id string, version int64, ok bool, err error) {
	err = tx.Row(`SELECT d.id, coalesce((SELECT max(v.version) FROM deployment_version v WHERE v.deployment_id = d.id AND v.reason = $1), 0)
		FROM deployment_resource r JOIN deployment d ON d.id = r.deployment_id
		WHERE r.kind = 'jobs' AND r.resource_id = $2 AND d.destroyed_at = 0`, ReasonSuccess, fmt.Sprint(jobID)).Scan(&id, &version)
	if errors.Is(err, store.ErrNoRows) {
		return "", 0, false, nil
	}
	return id, version, err == nil, err
}

// Sources returns the deployments that jobs come from; a job that was made by
// hand is not in it.
func (s *Store) Sources(ctx context.Context, jobs []int64) (map[int64]Deployment, error) {
	found := map[int64]Deployment{}
	return found, s.db.Read(ctx, func(tx *store.Tx) error {
		for _, job := range jobs {
			id, _, ok, err := DeploymentOf(tx, job)
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
			if found[job], err = scanDeployment(tx.Row(`SELECT `+deploymentColumns+` FROM deployment WHERE id = $1`, id).Scan); err != nil {
				return err
			}
		}
		return nil
	})
}

func rawJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return "{}"
	}
	return string(b)
}
