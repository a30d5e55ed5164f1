// Package notebook turns notebook files into cells and back, and executed
// notebooks into HTML. It is pure: no files, no clock. Its rules for source
// files are also python/wherry_runtime/source.py's; both pass testdata's goldens.
package notebook

import (
	"bytes"
	"path"
	"strings"

	"github.com/wherry-ml/wherry"
)

// Kinds of cell.
const (
	Code     = "code"
	Markdown = "markdown"
)

// Languages of notebooks, as cells name them.
const (
	Python = "python"
	SQL    = "sql"
	Scala  = "scala"
	R      = "r"
)

// Notebook is a parsed notebook file.
type Notebook struct {
	// Language is the default one of its cells.
	Language string `json:"language"`
	Cells    []Cell `json:"cells"`
}

// Cell is one cell that is not empty.
type Cell struct {
	// Index is the cell's place among Cells.
	Index int    `json:"index"`
	Kind  string `json:"kind"`
	// Language is a notebook language, or sh, fs, run or md for a cell that
	// begins with that magic.
	Language string `json:"language"`
	// Source is the cell without the magic that Language tells, and without
	// what the file format adds.
	Source string `json:"source"`
	// Line is where Source begins in the file, from 1; in an .ipynb, in the cell.
	Line  int    `json:"line"`
	Title string `json:"title"`
}

// format is how a language's source files mark a notebook.
type format struct{ language, comment string }

// formats by extension, in lower case.
var formats = map[string]format{
	".py":    {Python, "#"},
	".sql":   {SQL, "--"},
	".scala": {Scala, "//"},
	".r":     {R, "#"},
}

const (
	header    = " Databricks notebook source"
	separator = " COMMAND ----------"
)

// Is tells whether a file is a notebook: an .ipynb, or a source file with the
// header.
func Is(name string, src []byte) bool {
	ext := strings.ToLower(path.Ext(name))
	if ext == ".ipynb" {
		return true
	}
	f, ok := formats[ext]
	return ok && hasHeader(f, src)
}

func hasHeader(f format, src []byte) bool {
	first, _, _ := bytes.Cut(bytes.TrimPrefix(src, []byte("\ufeff")), []byte("\n"))
	return strings.TrimRight(string(first), " \t\r") == f.comment+header
}

// Language returns the language that an extension stands for, "" for none.
func Language(name string) string {
	ext := strings.ToLower(path.Ext(name))
	if ext == ".ipynb" {
		return Python
	}
	return formats[ext].language
}

// Extension returns the extension of a language's source files, ".py" for python.
func Extension(language string) string {
	for ext, f := range formats {
		if f.language == strings.ToLower(language) {
			return ext
		}
	}
	return ""
}

// WithHeader returns src as a notebook of the language: with the header line
// that an import through the workspace API may lack.
func WithHeader(language string, src []byte) []byte {
	f, ok := formats[Extension(language)]
	if !ok || hasHeader(f, src) {
		return src
	}
	return append([]byte(f.comment+header+"\n"), src...)
}

// Parse reads a notebook. A source file without the header is one cell. The
// only error is an .ipynb that is none, as a *wherry.Error.
func Parse(name string, src []byte) (*Notebook, error) {
	ext := strings.ToLower(path.Ext(name))
	if ext == ".ipynb" {
		n, err := parseJupyter(src)
		if err != nil {
			return nil, wherry.Errorf(wherry.CodeInvalidParameter, "%s is not an .ipynb notebook: %v", name, err)
		}
		return n, nil
	}
	f, ok := formats[ext]
	if !ok {
		f = formats[".py"]
	}
	return parseSource(f, strings.ToValidUTF8(string(src), "\ufffd")), nil
}
