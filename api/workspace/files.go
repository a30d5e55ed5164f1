package workspace

import (
	"cmp"
	"io/fs"
	"net/http"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/blob"
)

// filesFamily is the Files API's own spelling of two errors, by which clients
// tell them.
var filesFamily = api.Family{
	Name: "files",
	Status: func(code string) int {
		if code == wherry.CodeAlreadyExists {
			return http.StatusConflict
		}
		return api.WorkspaceStatus(code)
	},
	Body: func(_ http.ResponseWriter, _ int, e *wherry.Error) any {
		switch e.Code {
		case wherry.CodeAlreadyExists:
			return wherry.Errorf("ALREADY_EXISTS", "%s", e.Message)
		case wherry.CodeDoesNotExist:
			return wherry.Errorf(wherry.CodeNotFound, "%s", e.Message)
		}
		return e
	},
}

func (s *Service) filesRoutes() (routes []api.Route) {
	add := func(method, kind, summary string, permission api.Permission, directory bool, h FileHandler) {
		routes = append(routes, api.Route{
			Method: method, Path: "/api/2.0/fs/" + kind + "/{path...}", Permission: permission, Summary: summary,
			Handler: api.Raw(s.dispatch(h, directory)), Family: filesFamily,
		})
	}
	add("GET", "files", "Read a file (HEAD: describe it)", api.Read, false, s.getFile)
	add("PUT", "files", "Write a file", api.Write, false, s.putFile)
	add("DELETE", "files", "Delete a file", api.Write, false, s.deleteFile)
	// The SDKs fall back to one PUT when this is not there.
	add("POST", "files", "Not supported: uploading a file in parts", api.Write, false, func(http.ResponseWriter, *http.Request, string, bool) error {
		return wherry.NotImplemented("uploading a file in parts")
	})
	add("GET", "directories", "List a directory (HEAD: is there one)", api.Read, true, s.getDirectory)
	add("PUT", "directories", "Make a directory and its parents", api.Write, true, s.putDirectory)
	add("DELETE", "directories", "Delete an empty directory", api.Write, true, s.deleteDirectory)
	return routes
}

// dispatch chooses by the path's first part who serves it.
func (s *Service) dispatch(own FileHandler, directory bool) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		p := "/" + r.PathValue("path")
		first, _, _ := strings.Cut(strings.TrimPrefix(p, "/"), "/")
		if h := s.Files[first]; h != nil {
			return h(w, r, p, directory)
		}
		if first != "Volumes" {
			return wherry.Errorf(wherry.CodeInvalidParameter, "the path %.200q is not one of the Files API: it begins with /Volumes/", p)
		}
		return own(w, r, p, directory)
	}
}

func (s *Service) at(r *http.Request, p string) (*place, error) {
	return s.volume(r.Context(), strings.TrimPrefix(p, "/Volumes"))
}

// openFile opens a regular file; a directory or a device is none.
func (p *place) openFile(asked string) (*os.File, error) {
	info, err := p.Stat(p.name)
	switch {
	case err != nil:
		return nil, blob.Error(err, asked)
	case info.IsDir():
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "%s is a directory, not a file.", asked)
	case !info.Mode().IsRegular(): // opening a pipe would wait for its writer
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "%s is not a regular file.", asked)
	}
	f, err := p.Root.Open(p.name)
	return f, blob.Error(err, asked)
}

func (s *Service) getFile(w http.ResponseWriter, r *http.Request, p string, _ bool) error {
	at, err := s.at(r, p)
	if err != nil {
		return err
	}
	defer at.Close()
	if info, err := at.Stat(at.name); err == nil && info.IsDir() {
		return wherry.Errorf(wherry.CodeDoesNotExist, "%s is a directory, not a file.", p)
	}
	f, err := at.openFile(p)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	// Ranges, If-Unmodified-Since and HEAD are ServeContent's; the SDKs resume by them.
	http.ServeContent(w, r, "", info.ModTime(), f)
	return nil
}

