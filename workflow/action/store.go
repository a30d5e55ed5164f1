package action

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Artifacts and caches are tar files, compressed with zstd, in a folder or on
// the server, by kind and name.
const (
	artifacts = "artifacts"
	caches    = "caches"
)

func (c *call) store(kind string) string {
	if kind == caches {
		return c.Caches
	}
	return c.Artifacts
}

// errNone: there is nothing of that name.
var errNone = errors.New("there is none")

// put stores a file; what has that name is replaced. The query is for the server.
func (c *call) put(ctx context.Context, kind, name, file string, query url.Values) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	if !strings.HasPrefix(c.store(kind), "http") {
		to := c.local(kind, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		return errors.Join(copyFile(file, to+".tmp"), os.Rename(to+".tmp", to))
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, c.remote(kind, name)+"?"+query.Encode(), f)
	if err != nil {
		return err
	}
	req.ContentLength = info.Size()
	req.Header.Set("Expect", "100-continue") // a refusal comes before the file is sent, not as a connection that breaks
	req.GetBody = func() (io.ReadCloser, error) { return os.Open(file) }
	res, err := c.do(req)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

// get opens what is stored under a name: whole, so that nothing is unpacked of
// what breaks off.
func (c *call) get(ctx context.Context, kind, name string) (io.ReadCloser, error) {
	if !strings.HasPrefix(c.store(kind), "http") {
		f, err := os.Open(c.local(kind, name))
		if errors.Is(err, os.ErrNotExist) {
			return nil, errNone
		}
		return f, err
	}
	f, err := os.CreateTemp(c.Dir, "download-*")
	if err != nil {
		return nil, err
	}
	end := time.Now().Add(patience)
	for wait := firstWait; ; wait = min(2*wait, lastWait) {
		err = c.download(ctx, c.remote(kind, name), f)
		if !errors.As(err, new(brokenOff)) || time.Now().After(end) {
			break
		}
		c.say("The server's answer broke off, it is asked again: %v", err)
		select {
		case <-ctx.Done(): // the next try fails at once, and is none of these
		case <-time.After(wait):
		}
	}
	if _, serr := f.Seek(0, io.SeekStart); err == nil {
		err = serr
	}
	if err = errors.Join(err, os.Remove(f.Name())); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// brokenOff is an answer whose end did not come: the connection's error differs
// by how the server ended.
type brokenOff struct{ error }

func (b brokenOff) Unwrap() error { return b.error }

// body is an answer's, whose errors are told from those of a full disk.
type body struct{ io.Reader }

func (b body) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil && err != io.EOF { //nolint:errorlint // it is passed on as it is
		err = brokenOff{err}
	}
	return n, err
}

// download writes an answer to a file, in the place of what was there.
func (c *call) download(ctx context.Context, address string, f *os.File) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	res, err := c.do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = io.Copy(f, body{res.Body})
	return err
}

// list names what is stored, newest first, that begins with prefix.
func (c *call) list(ctx context.Context, kind, prefix string) ([]string, error) {
	if strings.HasPrefix(c.store(kind), "http") {
		return c.listRemote(ctx, kind, prefix)
	}
	entries, err := os.ReadDir(c.store(kind))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var names []string
	var times []int64
	for _, e := range entries {
		name, err := url.PathUnescape(strings.TrimSuffix(e.Name(), ext))
		info, ierr := e.Info()
		if err != nil || ierr != nil || !strings.HasSuffix(e.Name(), ext) || !strings.HasPrefix(name, prefix) {
			continue
		}
		at := 0
		for at < len(times) && times[at] > info.ModTime().UnixNano() {
			at++
		}
		names = append(names[:at], append([]string{name}, names[at:]...)...)
		times = append(times[:at], append([]int64{info.ModTime().UnixNano()}, times[at:]...)...)
	}
	return names, nil
}

const ext = ".tar.zst"

func (c *call) local(kind, name string) string {
	return filepath.Join(c.store(kind), url.PathEscape(name)+ext)
}

func (c *call) remote(kind, name string) string {
	return c.store(kind) + "/" + url.PathEscape(name)
}

