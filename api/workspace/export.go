package workspace

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/blob"
	store "github.com/wherry-ml/wherry/store/workspace"
)

// maxExport bounds an export inside JSON, in bytes, as the platform documents.
const maxExport = 10 << 20

type exportOutput struct {
	Content  string `json:"content"` // base64
	FileType string `json:"file_type"`
}

// export gives the bytes of a file, or a notebook in a format: as it is on disk
// (AUTO), as source code (SOURCE, the default) or as a Jupyter notebook.
func (s *Service) export(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	d, _, err := s.tree(r.Context())
	if err != nil {
		return err
	}
	defer d.Close()
	o, err := store.Find(d, q.Get("path"))
	if err != nil {
		return err
	}
	if o.Type == wherry.ObjectDirectory {
		return wherry.NotImplemented("export of a folder")
	}
	f, err := d.Root.Open(o.File)
	if err != nil {
		return blob.Error(err, o.Path)
	}
	defer f.Close()
	var content io.Reader = f
	ext, file := path.Ext(o.File), path.Base(o.Path)
	if o.Type == wherry.ObjectNotebook {
		if ext, content, err = convert(o, f, strings.ToUpper(q.Get("format"))); err != nil {
			return err
		}
		file += ext
	}
	if q.Get("direct_download") == "true" {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", file))
		_, err := io.Copy(w, content)
		return err
	}
	b, err := io.ReadAll(io.LimitReader(content, maxExport+1))
	if err != nil {
		return err
	}
	if len(b) > maxExport {
		return wherry.Errorf(wherry.CodeMaxReadExceeded, "%s is larger than %d bytes: use direct_download=true", o.Path, maxExport)
	}
	return api.WriteJSON(w, http.StatusOK, exportOutput{Content: base64.StdEncoding.EncodeToString(b), FileType: strings.TrimPrefix(ext, ".")})
}
