// Package python holds the task side of wherry: the Python package
// wherry_runtime, which agents run in their boxes.
package python

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

//go:embed all:wherry_runtime
var sources embed.FS

// Digest is the content hash of the sources.
var Digest = sync.OnceValue(func() string {
	h := sha256.New()
	_ = walk(func(name string, data []byte) error {
		h.Write([]byte(name))
		h.Write([]byte{0})
		h.Write(data)
		return nil
	})
	return hex.EncodeToString(h.Sum(nil))[:16]
})

// Unpack writes the sources to a folder below dir that is named by their
// digest, unless it is there, and returns it: the folder for PYTHONPATH.
func Unpack(dir string) (string, error) {
	target := filepath.Join(dir, Digest())
	if _, err := os.Stat(target); err == nil {
		return target, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	temp, err := os.MkdirTemp(dir, ".unpack-*")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temp)
	err = walk(func(name string, data []byte) error {
		path := filepath.Join(temp, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		return os.WriteFile(path, data, 0o644)
	})
	if err != nil {
		return "", err
	}
	if err := os.Chmod(temp, 0o755); err != nil {
		return "", err
	}
	if err := os.Rename(temp, target); err != nil {
		if _, serr := os.Stat(target); serr == nil {
			return target, nil // Another process was faster.
		}
		return "", err
	}
	return target, nil
}

func walk(each func(name string, data []byte) error) error {
	return fs.WalkDir(sources, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.Contains(name, "__pycache__") {
			return err
		}
		data, err := sources.ReadFile(name)
		if err != nil {
			return err
		}
		return each(name, data)
	})
}
