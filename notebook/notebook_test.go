package notebook

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry"
)

var update = flag.Bool("update", false, "rewrite the goldens")

// golden compares got with a file of testdata. The .json ones are Python's too.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (go test -update rewrites it):\n%s", path, got)
	}
}

func parseFile(t *testing.T, name string) *Notebook {
	t.Helper()
	src, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	n, err := Parse(name, src)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestParse(t *testing.T) {
	for _, name := range []string{"etl.py", "query.sql", "plain.py", "model.ipynb"} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			e := json.NewEncoder(&b)
			e.SetEscapeHTML(false)
			e.SetIndent("", " ")
			if err := e.Encode(parseFile(t, name)); err != nil {
				t.Fatal(err)
			}
			golden(t, name+".json", b.Bytes())
		})
	}
}

// A notebook written in either format reads as the same cells.
func TestWriteAndReadBack(t *testing.T) {
	for _, name := range []string{"etl.py", "query.sql", "model.ipynb"} {
		n := parseFile(t, name)
		jupyter, err := n.Jupyter()
		if err != nil {
			t.Fatal(err)
		}
		for ext, data := range map[string][]byte{Extension(n.Language): n.SourceFile(), ".ipynb": jupyter} {
			back, err := Parse("x"+ext, data)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := strip(back), strip(n); got != want {
				t.Errorf("%s as %s:\n%s\nwant\n%s", name, ext, got, want)
			}
		}
	}
}

// strip leaves what both formats keep.
func strip(n *Notebook) string {
	var b strings.Builder
	for _, c := range n.Cells {
		b.WriteString(c.Kind + " " + c.Language + "\n" + c.Source + "\n---\n")
	}
	return b.String()
}

func TestHeader(t *testing.T) {
	for _, tt := range []struct {
		name, src string
		want      bool
	}{
		{"a.py", "# Databricks notebook source\nx", true},
		{"a.py", "# Databricks notebook source\r\nx", true},
		{"a.py", "x\n# Databricks notebook source", false},
		{"a.sql", "-- Databricks notebook source", true},
		{"a.ipynb", "{}", true},
		{"a.txt", "# Databricks notebook source", false},
	} {
		if got := Is(tt.name, []byte(tt.src)); got != tt.want {
			t.Errorf("Is(%q, %q) = %v", tt.name, tt.src, got)
		}
	}
	if got := string(WithHeader("PYTHON", []byte("x"))); got != "# Databricks notebook source\nx" {
		t.Errorf("WithHeader: %q", got)
	}
}

func TestBrokenJupyter(t *testing.T) {
	for _, src := range []string{"", "{", "{}", "[]", `{"cells": 3}`} {
		_, err := Parse("x.ipynb", []byte(src))
		if wherry.CodeOf(err) != wherry.CodeInvalidParameter {
			t.Errorf("Parse(%q): %v", src, err)
		}
	}
}

func TestRender(t *testing.T) {
	events, err := os.Open("testdata/events.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	var b bytes.Buffer
	if err := Render(&b, parseFile(t, "etl.py").Cells, events); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"<script>alert", `onclick="x`, `onerror="`} {
		if strings.Contains(b.String(), bad) {
			t.Errorf("the page contains %s", bad)
		}
	}
	golden(t, "etl.html", b.Bytes())
}

func TestANSI(t *testing.T) {
	for in, want := range map[string]string{
		"a\x1b[1;31mb\x1b[0mc":        `a<span class="ansi-bold ansi-1">b</span>c`,
		"\x1b[38;5;196mx":             `<span style="color:#ff0000">x</span>`,
		"\x1b[48;2;1;2;300mx\x1b[49m": `<span style="background-color:#0102ff">x</span>`,
		"1%\r2%\rdone\nnext\r\n":      "done\nnext\n",
		"\x1b[2Jgone\x1b]0;title\x07": "gone",
		"\x1b[m<&>":                   "&lt;&amp;&gt;",
		"\x1b[38mx":                   "x",
	} {
		if got := ANSI(in); got != want {
			t.Errorf("ANSI(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"etl.py", "query.sql", "plain.py", "model.ipynb"} {
		src, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(name, src)
	}
	f.Fuzz(func(t *testing.T, name string, src []byte) {
		n, err := Parse(name, src)
		if err != nil {
			return
		}
		for i, c := range n.Cells {
			if c.Index != i || c.Line < 1 || c.Kind != Code && c.Kind != Markdown {
				t.Errorf("cell %d: %+v", i, c)
			}
		}
		if _, err := Parse("x"+Extension(n.Language), n.SourceFile()); err != nil {
			t.Error(err)
		}
		if err := Render(&bytes.Buffer{}, n.Cells, bytes.NewReader(src)); err != nil {
			t.Error(err)
		}
	})
}
