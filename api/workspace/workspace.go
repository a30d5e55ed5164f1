// Package workspace serves what a workspace holds: its tree of notebooks and
// files, DBFS, the files of volumes, secrets, permissions and settings.
package workspace

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path"
	"sync"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/blob"
	"github.com/wherry-ml/wherry/state"
	"github.com/wherry-ml/wherry/store/catalog"
	store "github.com/wherry-ml/wherry/store/workspace"
)

// Service serves a workspace.
type Service struct {
	store   *store.Store
	catalog *catalog.Store
	dir     state.Dir
	key     *store.Key
	handles handles
	homes   sync.Map // "workspace/user" of home folders that were made

	// Files serves paths of the Files API by their first part, beside
	// Volumes: the model registry serves Models. Set it before Routes.
	Files map[string]FileHandler
	// Objects tells of the objects that permissions may be set on, by the type
	// in the path ("jobs"): their creator's user name, or RESOURCE_DOES_NOT_EXIST.
	// Of a type that is not listed nothing is checked. Set it before serving.
	Objects map[string]func(ctx context.Context, id string) (creator string, err error)
}

// FileHandler serves one path of the Files API, given without /api/2.0/fs/files
// and beginning with a slash, or a directory if directory is set.
type FileHandler func(w http.ResponseWriter, r *http.Request, path string, directory bool) error

// New returns the service. Call Start before serving.
func New(s *store.Store, c *catalog.Store, dir state.Dir) *Service {
	return &Service{store: s, catalog: c, dir: dir}
}

// Start makes the folders that every workspace has, and sweeps what a crash
// left half-written.
func (s *Service) Start() (err error) {
	if s.key, err = store.OpenKey(s.dir.Keys()); err != nil {
		return err
	}
	for _, name := range []string{s.dir.Workspace(wherry.DefaultWorkspace), s.dir.DBFS(wherry.DefaultWorkspace), s.dir.Volumes()} {
		d, err := blob.Open(name)
		if err != nil {
			return err
		}
		if err := d.Sweep(); err != nil {
			return fmt.Errorf("sweep %s: %w", name, err)
		}
		if err := d.Close(); err != nil {
			return err
		}
	}
	return s.OpenWorkspace(context.Background(), wherry.DefaultWorkspace)
}

// OpenWorkspace makes the folders that a workspace has from its start.
func (s *Service) OpenWorkspace(_ context.Context, id int64) error {
	d, err := blob.Open(s.dir.Workspace(id))
	if err != nil {
		return err
	}
	defer d.Close()
	for _, name := range []string{"Users", "Shared"} {
		if err := d.MakeAll(name); err != nil {
			return err
		}
	}
	return os.MkdirAll(s.dir.DBFS(id), blob.DirMode)
}

// DropWorkspace removes the files of a workspace that was deleted.
func (s *Service) DropWorkspace(id int64) error {
	return errors.Join(os.RemoveAll(s.dir.Workspace(id)), os.RemoveAll(s.dir.DBFS(id)))
}

// Routes lists the calls.
func (s *Service) Routes() []api.Route {
	routes := []api.Route{
		{Method: "POST", Path: "/api/2.0/workspace/import", Permission: api.Write, Summary: "Import a notebook or file", Handler: api.Raw(s.importCall)},
		{Method: "GET", Path: "/api/2.0/workspace/export", Permission: api.Read, Summary: "Export a notebook or file", Handler: api.Raw(s.export)},
		{Method: "GET", Path: "/api/2.0/workspace/list", Permission: api.Read, Summary: "List a folder", Handler: api.JSON(s.list)},
		{Method: "GET", Path: "/api/2.0/workspace/get-status", Permission: api.Read, Summary: "Describe an object", Handler: api.JSON(s.getStatus)},
		{Method: "POST", Path: "/api/2.0/workspace/mkdirs", Permission: api.Write, Summary: "Make a folder and its parents", Handler: api.JSON(s.mkdirs)},
		{Method: "POST", Path: "/api/2.0/workspace/delete", Permission: api.Write, Summary: "Delete an object", Handler: api.JSON(s.delete)},
		{Method: "POST", Path: "/api/2.0/workspace-files/import-file/{path...}", Permission: api.Write, Summary: "Import a file, or a notebook by its header", Handler: api.Raw(s.importFile), Family: filesFamily},
		{Method: "GET", Path: "/api/2.0/workspace-conf", Permission: api.Read, Summary: "Get settings of the workspace", Handler: api.Raw(s.getConf)},
		{Method: "PATCH", Path: "/api/2.0/workspace-conf", Permission: api.Write, Summary: "Change settings of the workspace (stored, without effect)", Handler: api.Raw(s.setConf)},
	}
	routes = append(routes, s.dbfsRoutes()...)
	routes = append(routes, s.filesRoutes()...)
	routes = append(routes, s.secretRoutes()...)
	return append(routes, s.permissionRoutes()...)
}

