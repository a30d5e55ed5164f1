package mlflow

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/store/mlflow"
)

// signedPath serves files to whoever has a URL that we signed.
const signedPath = "/api/wherry/signed-files/"

// signedFor is how long a signed URL works.
const signedFor = 15 * time.Minute

func (s *Service) internalFileRoutes() []api.Route {
	return []api.Route{
		{Method: "POST", Path: "/api/2.0/fs/create-upload-url", Permission: api.Write, Handler: api.JSON(s.uploadURL), Summary: "Sign a URL to upload a model's file"},
		{Method: "POST", Path: "/api/2.0/fs/create-download-url", Permission: api.Read, Handler: api.JSON(s.downloadURL), Summary: "Sign a URL to download a model's file"},
		{Method: "GET", Path: signedPath + "{path...}", Permission: api.Public, Handler: api.Raw(s.signedGet), Summary: "Download by a signed URL"},
		{Method: "PUT", Path: signedPath + "{path...}", Permission: api.Public, Handler: api.Raw(s.signedPut), Summary: "Upload by a signed URL"},
	}
}

type urlIn struct {
	Path string `json:"path"`
}

type urlOut struct {
	URL     string   `json:"url"`
	Headers []string `json:"headers"`
}

func (s *Service) uploadURL(ctx context.Context, in *urlIn) (*urlOut, error) {
	return s.signURL(ctx, http.MethodPut, in.Path)
}

func (s *Service) downloadURL(ctx context.Context, in *urlIn) (*urlOut, error) {
	return s.signURL(ctx, http.MethodGet, in.Path)
}

func (s *Service) signURL(ctx context.Context, method, p string) (*urlOut, error) {
	if strings.HasPrefix(p, "/Volumes/") {
		return nil, wherry.NotImplemented("signed URLs for volumes") // databricks-sdk falls back to the Files API
	}
	place, err := s.internalPlace(ctx, p, method == http.MethodPut)
	if err != nil {
		return nil, err
	}
	return &urlOut{URL: s.signedURL(ctx, method, place), Headers: []string{}}, nil
}

// signedURL lets its holder read or write one file for a while.
func (s *Service) signedURL(ctx context.Context, method, place string) string {
	expires := strconv.FormatInt(time.Now().Add(signedFor).Unix(), 10)
	u := &url.URL{Path: signedPath + place}
	q := url.Values{"expires": {expires}, "signature": {s.sign(method, place, expires)}}
	return wherry.IdentityFrom(ctx).BaseURL + u.EscapedPath() + "?" + q.Encode()
}

func (s *Service) sign(method, place, expires string) string {
	h := hmac.New(sha256.New, s.key)
	fmt.Fprintf(h, "%s\n%s\n%s", method, place, expires)
	return hex.EncodeToString(h.Sum(nil))
}

func (s *Service) checkSignature(r *http.Request, method string) (place string, err error) {
	q, place := r.URL.Query(), r.PathValue("path")
	expires, _ := strconv.ParseInt(q.Get("expires"), 10, 64)
	if !hmac.Equal([]byte(s.sign(method, place, q.Get("expires"))), []byte(q.Get("signature"))) {
		return "", wherry.Errorf(wherry.CodePermissionDenied, "the signature of this URL is not ours")
	}
	if time.Now().Unix() > expires {
		return "", wherry.Errorf(wherry.CodePermissionDenied, "this URL has expired: ask for another one")
	}
	return place, nil
}

func (s *Service) signedGet(w http.ResponseWriter, r *http.Request) error {
	place, err := s.checkSignature(r, http.MethodGet)
	if err != nil {
		return err
	}
	return s.send(w, r, place)
}

