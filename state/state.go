// Package state names the places in the state directory. Every byte the server
// keeps outside of its database is below one of them.
package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// Dir is the absolute path of a state directory.
type Dir string

// Default is where a state directory is when none was named:
// $XDG_STATE_HOME/wherry, else ~/.local/state/wherry.
func Default() (Dir, error) {
	if d := os.Getenv("XDG_STATE_HOME"); d != "" {
		return Dir(filepath.Join(d, "wherry")), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no --state, no XDG_STATE_HOME and no home directory: %w", err)
	}
	return Dir(filepath.Join(home, ".local", "state", "wherry")), nil
}

// Create makes the directory and the parts that are bound into sandboxes.
func (d Dir) Create() error {
	if err := d.create(); err != nil {
		return fmt.Errorf("create state directory: %w: let this user write there, or name another directory with --state", err)
	}
	return nil
}

func (d Dir) create() error {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return err
	}
	mark, err := os.OpenFile(d.Path(marker), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := mark.Close(); err != nil {
		return err
	}
	for _, p := range []string{"workspace", "dbfs", "volumes", "managed", "lake", "artifacts", "models", "trees", "runs", "agents", "keys", "cache", "repos"} {
		if err := os.MkdirAll(d.Path(p), 0o700); err != nil {
			return err
		}
	}
	return nil
}

// marker is a file that tells a state directory from the user's own folders.
const marker = ".wherry-state"

// Is tells whether a folder is a state directory: bundles leave it out.
func Is(folder string) bool {
	_, err := os.Stat(filepath.Join(folder, marker))
	return err == nil
}

// Path joins names below the directory.
func (d Dir) Path(names ...string) string {
	return filepath.Join(append([]string{string(d)}, names...)...)
}

// Workspace is the tree that tasks see as /Workspace.
func (d Dir) Workspace(ws int64) string { return d.Path("workspace", strconv.FormatInt(ws, 10)) }

// DBFS is the tree that tasks see as /dbfs and Spark as dbfs:/.
func (d Dir) DBFS(ws int64) string { return d.Path("dbfs", strconv.FormatInt(ws, 10)) }

// Volumes holds managed volumes as catalog/schema/volume; tasks see them below /Volumes.
func (d Dir) Volumes() string { return d.Path("volumes") }

// Managed holds managed tables by table id; their location is
// dbfs:/__unitystorage/tables/<table id>.
func (d Dir) Managed() string { return d.Path("managed") }

// Lake holds the storage endpoint's objects as account/container/path.
func (d Dir) Lake() string { return d.Path("lake") }

// Artifacts holds MLflow's artifacts as experiment/run/artifacts/….
func (d Dir) Artifacts() string { return d.Path("artifacts") }

// Models holds the files of Unity Catalog model versions as
// catalog/schema/model/version.
func (d Dir) Models() string { return d.Path("models") }

// Trees holds deployed file trees by digest; a tree never changes once it has
// its name.
func (d Dir) Trees() string { return d.Path("trees") }

// Run is the folder of one attempt: the streams "out" and "events".
func (d Dir) Run(runID int64) string { return d.Path("runs", strconv.FormatInt(runID, 10)) }

// Agent is the folder of a cluster's agent: lock, token, epoch, spools, log.
func (d Dir) Agent(clusterID string) string { return d.Path("agents", clusterID) }

// Repos holds Git repositories, bare, as NAME.git.
func (d Dir) Repos() string { return d.Path("repos") }

// Keys holds the installation's certificate authority and signing keys.
func (d Dir) Keys() string { return d.Path("keys") }

// WriteFile writes data to a temporary name, syncs it and renames it to name.
func WriteFile(name string, data []byte, mode fs.FileMode) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), ".tmp-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err = os.Rename(f.Name(), name); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(name))
}

// SyncDir makes renames in dir durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// RemoveAll is os.RemoveAll, also of folders whose owner may not change them,
// as tasks leave them (chmod -R a-w). It follows no link out of name.
func RemoveAll(name string) error {
	if err := os.RemoveAll(name); err == nil {
		return nil
	}
	parent, err := os.OpenRoot(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer parent.Close()
	base := filepath.Base(name)
	_ = fs.WalkDir(parent.FS(), base, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			err = parent.Chmod(path, 0o700) // before it is read
		}
		return err
	})
	return parent.RemoveAll(base)
}