// tree opens the workspace's tree, in which the caller has a home folder.
func (s *Service) tree(ctx context.Context) (*blob.Dir, int64, error) {
	id := wherry.IdentityFrom(ctx)
	d, err := blob.Open(s.dir.Workspace(id.WorkspaceID))
	if err != nil {
		return nil, 0, err
	}
	key := fmt.Sprint(id.WorkspaceID, "/", id.UserName)
	if _, made := s.homes.Load(key); !made {
		home, err := blob.Clean(id.UserName)
		if err == nil && path.Dir(home) == "." && home != "." {
			err = d.MakeAll("Users/" + home)
		}
		if err != nil {
			d.Close()
			return nil, 0, fmt.Errorf("make the home folder of %q: %w", id.UserName, err)
		}
		s.homes.Store(key, true)
	}
	return d, id.WorkspaceID, nil
}

type pathInput struct {
	Path          string `json:"path"`
	Recursive     bool   `json:"recursive"`
	ModifiedAfter int64  `json:"notebooks_modified_after"` // ms
}

type listOutput struct {
	Objects []*wherry.Object `json:"objects,omitempty"`
}

func (s *Service) list(ctx context.Context, in *pathInput) (*listOutput, error) {
	d, ws, err := s.tree(ctx)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	o, err := store.FindDirectory(d, in.Path)
	if wherry.CodeOf(err) == wherry.CodeDoesNotExist {
		o, err = store.Find(d, in.Path)
	}
	if err != nil {
		return nil, err
	}
	all := []*wherry.Object{o}
	if o.Type == wherry.ObjectDirectory {
		if all, err = store.Children(d, o.File); err != nil {
			return nil, err
		}
	}
	out := &listOutput{}
	for _, one := range all {
		if one.Type != wherry.ObjectNotebook || one.ModifiedAt >= in.ModifiedAfter {
			out.Objects = append(out.Objects, one)
		}
	}
	return out, s.store.Identify(ctx, ws, out.Objects...)
}

func (s *Service) getStatus(ctx context.Context, in *pathInput) (*wherry.Object, error) {
	d, ws, err := s.tree(ctx)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	o, err := store.Find(d, in.Path)
	if err != nil {
		return nil, err
	}
	return o, s.store.Identify(ctx, ws, o)
}

func (s *Service) mkdirs(ctx context.Context, in *pathInput) (*api.Empty, error) {
	d, _, err := s.tree(ctx)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	name, err := store.CleanPath(in.Path)
	if err != nil {
		return nil, err
	}
	if info, err := d.Stat(name); err == nil && !info.IsDir() {
		return nil, wherry.Errorf(wherry.CodeAlreadyExists, "%s is a file", in.Path)
	}
	return &api.Empty{}, blob.Error(d.MakeAll(name), in.Path)
}

func (s *Service) delete(ctx context.Context, in *pathInput) (*api.Empty, error) {
	d, ws, err := s.tree(ctx)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	o, err := store.Find(d, in.Path)
	if err != nil {
		return nil, err
	}
	if o.File == "." || o.File == "Users" || o.File == "Shared" {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "%s is a folder that every workspace has: it cannot be deleted", o.Path)
	}
	if err := remove(d, o.File, in.Recursive); err != nil {
		return nil, blob.Error(err, in.Path)
	}
	s.homes.Clear() // one of them may be gone
	return &api.Empty{}, s.store.Forget(ctx, ws, o.File)
}

// remove removes a file, an empty directory, or with recursive all in it. A
// link is removed, never what it leads to.
func remove(d *blob.Dir, name string, recursive bool) error {
	if _, err := d.Lstat(name); err != nil {
		return err
	}
	if recursive {
		return d.Root.RemoveAll(name)
	}
	return d.Root.Remove(name)
}

// isDir reports whether there is a directory of that name.
func isDir(d *blob.Dir, name string) (bool, error) {
	info, err := d.Stat(name)
	if err != nil {
		return false, err
	}
	return info.IsDir(), nil
}
