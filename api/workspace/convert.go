package workspace

import (
	"bytes"
	"io"
	"path"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/notebook"
)

// convert returns a notebook's bytes in an export format, and the extension of
// a file that holds them.
func convert(o *wherry.Object, f io.Reader, format string) (ext string, content io.Reader, err error) {
	ext = path.Ext(o.File)
	isJupyter := ext == ".ipynb"
	switch format {
	case "AUTO", "RAW":
		return ext, f, nil
	case "", "SOURCE":
		if !isJupyter {
			return ext, f, nil
		}
		nb, err := parse(o, f)
		if err != nil {
			return "", nil, err
		}
		return notebook.Extension(strings.ToLower(o.Language)), bytes.NewReader(nb.SourceFile()), nil
	case "JUPYTER":
		if isJupyter {
			return ext, f, nil
		}
		nb, err := parse(o, f)
		if err != nil {
			return "", nil, err
		}
		b, err := nb.Jupyter()
		return ".ipynb", bytes.NewReader(b), err
	case "HTML", "DBC", "R_MARKDOWN":
		return "", nil, wherry.NotImplemented("export of format " + format)
	}
	return "", nil, wherry.Errorf(wherry.CodeInvalidParameter, "format must be SOURCE, AUTO, JUPYTER or RAW, not %q", format)
}

func parse(o *wherry.Object, f io.Reader) (*notebook.Notebook, error) {
	b, err := io.ReadAll(io.LimitReader(f, maxNotebook+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxNotebook {
		return nil, wherry.Errorf(wherry.CodeMaxReadExceeded, "%s is larger than %d bytes: export it with format AUTO", o.Path, maxNotebook)
	}
	return notebook.Parse(o.File, b)
}
