package workspace

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/blob"
	"github.com/wherry-ml/wherry/notebook"
	store "github.com/wherry-ml/wherry/store/workspace"
)

// Limits of imports, in bytes: what is read into memory, and what is streamed.
const (
	maxNotebook = 64 << 20
	maxImport   = 2 << 30
)

// imported is one thing to import.
type imported struct {
	path, format, language string
	overwrite              bool
	content                io.Reader
}

// importCall takes a form with a file, which SDKs send, or JSON with base64.
func (s *Service) importCall(w http.ResponseWriter, r *http.Request) error {
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind == "multipart/form-data" {
		return s.importForm(w, r)
	}
	var in struct {
		Path      string `json:"path"`
		Format    string `json:"format"`
		Language  string `json:"language"`
		Overwrite bool   `json:"overwrite"`
		Content   string `json:"content"`
	}
	if err := api.Decode(r, &in); err != nil {
		return err
	}
	content, err := base64.StdEncoding.DecodeString(in.Content)
	if err != nil {
		return wherry.Errorf(wherry.CodeInvalidParameter, "content is not base64: %v", err)
	}
	if err := s.importOne(r.Context(), imported{in.Path, in.Format, in.Language, in.Overwrite, bytes.NewReader(content)}); err != nil {
		return err
	}
	return api.WriteJSON(w, http.StatusOK, api.Empty{})
}

func (s *Service) importForm(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, maxImport)
	if err := r.ParseMultipartForm(1 << 20); err != nil { // larger parts go to a temporary file
		return wherry.Errorf(wherry.CodeInvalidParameter, "the form cannot be read: %v", err)
	}
	defer func() { _ = r.MultipartForm.RemoveAll() }()
	in := imported{path: r.FormValue("path"), format: r.FormValue("format"), language: r.FormValue("language"), overwrite: r.FormValue("overwrite") == "true"}
	content, _, err := r.FormFile("content")
	switch {
	case errors.Is(err, http.ErrMissingFile):
		in.content = strings.NewReader(r.FormValue("content")) // sent as a plain field
	case err != nil:
		return wherry.Errorf(wherry.CodeInvalidParameter, "the form's content cannot be read: %v", err)
	default:
		defer content.Close()
		in.content = content
	}
	if err := s.importOne(r.Context(), in); err != nil {
		return err
	}
	return api.WriteJSON(w, http.StatusOK, api.Empty{})
}

// importFile streams a body of any size into the tree.
func (s *Service) importFile(w http.ResponseWriter, r *http.Request) error {
	in := imported{path: "/" + r.PathValue("path"), format: "AUTO", overwrite: r.URL.Query().Get("overwrite") == "true", content: http.MaxBytesReader(w, r.Body, maxImport)}
	if err := s.importOne(r.Context(), in); err != nil {
		return err
	}
	return api.WriteJSON(w, http.StatusOK, api.Empty{})
}

func (s *Service) importOne(ctx context.Context, in imported) error {
	name, err := store.CleanPath(in.path)
	if err != nil {
		return err
	}
	if name == "." {
		return wherry.Errorf(wherry.CodeInvalidParameter, "path is the root folder: give the object a name")
	}
	d, ws, err := s.tree(ctx)
	if err != nil {
		return err
	}
	defer d.Close()
	to, err := in.place(name)
	if err != nil {
		return err
	}
	if ok, err := isDir(d, path.Dir(name)); err != nil || !ok {
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return wherry.Errorf(wherry.CodeDoesNotExist, "The parent folder (/%s) does not exist.", path.Dir(name))
		}
		return blob.Error(err, in.path)
	}
	old, err := occupant(d, name, to)
	if err != nil {
		return err
	}
	switch {
	case old == nil:
	case old.Type == wherry.ObjectDirectory:
		return wherry.Errorf(wherry.CodeAlreadyExists, "Path (%s) is a folder.", in.path)
	case !in.overwrite:
		return wherry.Errorf(wherry.CodeAlreadyExists, "Path (%s) already exists.", in.path)
	}
	if err := d.Put(to.file, to.content, in.overwrite); err != nil {
		return readError(err, in.path)
	}
	// The same notebook may have had another extension.
	if old != nil && old.File != to.file && old.Type == wherry.ObjectNotebook {
		if err := d.Root.Remove(old.File); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return blob.Error(err, in.path)
		}
		return s.store.Renamed(ctx, ws, old.File, to.file)
	}
	return nil
}