func (s *Service) signedPut(w http.ResponseWriter, r *http.Request) error {
	place, err := s.checkSignature(r, http.MethodPut)
	if err != nil {
		return err
	}
	if err := s.receive(place, r.Body); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

var internalPath = regexp.MustCompile(`^/WorkspaceInternal/Mlflow/Artifacts/(\d+)/(Runs/[0-9a-f]{32}|LoggedModels/m-[0-9a-f]{32})(/.*)?$`)

// internalPlace turns a path of the Files API into a PATH of ours and checks
// that what it belongs to exists, and may still change if it is to be written.
func (s *Service) internalPlace(ctx context.Context, p string, write bool) (string, error) {
	if err := checkPath(strings.TrimPrefix(p, "/")); err != nil {
		return "", err
	}
	if m := internalPath.FindStringSubmatch(p); m != nil {
		kind, id, _ := strings.Cut(m[2], "/")
		if kind == "LoggedModels" {
			if _, err := s.store.LoggedModel(ctx, ws(ctx), id); err != nil {
				return "", err
			}
			return path.Join(m[1], "models", id, m[3]), nil
		}
		if _, err := s.store.Info(ctx, ws(ctx), id); err != nil {
			return "", err
		}
		return path.Join(m[1], id, m[3]), nil
	}
	parts := strings.SplitN(strings.TrimPrefix(p, "/"), "/", 6)
	if len(parts) < 5 || parts[0] != "Models" {
		return "", wherry.Errorf(wherry.CodeDoesNotExist, "no files at %s", p)
	}
	v, err := s.store.Version(ctx, mlflow.Account, strings.Join(parts[1:4], "."), parts[4])
	if err != nil {
		return "", err
	}
	if write && (!v.Uploaded || v.Status != mlflow.VersionPending) {
		return "", wherry.Errorf(wherry.CodePermissionDenied, "Model version %s of %s is %s: its files do not change any more", v.Version, v.Name, v.Status)
	}
	folder, err := s.versionFolder(ctx, v)
	if err != nil || len(parts) < 6 {
		return folder, err
	}
	return path.Join(folder, parts[5]), nil
}

type directoryEntry struct {
	Path        string `json:"path"`
	IsDirectory bool   `json:"is_directory"`
	Size        int64  `json:"file_size,omitempty"`
	Modified    int64  `json:"last_modified"`
	Name        string `json:"name"`
}

type directoryOut struct {
	Contents []directoryEntry `json:"contents,omitempty"`
}

// Files serves /Models/… and /WorkspaceInternal/… of the Files API
// (/api/2.0/fs/files and /directories), whose routes are the workspace's.
func (s *Service) Files(w http.ResponseWriter, r *http.Request, p string, directory bool) error {
	write := r.Method != http.MethodGet && r.Method != http.MethodHead
	place, err := s.internalPlace(r.Context(), strings.TrimSuffix(p, "/"), write)
	if err != nil {
		return err
	}
	if directory {
		return s.directory(w, r, strings.TrimSuffix(p, "/"), place)
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return s.send(w, r, place)
	case http.MethodPut:
		if err := s.receive(place, r.Body); err != nil {
			return err
		}
	case http.MethodDelete:
		if err := s.remove(place); err != nil {
			return err
		}
	default: // the SDKs fall back to one PUT
		return wherry.NotImplemented("uploading a file in parts")
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Service) directory(w http.ResponseWriter, r *http.Request, p, place string) error {
	root, name, err := s.place(place)
	if err != nil {
		return err
	}
	switch r.Method {
	case http.MethodPut:
		if err := root.MkdirAll(name, 0o700); err != nil {
			return invalid("'%s' cannot be made: a part of its path is a file", p)
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	case http.MethodGet, http.MethodHead:
	default:
		return wherry.NotImplemented("deleting folders of MLflow by the Files API")
	}
	if i, err := root.Stat(name); err != nil || !i.IsDir() {
		return wherry.Errorf(wherry.CodeDoesNotExist, "No such directory: %s", p)
	}
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	list, err := listFolder(root, name)
	if err != nil {
		return err
	}
	out := directoryOut{}
	for _, f := range list {
		e := directoryEntry{Path: p + "/" + f.Path, IsDirectory: f.IsDir, Size: f.Size, Name: f.Path}
		if i, err := root.Stat(name + "/" + f.Path); err == nil {
			e.Modified = i.ModTime().UnixMilli()
		}
		out.Contents = append(out.Contents, e)
	}
	return api.WriteJSON(w, http.StatusOK, out)
}
