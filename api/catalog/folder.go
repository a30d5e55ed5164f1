package catalog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/state"
	store "github.com/wherry-ml/wherry/store/catalog"
)

// FolderMode is the mode of folders that tasks write in. Tasks may have another
// uid than the server; nobody else reaches the folders, for the state directory
// above is closed.
const FolderMode fs.FileMode = 0o777

// Start brings folders in step with the store after a crash: it does what was
// committed but not done, and gives up places of tables that never came to be.
func (s *Service) Start(ctx context.Context) error {
	s.moving.Lock()
	defer s.moving.Unlock()
	if err := os.MkdirAll(s.dir.Path("trash"), 0o700); err != nil {
		return err
	}
	if err := s.store.ExpireStaged(ctx, time.Now().Add(-24*time.Hour)); err != nil {
		return err
	}
	if err := s.move(ctx); err != nil {
		return err
	}
	return s.store.ManagedVolumes(ctx, s.makeVolume)
}

// Run deletes for good what was moved to the trash, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	for {
		s.empty(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-s.trash:
		}
	}
}

func (s *Service) empty(ctx context.Context) {
	entries, err := os.ReadDir(s.dir.Path("trash"))
	for _, e := range entries {
		if ctx.Err() != nil {
			return
		}
		err = errors.Join(err, os.RemoveAll(s.dir.Path("trash", e.Name())))
	}
	if err != nil {
		slog.Error("empty the trash", "err", err)
	}
}

// makeVolume makes a managed volume's folder if it is not there.
func (s *Service) makeVolume(v *wherry.Securable) error {
	path := s.dir.Volumes()
	for _, name := range []string{v.Catalog, v.Schema, v.Name} {
		path = filepath.Join(path, name)
		switch err := os.Mkdir(path, FolderMode); {
		case errors.Is(err, fs.ErrExist):
		case err != nil:
			return fmt.Errorf("make volume %s: %w", v.FullName(), err)
		default:
			if err := os.Chmod(path, FolderMode); err != nil { // the umask may have taken bits
				return fmt.Errorf("make volume %s: %w", v.FullName(), err)
			}
		}
	}
	return nil
}

// move does the moves that the store has noted, in order. Each may be done
// again after a crash.
func (s *Service) move(ctx context.Context) error {
	moves, err := s.store.Moves(ctx)
	if err != nil {
		return err
	}
	for _, m := range moves {
		if err := s.moveOne(m); err != nil {
			return fmt.Errorf("move folder %s: %w", m.Source, err)
		}
	}
	if len(moves) > 0 {
		select {
		case s.trash <- struct{}{}:
		default:
		}
	}
	return s.store.Moved(ctx, moves)
}

func (s *Service) moveOne(m store.Move) error {
	target := s.dir.Path("trash", fmt.Sprintf("%d-%d", m.ID, time.Now().UnixNano()))
	if m.Target != "" {
		target = s.dir.Path(m.Target)
		if err := os.MkdirAll(filepath.Dir(target), FolderMode); err != nil {
			return err
		}
	}
	err := os.Rename(s.dir.Path(m.Source), target)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it never had files, or this move was done before a crash
	}
	if err != nil {
		return err
	}
	return errors.Join(state.SyncDir(filepath.Dir(s.dir.Path(m.Source))), state.SyncDir(filepath.Dir(target)))
}
