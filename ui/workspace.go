package ui

import (
	"bytes"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/blob"
	"github.com/wherry-ml/wherry/notebook"
	"github.com/wherry-ml/wherry/store/workspace"
)

const (
	// maxSource bounds what is read of a file, maxNotebook of a notebook, whose
	// outputs are in its file too.
	maxSource      = 512 << 10
	maxNotebook    = 16 << 20
	maxSourceCells = 300
)

// folderView is a folder of the workspace.
type folderView struct {
	Path    string
	Crumbs  []crumb
	Files   []fileRow
	Omitted int
}

// sourceView is a notebook or file of the workspace.
type sourceView struct {
	*wherry.Object
	Crumbs   []crumb
	Content  template.HTML
	Problem  string // why there is no content
	Note     string // what is left out
	Download string
}

// Kind is what the object is, for people.
func (v sourceView) Kind() string { return objectKind(v.Object) }

func objectKind(o *wherry.Object) string {
	switch o.Type {
	case wherry.ObjectDirectory:
		return "Folder"
	case wherry.ObjectNotebook:
		return "Notebook, " + languages[o.Language]
	default:
		return "File"
	}
}

// workspace shows a folder, whose path ends in a slash, or a notebook or file.
func (s *Service) workspace(w http.ResponseWriter, r *http.Request) error {
	at := "/" + r.PathValue("path")
	d, err := blob.Open(s.cfg.State.Workspace(wherry.IdentityFrom(r.Context()).WorkspaceID))
	if err != nil {
		return err
	}
	defer d.Close()
	if !strings.HasSuffix(at, "/") {
		o, err := workspace.Find(d, at)
		if err != nil {
			return err
		}
		if o.Type == wherry.ObjectDirectory {
			return seeOther(w, r, workspacePath(o))
		}
		v, err := viewSource(d, o)
		if err != nil {
			return err
		}
		return s.render(w, r, http.StatusOK, "file", page{Title: path.Base(o.Path), Section: "workspace", Output: true, Body: v})
	}
	o, err := workspace.FindDirectory(d, at)
	if err != nil {
		return err
	}
	children, err := workspace.Children(d, o.File)
	if err != nil {
		return err
	}
	return s.render(w, r, http.StatusOK, "workspace", page{Title: o.Path, Section: "workspace", Body: viewFolder(o, children)})
}

// workspacePath is the page of an object.
func workspacePath(o *wherry.Object) string {
	at := "/workspace" + escaped(o.Path)
	if o.Type == wherry.ObjectDirectory && !strings.HasSuffix(at, "/") {
		at += "/"
	}
	return at
}

func viewFolder(o *wherry.Object, children []*wherry.Object) folderView {
	v := folderView{Path: o.Path, Crumbs: folders(o.Path)}
	slices.SortStableFunc(children, func(a, b *wherry.Object) int { return kindRank(a) - kindRank(b) })
	v.Omitted = max(0, len(children)-maxListed)
	for _, c := range children[:len(children)-v.Omitted] {
		row := fileRow{Name: path.Base(c.Path), Link: workspacePath(c), Kind: objectKind(c), Dir: c.Type == wherry.ObjectDirectory, Size: c.Size, Modified: c.ModifiedAt}
		v.Files = append(v.Files, row)
	}
	return v
}

var languages = map[string]string{wherry.LanguagePython: "Python", wherry.LanguageSQL: "SQL", wherry.LanguageScala: "Scala", wherry.LanguageR: "R"}

// kindRank puts folders before the rest.
func kindRank(o *wherry.Object) int {
	if o.Type == wherry.ObjectDirectory {
		return 0
	}
	return 1
}

// folders is the way to a path, from the top of the workspace.
func folders(p string) []crumb {
	list := []crumb{{"Workspace", "/workspace/"}}
	for at := 1; ; {
		next := strings.IndexByte(p[at:], '/')
		if next < 0 {
			return list
		}
		list = append(list, crumb{p[at : at+next], "/workspace" + escaped(p[:at+next]) + "/"})
		at += next + 1
	}
}

func viewSource(d *blob.Dir, o *wherry.Object) (v sourceView, err error) {
	v = sourceView{Object: o, Crumbs: folders(o.Path)}
	v.Download = "/api/2.0/workspace/export?" + url.Values{"path": {o.Path}, "format": {"AUTO"}, "direct_download": {"true"}}.Encode()
	limit := int64(maxSource)
	if o.Type == wherry.ObjectNotebook {
		limit = maxNotebook
	}
	info, err := d.Stat(o.File)
	if err != nil {
		return v, blob.Error(err, o.Path)
	}
	if v.Size = info.Size(); !info.Mode().IsRegular() { // opening a pipe would wait for its writer
		v.Problem, v.Download = "It is not a regular file.", ""
		return v, nil
	}
	f, err := d.Root.Open(o.File)
	if err != nil {
		return v, blob.Error(err, o.Path)
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return v, err
	}
	if int64(len(src)) == limit {
		v.Note = "The file is too long to be shown as a whole: only its beginning is."
	}
	if o.Type == wherry.ObjectNotebook {
		err = v.cells(src)
	} else {
		v.text(src)
	}
	return v, err
}

// text shows a file's text, in colour if it is in a language of notebooks.
func (v *sourceView) text(src []byte) {
	for cut := 0; v.Note != "" && cut < utf8.UTFMax && !utf8.Valid(src) && len(src) > 0; cut++ {
		src = src[:len(src)-1] // a character may have been cut
	}
	if bytes.IndexByte(src, 0) >= 0 || !utf8.Valid(src) {
		v.Problem = "It is not text."
		return
	}
	language := map[string]string{
		".py": "python", ".sql": "sql", ".scala": "scala", ".r": "r", ".sh": "bash", ".json": "json", ".yml": "yaml", ".yaml": "yaml",
	}[strings.ToLower(path.Ext(v.File))]
	v.Content = template.HTML(notebook.Highlight(language, string(src)))
}

// cells shows a notebook's cells without outputs: those are on the pages of the
// runs that made them.
func (v *sourceView) cells(src []byte) error {
	if v.Note != "" {
		v.Problem, v.Note = "The notebook is too long to be shown.", ""
		return nil
	}
	book, err := notebook.Parse(v.File, src)
	if err != nil {
		v.Problem = err.Error()
		return nil
	}
	if len(book.Cells) > maxSourceCells {
		v.Note = "Only the first 300 cells are shown."
		book.Cells = book.Cells[:maxSourceCells]
	}
	var b bytes.Buffer
	for _, c := range book.Cells {
		if len(c.Source) > maxText {
			c.Source = strings.ToValidUTF8(c.Source[:maxText], "") + "\n…"
			v.Note = "Long cells are shown in part."
		}
		if err := notebook.RenderCell(&b, c, &notebook.Result{State: "source"}); err != nil {
			return err
		}
	}
	v.Content = template.HTML(b.String())
	return nil
}