// patience is how long an action waits for a server that is not there: it may
// have been killed, and is started anew.
const patience = 5 * time.Minute

// How long it waits between two tries, at first and at most.
const (
	firstWait = 50 * time.Millisecond
	lastWait  = 2 * time.Second
)

// do asks the server, and again as long as it does not answer.
func (c *call) do(req *http.Request) (*http.Response, error) {
	req.Header.Set("Authorization", "Bearer "+c.Token)
	end := time.Now().Add(patience)
	for wait := firstWait; ; wait = min(2*wait, lastWait) {
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			return answer(res)
		}
		if time.Now().After(end) || req.Body != nil && req.GetBody == nil {
			return nil, err
		}
		c.say("The server does not answer, it is asked again: %v", err)
		select {
		case <-req.Context().Done():
			return nil, err
		case <-time.After(wait):
		}
		if req.GetBody != nil {
			if req.Body, err = req.GetBody(); err != nil {
				return nil, err
			}
		}
	}
}

// answer makes an error of an answer that is one.
func answer(res *http.Response) (*http.Response, error) {
	if res.StatusCode < 300 {
		return res, nil
	}
	text, _ := io.ReadAll(io.LimitReader(res.Body, 2000))
	_ = res.Body.Close()
	if res.StatusCode == http.StatusNotFound {
		return nil, errNone
	}
	return nil, fmt.Errorf("the server answers %s: %s", res.Status, strings.TrimSpace(string(text)))
}

// pack writes files below base to a compressed tar and returns its digest.
func pack(file, base string, names []string) (digest string, err error) {
	f, err := os.Create(file)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h := sha256.New()
	z, err := zstd.NewWriter(io.MultiWriter(f, h), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return "", err
	}
	w := tar.NewWriter(z)
	for _, name := range names {
		if err := add(w, base, name); err != nil {
			return "", err
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func add(w *tar.Writer, base, name string) error {
	full := filepath.Join(base, name)
	if rest, ok := strings.CutPrefix(name, home); ok {
		full = filepath.Join(os.Getenv("HOME"), rest)
	}
	info, err := os.Lstat(full)
	if err != nil {
		return err
	}
	link := ""
	if info.Mode()&os.ModeSymlink != 0 {
		if link, err = os.Readlink(full); err != nil {
			return err
		}
	} else if !info.Mode().IsRegular() && !info.IsDir() {
		return nil // a socket or a pipe
	}
	header, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return err
	}
	header.Name, header.Uname, header.Gname = filepath.ToSlash(name), "", ""
	if err := w.WriteHeader(header); err != nil || !info.Mode().IsRegular() {
		return err
	}
	f, err := os.Open(full)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.CopyN(w, f, header.Size)
	return err
}

// home begins the names of files below $HOME, which is another in each job.
const home = "~/"

// unpack writes what a tar holds into dir and $HOME, and never out of them.
func unpack(r io.Reader, dir string) error {
	z, err := zstd.NewReader(r)
	if err != nil {
		return err
	}
	defer z.Close()
	t := tar.NewReader(z)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := extract(t, h, dir); err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
	}
}

func extract(t *tar.Reader, h *tar.Header, dir string) error {
	name, base := h.Name, dir
	if rest, ok := strings.CutPrefix(name, home); ok {
		name, base = rest, os.Getenv("HOME")
	}
	if err := os.MkdirAll(base, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(base)
	if err != nil {
		return err
	}
	defer root.Close()
	if parent := filepath.Dir(name); parent != "." {
		if err := root.MkdirAll(parent, 0o755); err != nil {
			return err
		}
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return root.MkdirAll(name, 0o755)
	case tar.TypeSymlink:
		_ = root.Remove(name) // what was there before
		return root.Symlink(h.Linkname, name)
	case tar.TypeReg:
		f, err := root.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, os.FileMode(h.Mode).Perm()) //nolint:gosec // nine bits of it
		if err != nil {
			return err
		}
		_, err = io.Copy(f, t) //nolint:gosec // as long as the job that made it wished, on its own disk
		return errors.Join(err, f.Close())
	}
	return nil
}