// occupant returns what an import would replace, nil if nothing: the file of
// that name, or what the API calls by the new notebook's name.
func occupant(d *blob.Dir, name string, to placed) (*wherry.Object, error) {
	o, err := store.Find(d, "/"+to.file)
	if err != nil && wherry.CodeOf(err) != wherry.CodeDoesNotExist {
		return nil, err
	}
	if err == nil && (!to.notebook || o.File == to.file) {
		return o, nil
	}
	if !to.notebook {
		return nil, nil
	}
	bare := store.Name(to.file)
	o, err = store.Find(d, "/"+bare)
	if wherry.CodeOf(err) == wherry.CodeDoesNotExist || err == nil && o.Type == wherry.ObjectDirectory && bare != name {
		return nil, nil // a folder may stand beside nb.py
	}
	return o, err
}

// readError tells a body that was cut off or is too large from errors of the
// disk.
func readError(err error, p string) error {
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return wherry.Errorf(wherry.CodeInvalidParameter, "%s is larger than %d bytes", p, e.Limit)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return wherry.Errorf(wherry.CodeBadRequest, "the request ended before all of %s was received", p)
	}
	return blob.Error(err, p)
}

// placed is what an import makes: a file's name on disk and its bytes.
type placed struct {
	file     string
	notebook bool
	content  io.Reader
}

func (in *imported) place(name string) (placed, error) {
	switch strings.ToUpper(in.format) {
	case "", "SOURCE":
		return in.source(name)
	case "JUPYTER":
		content, err := jupyter(in.content, in.path)
		return placed{withExtension(name, ".ipynb"), true, content}, err
	case "AUTO":
		r := bufio.NewReaderSize(in.content, 256)
		head, err := r.Peek(128)
		if err != nil && !errors.Is(err, io.EOF) {
			return placed{}, readError(err, in.path)
		}
		// A notebook and a file have the same name on disk; only its header tells.
		_, isNotebook := store.NotebookLanguage(path.Base(name), head)
		if isNotebook && strings.HasSuffix(name, ".ipynb") {
			content, err := jupyter(r, in.path)
			return placed{name, true, content}, err
		}
		return placed{name, isNotebook, r}, nil
	case "RAW":
		return placed{name, false, in.content}, nil
	case "HTML", "R_MARKDOWN", "DBC":
		return placed{}, wherry.NotImplemented("import of format " + in.format)
	}
	return placed{}, wherry.Errorf(wherry.CodeInvalidParameter, "format must be SOURCE, AUTO, JUPYTER or RAW, not %q", in.format)
}

// source makes a notebook of source code: with the header that marks it as one.
func (in *imported) source(name string) (placed, error) {
	language := strings.ToLower(in.language)
	if language == "" && path.Ext(name) != ".ipynb" {
		language = notebook.Language(name)
	}
	ext := notebook.Extension(language)
	if ext == "" {
		return placed{}, wherry.Errorf(wherry.CodeInvalidParameter, "language is required to import source code: PYTHON, SQL, SCALA or R, not %q", in.language)
	}
	if strings.EqualFold(path.Ext(name), ext) {
		ext = path.Ext(name) // .R
	}
	header := string(notebook.WithHeader(language, nil))
	r := bufio.NewReaderSize(in.content, 256)
	head, err := r.Peek(128)
	if err != nil && !errors.Is(err, io.EOF) {
		return placed{}, readError(err, in.path)
	}
	to := placed{file: withExtension(name, ext), notebook: true, content: r}
	if !notebook.Is("x"+ext, head) {
		to.content = io.MultiReader(strings.NewReader(header), r)
	}
	return to, nil
}

func withExtension(name, ext string) string {
	if strings.HasSuffix(name, ext) && path.Base(name) != ext {
		return name
	}
	return name + ext
}

// jupyter reads a notebook and checks that it is one.
func jupyter(r io.Reader, p string) (io.Reader, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxNotebook+1))
	if err != nil {
		return nil, readError(err, p)
	}
	var doc struct {
		Cells []json.RawMessage `json:"cells"`
		Major int               `json:"nbformat"`
	}
	if err := json.Unmarshal(b, &doc); err != nil || len(b) > maxNotebook {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "%s is not a Jupyter notebook of at most %d bytes", p, maxNotebook)
	}
	if doc.Major != 0 && doc.Major < 4 {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "%s has nbformat %d: save it as version 4", p, doc.Major)
	}
	return bytes.NewReader(b), nil
}
