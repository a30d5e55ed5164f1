package mlflow

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"os"
	"path"
	"sort"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store/mlflow"
)

// fileInfo is one entry of a folder as MLflow lists it.
type fileInfo struct {
	Path  string `json:"path"`
	IsDir bool   `json:"is_dir"`
	Size  int64  `json:"file_size,omitempty"`
}

// tempFolder holds uploads until they are whole; its name is no experiment's.
const tempFolder = ".tmp"

// place finds the folder that a PATH of ours lies in, and the name below it.
func (s *Service) place(p string) (root *os.Root, name string, err error) {
	if err := checkPath(p); err != nil {
		return nil, "", err
	}
	p = path.Clean(p)
	if rest, ok := strings.CutPrefix(p, modelsFolder+"/"); ok && s.models != nil {
		return s.models, rest, nil
	}
	if strings.HasPrefix(p, ".") && p != "." {
		return nil, "", invalid("Invalid path")
	}
	if s.artifacts == nil {
		return nil, "", wherry.NotImplemented("serving artifacts, with --serve-artifacts=false,")
	}
	return s.artifacts, p, nil
}

// list returns a folder's entries by name; nothing for what is not a folder.
func (s *Service) list(p string) ([]fileInfo, error) {
	root, name, err := s.place(p)
	if err != nil {
		return nil, err
	}
	return listFolder(root, name)
}

func listFolder(root *os.Root, name string) ([]fileInfo, error) {
	entries, err := fs.ReadDir(root.FS(), name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		if i, serr := root.Stat(name); serr == nil && !i.IsDir() {
			return nil, nil
		}
		return nil, fmt.Errorf("list artifacts: %w", err)
	}
	var list []fileInfo
	for _, e := range entries {
		if e.Name() == tempFolder {
			continue
		}
		i, err := e.Info()
		if err != nil {
			continue // removed meanwhile
		}
		f := fileInfo{Path: e.Name(), IsDir: e.IsDir()}
		if !f.IsDir {
			f.Size = i.Size()
		}
		list = append(list, f)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Path < list[j].Path })
	return list, nil
}

// send streams a file. Whatever it is, the browser must not run it here.
func (s *Service) send(w http.ResponseWriter, r *http.Request, p string) error {
	root, name, err := s.place(p)
	if err != nil {
		return err
	}
	return sendFile(w, r, root, name)
}

func sendFile(w http.ResponseWriter, r *http.Request, root *os.Root, name string) error {
	f, err := root.Open(name)
	if err != nil {
		return noFile(name, err)
	}
	defer f.Close()
	i, err := f.Stat()
	if err != nil {
		return err
	}
	if !i.Mode().IsRegular() {
		return noFile(name, fs.ErrNotExist)
	}
	base := path.Base(name)
	kind := mime.TypeByExtension(path.Ext(base))
	if kind == "" {
		kind = "application/octet-stream"
	}
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": base}))
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	http.ServeContent(w, r, "", i.ModTime(), f)
	return nil
}

// noFile answers the same for what is missing, a folder or outside the root.
func noFile(name string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return err
	}
	return wherry.Errorf(wherry.CodeDoesNotExist, "No such artifact: '%s'", path.Base(name))
}

// receive streams a file to a temporary name and gives it its own when it is
// whole and on disk.
func (s *Service) receive(p string, body io.Reader) error {
	root, name, err := s.place(p)
	if err != nil {
		return err
	}
	return receiveFile(root, name, body)
}

func receiveFile(root *os.Root, name string, body io.Reader) (err error) {
	if name == "." || strings.HasSuffix(name, "/") {
		return invalid("Invalid path")
	}
	if err := root.MkdirAll(tempFolder, 0o700); err != nil {
		return fmt.Errorf("store artifact: %w", err)
	}
	b := make([]byte, 12)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	temp := tempFolder + "/" + hex.EncodeToString(b)
	f, err := root.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("store artifact: %w", err)
	}
	defer func() {
		if err != nil {
			_ = root.Remove(temp)
		}
	}()
	_, err = io.Copy(f, body)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("store artifact: %w", err)
	}
	if err := root.MkdirAll(path.Dir(name), 0o700); err != nil {
		return invalid("'%s' cannot be made: a part of its path is a file", name)
	}
	if err = root.Rename(temp, name); err != nil {
		return invalid("'%s' cannot be written: it is a folder", name)
	}
	return nil
}

// remove deletes a file or folder; what is not there is deleted already.
func (s *Service) remove(p string) error {
	root, name, err := s.place(p)
	if err != nil {
		return err
	}
	if name == "." {
		return invalid("Invalid path")
	}
	if err := root.RemoveAll(name); err != nil {
		return fmt.Errorf("delete artifacts: %w", err)
	}
	return nil
}

// inside gives the PATH of a location of ours, an error for other stores.
func (s *Service) inside(location string) (string, error) {
	if p, ok := strings.CutPrefix(location, ours); ok {
		return p, nil
	}
	if p, ok := s.belowFolder(location); ok {
		return p, nil
	}
	scheme, _, _ := strings.Cut(location, ":")
	return "", wherry.NotImplemented("reading artifacts of a " + scheme + ": location through the server")
}

// belowFolder is inside for a server whose own user named a folder of this
// machine as Root; Artifacts is that folder then.
func (s *Service) belowFolder(location string) (string, bool) {
	p, ok := strings.CutPrefix(location, strings.TrimSuffix(s.cfg.Root, "/")+"/")
	return p, ok && strings.HasPrefix(s.cfg.Root, "file:///") && p != "" && checkPath(p) == nil
}

// join adds a checked relative path to a PATH of ours.
func join(root, rel string) (string, error) {
	if err := checkPath(rel); err != nil {
		return "", err
	}
	return path.Join(root, rel), nil
}

// versionFolder is the PATH of a version's files.
func (s *Service) versionFolder(ctx context.Context, v *mlflow.ModelVersion) (string, error) {
	if v.Uploaded {
		return modelsFolder + "/" + modelPath(v.Name) + "/" + v.Version, nil
	}
	source := v.Source
	if id, ok := strings.CutPrefix(source, "models:/m-"); ok {
		id, rest, _ := strings.Cut(id, "/")
		m, err := s.store.LoggedModel(ctx, ws(ctx), "m-"+id)
		if err != nil {
			return "", err
		}
		if source = s.modelRoot(&m.Info); rest != "" {
			source += "/" + rest
		}
	}
	return s.inside(source)
}

// modelPath is the folder of a three-level name.
func modelPath(name string) string { return strings.ReplaceAll(name, ".", "/") }
