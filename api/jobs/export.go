package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/notebook"
)

// maxExport is how much of a notebook's outputs an export holds.
const maxExport = 10 << 20

type exportIn struct {
	RunID wherry.Int64 `json:"run_id"`
	Views string       `json:"views_to_export"` // CODE (default), DASHBOARDS or ALL
}

type exportOut struct {
	Views []exportView `json:"views"`
}

type exportView struct {
	Content string `json:"content"` // an HTML page
	Name    string `json:"name"`
	Type    string `json:"type"`
}

// export gives the notebook as a task run executed it.
func (s *Service) export(ctx context.Context, in *exportIn) (*exportOut, error) {
	switch in.Views {
	case "", "CODE", "ALL": // a notebook has no dashboards here
	case "DASHBOARDS":
		return nil, wherry.NotImplemented("exporting dashboards of a notebook")
	default:
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "views_to_export is CODE, DASHBOARDS or ALL, not %q", in.Views)
	}
	r, t, err := s.taskRun(ctx, int64(in.RunID), "Exporting")
	if err != nil {
		return nil, err
	}
	task := r.TaskOf(t)
	if task == nil || task.Notebook == nil {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "Run %d is not a notebook's: only notebooks are exported.", t.ID)
	}
	name := path.Base(task.Notebook.Path)
	page, err := executedPage(s.dir.Run(t.ID), name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "Run %d has executed no notebook yet.", t.ID)
	}
	if err != nil {
		return nil, err
	}
	return &exportOut{[]exportView{{Content: page, Name: name, Type: "NOTEBOOK"}}}, nil
}

// exportStyle is what a page needs besides the colours of code.
const exportStyle = ":root{color-scheme:light dark}body{font:16px/1.5 sans-serif;max-width:70em;margin:2em auto;padding:0 1em}" +
	"pre{overflow-x:auto}table{border-collapse:collapse}td,th{border:1px solid #8888;padding:.2em .6em}.nb-frame{width:100%;border:0}.nb-error{color:#c22}"

// executedPage makes a page of the notebook in a run's folder that needs
// nothing else.
func executedPage(dir, name string) (string, error) {
	doc, err := os.ReadFile(filepath.Join(dir, "source.json"))
	if err != nil {
		return "", err
	}
	var cells []notebook.Cell
	if err := json.Unmarshal(doc, &cells); err != nil {
		return "", fmt.Errorf("executed source: %w", err)
	}
	var events io.Reader = strings.NewReader("")
	f, err := os.Open(filepath.Join(dir, "events"))
	switch {
	case err == nil:
		defer f.Close()
		events = io.LimitReader(f, maxExport)
	case !errors.Is(err, fs.ErrNotExist): // without it, nothing was printed yet
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>%s</title><style>%s%s</style></head>\n<body>\n",
		html.EscapeString(name), exportStyle, notebook.CSS())
	if err := notebook.Render(&b, cells, events); err != nil {
		return "", err
	}
	fmt.Fprintf(&b, "<script>%s</script>\n</body></html>\n", notebook.FrameScript)
	return b.String(), nil
}