func (s *Service) putFile(w http.ResponseWriter, r *http.Request, p string, _ bool) error {
	at, err := s.at(r, p)
	if err != nil {
		return err
	}
	defer at.Close()
	if at.name == at.top {
		return wherry.Errorf(wherry.CodeInvalidParameter, "%s is a volume: name a file in it", p)
	}
	overwrite := r.URL.Query().Get("overwrite") == "true"
	if err := at.mayWrite(p, overwrite); err != nil {
		return err
	}
	if err := at.Put(at.name, r.Body, overwrite); err != nil {
		return readError(err, p)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Service) deleteFile(w http.ResponseWriter, r *http.Request, p string, _ bool) error {
	at, err := s.at(r, p)
	if err != nil {
		return err
	}
	defer at.Close()
	info, err := at.Lstat(at.name)
	if err != nil {
		return blob.Error(err, p)
	}
	if info.IsDir() {
		return wherry.Errorf(wherry.CodeInvalidParameter, "%s is a directory, not a file.", p)
	}
	if err := at.Root.Remove(at.name); err != nil {
		return blob.Error(err, p)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

type directoryEntry struct {
	Path         string `json:"path"`
	Name         string `json:"name"`
	IsDirectory  bool   `json:"is_directory"`
	FileSize     int64  `json:"file_size,omitempty"`
	LastModified int64  `json:"last_modified,omitempty"` // ms
}

type directoryOutput struct {
	Contents      []directoryEntry `json:"contents,omitempty"`
	NextPageToken string           `json:"next_page_token,omitempty"`
}

// maxPage is how many entries a page of a directory has at most.
const maxPage = 1000

func (s *Service) getDirectory(w http.ResponseWriter, r *http.Request, p string, _ bool) error {
	at, err := s.at(r, p)
	if err != nil {
		return err
	}
	defer at.Close()
	if ok, err := isDir(at.Dir, at.name); err != nil || !ok {
		return blob.Error(cmp.Or(err, fs.ErrNotExist), p)
	}
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	infos, err := at.List(at.name)
	if err != nil {
		return blob.Error(err, p)
	}
	size, _ := strconv.Atoi(r.URL.Query().Get("page_size"))
	if size <= 0 || size > maxPage {
		size = maxPage
	}
	after, out := r.URL.Query().Get("page_token"), directoryOutput{}
	for _, i := range infos {
		if i.Name() <= after {
			continue
		}
		if len(out.Contents) == size {
			out.NextPageToken = out.Contents[size-1].Name
			break
		}
		e := directoryEntry{Path: path.Join(p, i.Name()), Name: i.Name(), IsDirectory: i.IsDir()}
		if !e.IsDirectory {
			e.FileSize, e.LastModified = i.Size(), i.ModTime().UnixMilli()
		}
		out.Contents = append(out.Contents, e)
	}
	return api.WriteJSON(w, http.StatusOK, out)
}

func (s *Service) putDirectory(w http.ResponseWriter, r *http.Request, p string, _ bool) error {
	at, err := s.at(r, p)
	if err != nil {
		return err
	}
	defer at.Close()
	if info, err := at.Stat(at.name); err == nil && !info.IsDir() {
		return wherry.Errorf(wherry.CodeAlreadyExists, "A file already exists at the input path %s.", p)
	}
	if err := at.MakeAll(at.name); err != nil {
		return blob.Error(err, p)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Service) deleteDirectory(w http.ResponseWriter, r *http.Request, p string, _ bool) error {
	at, err := s.at(r, p)
	if err != nil {
		return err
	}
	defer at.Close()
	if at.name == at.top {
		return wherry.Errorf(wherry.CodeInvalidParameter, "%s is a volume: delete it in the catalog", p)
	}
	info, err := at.Lstat(at.name)
	if err == nil && !info.IsDir() {
		return wherry.Errorf(wherry.CodeInvalidParameter, "%s is a file, not a directory.", p)
	}
	if err != nil {
		return blob.Error(err, p)
	}
	if err := at.Root.Remove(at.name); err != nil {
		return blob.Error(err, p)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
