package deployments

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/bundle/deployment"
	"github.com/wherry-ml/wherry/state"
)

// Files are kept once by content, in blobs/<sha256>, and never changed there.
// A tree is a folder of hard links to them, named by the digest of its
// manifest; what is live in the workspace is a copy that tasks may write to.

func (s *Service) blobs() string { return s.dir.Path("blobs") }

// work holds what is being written; it is swept at start.
func (s *Service) work() string { return s.dir.Path("deploying") }

func (s *Service) tree(digest string) string { return filepath.Join(s.dir.Trees(), digest) }

func (s *Service) manifest(digest string) string { return s.tree(digest) + ".json" }

func (s *Service) sweep() error {
	if err := os.RemoveAll(s.work()); err != nil {
		return err
	}
	for _, dir := range []string{s.blobs(), s.work(), s.dir.Trees()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// blob is where a content is. Links share a mode: executables are kept apart.
func (s *Service) blob(sha string, exec bool) string {
	if exec {
		sha += "x"
	}
	return filepath.Join(s.blobs(), sha)
}

func isSHA256(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == sha256.Size && strings.ToLower(s) == s
}

// putBlob takes in one content, streamed, and refuses one that is not what its
// name says.
func (s *Service) putBlob(w http.ResponseWriter, r *http.Request) error {
	want, exec := r.PathValue("sha256"), r.URL.Query().Get("exec") == "true"
	if !isSHA256(want) {
		return wherry.Errorf(wherry.CodeInvalidParameter, "%q is not a SHA-256 in hexadecimal", want)
	}
	f, err := os.CreateTemp(s.work(), "blob-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // renamed when all went well
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(f, h), r.Body); err != nil {
		return wherry.Errorf(wherry.CodeBadRequest, "the upload broke off: %v", err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		return wherry.Errorf(wherry.CodeInvalidParameter, "the content has SHA-256 %s, not %s", got, want)
	}
	mode := fs.FileMode(0o444)
	if exec {
		mode = 0o555
	}
	if err := errors.Join(f.Chmod(mode), f.Sync(), os.Rename(f.Name(), s.blob(want, exec)), state.SyncDir(s.blobs())); err != nil {
		return err
	}
	return api.WriteJSON(w, http.StatusOK, api.Empty{})
}

// missingBlobs lists contents that are not here, each once; executables have an
// "x" at the end.
func (s *Service) missingBlobs(lists ...[]deployment.File) (shas []string, bytes int64) {
	seen := map[string]bool{}
	for _, list := range lists {
		for _, f := range list {
			name := filepath.Base(s.blob(f.SHA256, f.Exec))
			if seen[name] {
				continue
			}
			seen[name] = true
			if _, err := os.Stat(s.blob(f.SHA256, f.Exec)); err != nil {
				shas = append(shas, name)
				bytes += f.Size
			}
		}
	}
	return shas, bytes
}

// digestOf is the name of a tree: of the sorted paths, modes and contents.
func digestOf(files []deployment.File) string {
	if len(files) == 0 {
		return ""
	}
	sorted := slices.SortedFunc(slices.Values(files), func(a, b deployment.File) int { return strings.Compare(a.Path, b.Path) })
	h := sha256.New()
	for _, f := range sorted {
		fmt.Fprintf(h, "%t %s %s\n", f.Exec, f.SHA256, f.Path)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// makeTree makes the tree of files, unless it is there, and returns its digest.
func (s *Service) makeTree(files []deployment.File) (string, error) {
	digest := digestOf(files)
	if digest == "" {
		return "", nil
	}
	if _, err := os.Stat(s.tree(digest)); err == nil {
		return digest, nil
	}
	tmp, err := os.MkdirTemp(s.work(), "tree-*")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(tmp) }() // renamed when all went well
	dirs := map[string]bool{tmp: true}
	for _, f := range files {
		name := filepath.Join(tmp, filepath.FromSlash(f.Path))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return "", err
		}
		for dir := filepath.Dir(name); !dirs[dir]; dir = filepath.Dir(dir) {
			dirs[dir] = true
		}
		if err := os.Link(s.blob(f.SHA256, f.Exec), name); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return "", wherry.Errorf(wherry.CodeInvalidState, "the content of %s was not uploaded", f.Path)
			}
			return "", fmt.Errorf("make tree: %w", err)
		}
	}
	for dir := range dirs {
		if err := errors.Join(os.Chmod(dir, 0o755), state.SyncDir(dir)); err != nil {
			return "", err
		}
	}
	manifest, err := json.Marshal(files)
	if err != nil {
		return "", err
	}
	if err := state.WriteFile(s.manifest(digest), manifest, 0o644); err != nil {
		return "", err
	}
	if err := os.Rename(tmp, s.tree(digest)); err != nil && !errors.Is(err, fs.ErrExist) {
		if _, there := os.Stat(s.tree(digest)); there != nil { // another deploy made the same tree
			return "", err
		}
	}
	return digest, state.SyncDir(s.dir.Trees())
}

// filesOf reads a tree's manifest; none for "" or a tree that is gone.
func (s *Service) filesOf(digest string) (files []deployment.File) {
	if digest == "" {
		return nil
	}
	b, err := os.ReadFile(s.manifest(digest))
	if err != nil || json.Unmarshal(b, &files) != nil {
		return nil
	}
	return files
}

// check refuses a request that would lead out of its place.
func check(in *deployment.Request) error {
	bad := func(format string, args ...any) error {
		return wherry.Errorf(wherry.CodeInvalidParameter, format, args...)
	}
	for name, p := range map[string]string{"root_path": in.RootPath, "file_path": in.FilePath, "artifact_path": in.ArtifactPath, "state_path": in.StatePath} {
		if !strings.HasPrefix(p, "/Workspace/") || path.Clean(p) != p || strings.Count(p, "/") < 3 {
			return bad("%s is %q: it must be a clean path at least two levels below /Workspace", name, p)
		}
	}
	if in.FilePath == in.RootPath || strings.HasPrefix(in.StatePath+"/", in.FilePath+"/") || strings.HasPrefix(in.ArtifactPath+"/", in.FilePath+"/") {
		return bad("file_path must be a folder of its own")
	}
	seen := map[string]bool{}
	for _, f := range in.Files {
		if !fs.ValidPath(f.Path) || f.Path == "." || strings.ContainsRune(f.Path, 0) || !isSHA256(f.SHA256) || seen[f.Path] {
			return bad("the file %q cannot be deployed", f.Path)
		}
		seen[f.Path] = true
	}
	for _, l := range in.Libraries {
		if !strings.HasPrefix(l.Path, in.ArtifactPath+"/") || path.Clean(l.Path) != l.Path || !isSHA256(l.SHA256) {
			return bad("the library %q cannot be deployed", l.Path)
		}
	}
	keys := map[string]bool{}
	for _, r := range in.Resources {
		if _, ok := kinds[r.Type]; !ok {
			return wherry.NotImplemented(fmt.Sprintf("the resource type %s (%s)", r.Type, r.At))
		}
		if r.Key == "" || keys[r.ID()] || r.Config == nil {
			return bad("the resource %q is there twice, or has no key or no settings", r.ID())
		}
		keys[r.ID()] = true
	}
	return nil
}
