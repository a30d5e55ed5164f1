// Package blob keeps bytes as plain files below one directory and never
// outside of it: no path, no encoding of one and no symbolic link leads out.
package blob

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/wherry-ml/wherry"
)

// staging holds files that are being written, at the top of a Dir: a rename
// puts each in its place, and what a crash left there is swept at start.
const staging = ".wherry-staging"

// Modes of what is made here. Tasks may have another uid than the server;
// nobody else reaches the files, for the state directory above is closed.
const (
	FileMode fs.FileMode = 0o666
	DirMode  fs.FileMode = 0o777
)

// Clean turns a client's path into a name for Dir: relative, without empty
// parts, "." for the top. Anything that tries to leave, and names that no file
// can have, are INVALID_PARAMETER_VALUE.
func Clean(p string) (string, error) {
	if !utf8.ValidString(p) || strings.ContainsRune(p, 0) || len(p) > 4000 {
		return "", wherry.Errorf(wherry.CodeInvalidParameter, "the path is not valid: %.100q", p)
	}
	var parts []string
	for part := range strings.SplitSeq(p, "/") {
		switch {
		case part == "":
			continue
		case part == "." || part == ".." || len(part) > 255 || part == staging:
			return "", wherry.Errorf(wherry.CodeInvalidParameter, "the path is not valid: %.100q", p)
		}
		parts = append(parts, part)
	}
	if len(parts) == 0 {
		return ".", nil
	}
	return strings.Join(parts, "/"), nil
}

// Dir is an open directory. Its names are those that Clean returns.
type Dir struct {
	*os.Root
}

// Open opens a directory, making it if it is not there.
func Open(name string) (*Dir, error) {
	if err := os.MkdirAll(name, DirMode); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	return &Dir{root}, nil
}

// Sweep removes what a crash left half-written. Call it when nothing writes.
func (d *Dir) Sweep() error { return d.Root.RemoveAll(staging) }

// Put writes a file from r, whole or not at all: readers see the old file or
// the new one. Without overwrite an existing file is fs.ErrExist.
func (d *Dir) Put(name string, r io.Reader, overwrite bool) (err error) {
	temp, err := d.stage()
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = d.Root.Remove(temp.name)
		}
	}()
	_, err = io.Copy(temp.File, r)
	if err != nil {
		_ = temp.Close()
		return err
	}
	return temp.commit(name, overwrite)
}

// Staged is a file being written that has no name yet.
type Staged struct {
	*os.File
	dir  *Dir
	name string
}

// Stage begins a file. End it with Commit or Discard.
func (d *Dir) Stage() (*Staged, error) { return d.stage() }

func (d *Dir) stage() (*Staged, error) {
	if err := d.Root.Mkdir(staging, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	name := path.Join(staging, hex.EncodeToString(b[:]))
	f, err := d.Root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, FileMode)
	if err != nil {
		return nil, err
	}
	return &Staged{File: f, dir: d, name: name}, nil
}

// Commit gives the file its name, durably.
func (s *Staged) Commit(name string, overwrite bool) error {
	err := s.commit(name, overwrite)
	if err != nil {
		_ = s.dir.Root.Remove(s.name)
	}
	return err
}

// Discard forgets the file.
func (s *Staged) Discard() error {
	return errors.Join(s.Close(), s.dir.Root.Remove(s.name))
}

func (s *Staged) commit(name string, overwrite bool) error {
	// The umask may have taken bits from the mode.
	if err := errors.Join(s.Chmod(FileMode), s.Sync(), s.Close()); err != nil {
		return err
	}
	if !overwrite { // a link, unlike a rename, fails on an existing name, with no race
		if err := s.dir.Root.Link(s.name, name); err != nil {
			return err
		}
		return errors.Join(s.dir.Root.Remove(s.name), s.dir.sync(path.Dir(name)))
	}
	if err := s.dir.Root.Rename(s.name, name); err != nil {
		return err
	}
	return s.dir.sync(path.Dir(name))
}

// sync makes names in a directory durable.
func (d *Dir) sync(name string) error {
	f, err := d.Root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// MakeAll makes a directory and its parents, writable for tasks; existing
// ones are left as they are.
func (d *Dir) MakeAll(name string) error {
	at := "."
	if name == "." {
		return nil
	}
	for part := range strings.SplitSeq(name, "/") {
		at = path.Join(at, part)
		err := d.Root.Mkdir(at, DirMode)
		if errors.Is(err, fs.ErrExist) {
			info, err := d.Root.Stat(at)
			if err != nil {
				return err
			}
			if !info.IsDir() {
				return &fs.PathError{Op: "mkdir", Path: at, Err: syscall.ENOTDIR}
			}
			continue
		}
		if err != nil {
			return err
		}
		if err := d.Root.Chmod(at, DirMode); err != nil {
			return err
		}
	}
	return nil
}

// List returns what is in a directory, by name. Links are followed within the
// Dir; those that lead out, or nowhere, are left out.
func (d *Dir) List(name string) ([]fs.FileInfo, error) {
	f, err := d.Root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries, err := f.ReadDir(-1)
	if err != nil {
		return nil, err
	}
	list := make([]fs.FileInfo, 0, len(entries))
	for _, e := range entries {
		if e.Name() == staging && name == "." {
			continue
		}
		info, err := e.Info()
		if err == nil && info.Mode()&fs.ModeSymlink != 0 {
			info, err = d.Root.Stat(path.Join(name, e.Name()))
			if err == nil {
				info = named{info, e.Name()}
			}
		}
		if err != nil {
			continue // gone meanwhile, or a link that leads out
		}
		list = append(list, info)
	}
	sortInfos(list)
	return list, nil
}

// Error turns an error of the file system into one for the caller, naming the
// path as the caller wrote it. Errors that are not about the path stay as they
// are.
func Error(err error, p string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return wherry.Errorf(wherry.CodeDoesNotExist, "No file or directory exists on path %s.", p)
	case errors.Is(err, syscall.ENOTEMPTY): // before ErrExist, which it also is
		return wherry.Errorf(wherry.CodeDirectoryNotEmpty, "The directory %s is not empty.", p)
	case errors.Is(err, fs.ErrExist):
		return wherry.Errorf(wherry.CodeAlreadyExists, "A file or directory already exists at the input path %s.", p)
	case errors.Is(err, syscall.ENOTDIR):
		return wherry.Errorf(wherry.CodeInvalidParameter, "A part of the path %s is a file, not a directory.", p)
	case errors.Is(err, syscall.EISDIR):
		return wherry.Errorf(wherry.CodeInvalidParameter, "%s is a directory, not a file.", p)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return wherry.Errorf(wherry.CodeInvalidState, "no space is left on the disk for %s", p)
	case isEscape(err):
		return wherry.Errorf(wherry.CodeInvalidParameter, "the path is not valid: a symbolic link leads out of it at %.200q", p)
	case errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.EINVAL):
		return wherry.Errorf(wherry.CodeInvalidParameter, "the path is not valid: %.100q", p)
	}
	return fmt.Errorf("%s: %w", p, err)
}

// isEscape reports whether os.Root refused to leave its directory. The
// package os has no exported error for it.
func isEscape(err error) bool {
	const text = "path escapes from parent"
	if pe, ok := errors.AsType[*fs.PathError](err); ok && pe.Err.Error() == text {
		return true
	}
	le, ok := errors.AsType[*os.LinkError](err)
	return ok && le.Err.Error() == text
}
