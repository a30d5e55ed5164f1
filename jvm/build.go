package jvm

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"time"
)

// jarTime is the time of every entry: the earliest that zip can hold, so that
// the same sources always make the same bytes.
var jarTime = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// Build compiles the sources with javac (of JDK 17, which the bytes of the
// committed jar come from) against the jars of Spark and Delta and returns the
// jar. Equal sources, compiler and jars make equal bytes.
func Build(ctx context.Context, javac string, jars []string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "wherry-jvm-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	classes := filepath.Join(dir, "classes")
	names, err := sourceFiles()
	if err != nil {
		return nil, err
	}
	args := []string{
		"--release", "17", "-nowarn", "-proc:none", "-encoding", "UTF-8", "-g:source,lines",
		"-cp", strings.Join(jars, string(os.PathListSeparator)), "-d", classes,
	}
	for _, name := range names {
		b, err := Sources.ReadFile(name)
		if err != nil {
			return nil, err
		}
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(file, b, 0o644); err != nil {
			return nil, err
		}
		args = append(args, file)
	}
	if out, err := exec.CommandContext(ctx, javac, args...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("javac: %w\n%s", err, out)
	}
	return pack(classes)
}

func pack(classes string) ([]byte, error) {
	digest, err := Digest()
	if err != nil {
		return nil, err
	}
	var names []string
	err = filepath.WalkDir(classes, func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	sort.Strings(names)
	var jar bytes.Buffer
	w := zip.NewWriter(&jar)
	manifest := "Manifest-Version: 1.0\r\n" + SourceDigest + ": " + digest + "\r\n\r\n"
	if err := entry(w, "META-INF/MANIFEST.MF", foldManifest(manifest)); err != nil {
		return nil, err
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		rel, err := filepath.Rel(classes, name)
		if err != nil {
			return nil, err
		}
		if err := entry(w, filepath.ToSlash(rel), b); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return jar.Bytes(), nil
}

// foldManifest breaks lines at 70 bytes, as the format wants them (at most 72
// with the line end).
func foldManifest(text string) []byte {
	var out strings.Builder
	for line := range strings.SplitAfterSeq(text, "\r\n") {
		for len(line) > 72 {
			out.WriteString(line[:70] + "\r\n")
			line = " " + line[70:]
		}
		out.WriteString(line)
	}
	return []byte(out.String())
}

// entry stores a file without compression: other versions of Go's deflate
// would make other bytes.
func entry(w *zip.Writer, name string, b []byte) error {
	f, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store, Modified: jarTime})
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return err
}
