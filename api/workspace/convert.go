package workspace

import (
	"io"
	"path"

	"github.com/wherry-ml/wherry"
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
	case "JUPYTER":
		if isJupyter {
			return ext, f, nil
		}
	case "HTML", "DBC", "R_MARKDOWN":
		return "", nil, wherry.NotImplemented("export of format " + format)
	default:
		return "", nil, wherry.Errorf(wherry.CodeInvalidParameter, "format must be SOURCE, AUTO, JUPYTER or RAW, not %q", format)
	}
	return "", nil, wherry.NotImplemented("export of " + ext + " as " + format)
}
