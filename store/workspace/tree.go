// Package workspace stores what a workspace has beside its jobs: the tree of
// notebooks and files, secrets, and the permissions of objects. Files on disk
// are the truth; the database gives them ids.
package workspace

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/blob"
	"github.com/wherry-ml/wherry/notebook"
)

// extensions are those that notebooks have on disk, in the order in which a
// name without extension is tried.
var extensions = []string{".py", ".ipynb", ".sql", ".scala", ".r", ".R"}

// NotebookLanguage tells whether a file with a name's extension and these
// first bytes is a notebook, and in which language. Of a Jupyter notebook all
// bytes are needed to know of a language other than Python.
func NotebookLanguage(name string, head []byte) (language string, ok bool) {
	ext := path.Ext(name)
	if ext == name || !notebook.Is(name, head) { // ".py" is a name, not an extension
		return "", false
	}
	if ext == ".ipynb" {
		return jupyterLanguage(head), true
	}
	return strings.ToUpper(notebook.Language(name)), true
}

func jupyterLanguage(doc []byte) string {
	var nb struct {
		Metadata struct {
			Databricks struct {
				Language string `json:"language"`
			} `json:"application/vnd.databricks.v1+notebook"`
			Info struct {
				Name string `json:"name"`
			} `json:"language_info"`
		} `json:"metadata"`
	}
	_ = json.Unmarshal(doc, &nb) // a broken notebook is Python until it is run
	language := nb.Metadata.Databricks.Language
	if language == "" {
		language = nb.Metadata.Info.Name
	}
	switch l := strings.ToUpper(language); l {
	case wherry.LanguageSQL, wherry.LanguageScala, wherry.LanguageR:
		return l
	}
	return wherry.LanguagePython
}

// Name returns the API's name of a notebook's file: without its extension.
func Name(file string) string { return strings.TrimSuffix(file, path.Ext(file)) }

// CleanPath turns the path of an object, /Users/… or /Workspace/Users/…, into
// a name for blob.Dir.
func CleanPath(p string) (string, error) {
	if !strings.HasPrefix(p, "/") {
		return "", wherry.Errorf(wherry.CodeInvalidParameter, "Path (%.200s) doesn't start with '/'", p)
	}
	name, err := blob.Clean(p)
	if err != nil {
		return "", err
	}
	if name == "Workspace" {
		return ".", nil
	}
	return strings.TrimPrefix(name, "Workspace/"), nil
}

// Resolve finds the object that a path names in the tree below the directory
// root (state.Dir.Workspace): the file itself, else the notebook of that name
// with an extension, else the directory. It fails with
// RESOURCE_DOES_NOT_EXIST.
func Resolve(root, p string) (*wherry.Object, error) {
	dir, err := blob.Open(root)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return Find(dir, p)
}

// Find is Resolve in an open directory.
func Find(dir *blob.Dir, p string) (*wherry.Object, error) {
	name, err := CleanPath(p)
	if err != nil {
		return nil, err
	}
	info, err := dir.Stat(name)
	if err == nil && !info.IsDir() {
		o, err := describe(dir, name, info)
		if err == nil {
			o.Path = "/" + strings.TrimPrefix(name, "./") // as it was asked for
		}
		return o, err
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, blob.Error(err, p)
	}
	for _, ext := range extensions {
		found, ferr := dir.Stat(name + ext)
		if name == "." || ferr != nil || found.IsDir() {
			continue
		}
		if o, err := describe(dir, name+ext, found); err == nil && o.Type == wherry.ObjectNotebook {
			return o, nil
		}
	}
	if err != nil {
		return nil, wherry.Errorf(wherry.CodeDoesNotExist, "Path (%s) doesn't exist.", p)
	}
	return describe(dir, name, info)
}

// FindDirectory finds the directory of a path, even beside a notebook of the
// same name.
func FindDirectory(dir *blob.Dir, p string) (*wherry.Object, error) {
	name, err := CleanPath(p)
	if err != nil {
		return nil, err
	}
	info, err := dir.Stat(name)
	if err != nil || !info.IsDir() {
		return nil, wherry.Errorf(wherry.CodeDoesNotExist, "Path (%s) doesn't exist.", p)
	}
	return describe(dir, name, info)
}

// Children returns the objects in a directory.
func Children(dir *blob.Dir, name string) ([]*wherry.Object, error) {
	infos, err := dir.List(name)
	if err != nil {
		return nil, blob.Error(err, "/"+name)
	}
	taken := map[string]bool{}
	for _, i := range infos {
		taken[i.Name()] = true
	}
	list := []*wherry.Object{}
	for _, i := range infos {
		file := path.Join(name, i.Name())
		o, err := describe(dir, file, i)
		if errors.Is(err, fs.ErrNotExist) {
			continue // gone meanwhile
		}
		if err != nil {
			return nil, err
		}
		// Of two objects with one name the later is shown as it is on disk.
		if o.Type == wherry.ObjectNotebook {
			if bare := Name(i.Name()); taken[bare] {
				o.Path = "/" + file
			} else {
				taken[bare] = true
			}
		}
		list = append(list, o)
	}
	return list, nil
}

// How much of a file is read to learn whether it is a notebook, in bytes: the
// first line, or of a Jupyter notebook what tells its language.
const (
	maxHeader  = 128
	maxJupyter = 4 << 20
)

func describe(dir *blob.Dir, name string, info fs.FileInfo) (*wherry.Object, error) {
	o := &wherry.Object{Type: wherry.ObjectDirectory, Path: "/" + name, File: name, ModifiedAt: info.ModTime().UnixMilli()}
	if name == "." {
		o.Path = "/"
	}
	if info.IsDir() {
		return o, nil
	}
	o.Type, o.Size = wherry.ObjectFile, info.Size()
	limit := int64(0)
	switch ext := path.Ext(name); {
	case ext == ".ipynb":
		limit = maxJupyter
	case slices.Contains(extensions, ext):
		limit = maxHeader
	}
	if limit == 0 || !info.Mode().IsRegular() {
		return o, nil
	}
	f, err := dir.Root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	head, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return nil, err
	}
	if language, ok := NotebookLanguage(path.Base(name), head); ok {
		o.Type, o.Language, o.Size, o.Path = wherry.ObjectNotebook, language, 0, "/"+Name(name)
	}
	return o, nil
}
