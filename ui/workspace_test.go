package ui_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestWorkspacePages(t *testing.T) {
	w := open(t)
	put(t, w.Server, "Shared/nb.py", "# Databricks notebook source\n# MAGIC %md\n# MAGIC # Otters <script>alert(1)</script>\n\n# COMMAND ----------\n\nprint('a < b')\n")
	put(t, w.Server, "Shared/book.ipynb", `{"cells":[{"cell_type":"code","metadata":{},"source":["select(1)"],"outputs":[{"output_type":"display_data","data":{"text/html":"<script>alert(2)</script>"}}]}],"metadata":{},"nbformat":4}`)
	put(t, w.Server, "Shared/broken.ipynb", "{")
	put(t, w.Server, "Shared/a b/plain.txt", "<script>alert(3)</script> & more\n")
	put(t, w.Server, "Shared/bytes.bin", "\x00\x01")
	put(t, w.Server, "Shared/long.txt", strings.Repeat("ü", 300<<10))
	put(t, w.Server, "Shared/long.ipynb", `{"cells":[]}`+strings.Repeat(" ", 17<<20))
	put(t, w.Server, "Shared/many.py", "# Databricks notebook source\n"+strings.Repeat("x = 1\n\n# COMMAND ----------\n\n", 310))
	if err := syscall.Mkfifo(w.State.Workspace(1)+"/Shared/pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc", w.State.Workspace(1)+"/Shared/etc"); err != nil {
		t.Fatal(err)
	}
	w.page("/workspace/", "Shared/", "Users/", "Folder")
	body := w.page("/workspace/Shared/", `href="/workspace/Shared/nb"`, "Notebook, Python", `href="/workspace/Shared/a%20b/"`, "614 KB")
	if strings.Contains(body, `"/workspace/Shared/etc`) {
		t.Error("a link that leads out is shown")
	}
	for i := range 505 {
		put(t, w.Server, fmt.Sprintf("Shared/full/%03d.txt", i), "x")
	}
	w.page("/workspace/Shared/full/", "499.txt", "5 more are not shown")
	for path, texts := range map[string][]string{
		"/workspace/Shared/nb":              {"<h1>Otters", "&lt; b", `data-state="source"`, "Download"},
		"/workspace/Shared/book":            {"select"},
		"/workspace/Shared/broken":          {"is not an .ipynb notebook"},
		"/workspace/Shared/a%20b/plain.txt": {"&lt;script&gt;alert(3)&lt;/script&gt; &amp; more", `href="/workspace/Shared/a%20b/"`},
		"/workspace/Shared/bytes.bin":       {"It is not text"},
		"/workspace/Shared/pipe":            {"not a regular file"},
		"/workspace/Shared/long.txt":        {"only its beginning", "üü"},
		"/workspace/Shared/long.ipynb":      {"too long to be shown"},
		"/workspace/Shared/many":            {"Only the first 300 cells"},
	} {
		if body := w.page(path, texts...); strings.Contains(body, "<script>") || len(body) > 1<<20 {
			t.Errorf("%s: %d bytes, or with a script of the file", path, len(body))
		}
	}
	if to := w.send("GET", "/workspace/Shared/full", nil).Header.Get("Location"); to != "/workspace/Shared/full/" {
		t.Errorf("a folder without its slash leads to %q", to)
	}
	for _, path := range []string{"/workspace/Shared/nothing", "/workspace/Shared/nothing/", "/workspace/Shared/etc/passwd", "/workspace/Shared/..%2f..%2fwherry.db", "/workspace/%2e%2e/wherry.db"} {
		if res := w.send("GET", path, nil); res.StatusCode != http.StatusNotFound && res.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
}
