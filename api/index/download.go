package index

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wherry-ml/wherry"
)

const (
	held         = 64 << 10         // bytes of a file kept back until its hash is right
	maxDownloads = 32               // at once
	stall        = 60 * time.Second // without a byte ends a download
)

// downloads are the files on their way. They go on when who asked for one went
// away, and end with the server.
type downloads struct {
	mu      sync.Mutex
	running map[string]*download
	ended   bool
	group   sync.WaitGroup
}

// download is one file that arrives, by its sha256.
type download struct {
	cancel  context.CancelFunc
	mu      sync.Mutex
	changed chan struct{} // closed and made anew at each change
	size    int64         // -1: not told
	started bool
	bytes   int64 // that may be given on
	done    bool
	err     error
}

// Run ends the downloads with ctx. What of them arrived is kept for the next.
func (a *API) Run(ctx context.Context) error {
	<-ctx.Done()
	d := &a.downloads
	d.mu.Lock()
	d.ended = true
	for _, one := range d.running {
		one.cancel()
	}
	d.mu.Unlock()
	d.group.Wait()
	return nil
}

// join returns the download of a file, beginning it if it is not on its way.
func (ds *downloads) join(ctx context.Context, a *API, s *source, target, digest string) (*download, error) {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if d := ds.running[digest]; d != nil {
		return d, nil
	}
	if ds.ended {
		return nil, wherry.Errorf(codeUpstream, "the server is stopping")
	}
	if len(ds.running) >= maxDownloads {
		return nil, wherry.Errorf(wherry.CodeLimitExceeded, "%d files are on their way from the package index: try again in a moment", maxDownloads)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	d := &download{cancel: cancel, changed: make(chan struct{}), size: -1}
	ds.running[digest] = d
	ds.group.Go(func() {
		defer cancel()
		err := a.download(ctx, d, s, target, digest)
		ds.mu.Lock()
		delete(ds.running, digest)
		ds.mu.Unlock()
		d.change(func() { d.done, d.started, d.err = true, true, err })
	})
	return d, nil
}

func (d *download) change(do func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	do()
	close(d.changed)
	d.changed = make(chan struct{})
}

// wait waits until the condition holds, or the download ends.
func (d *download) wait(ctx context.Context, holds func() bool) error {
	for {
		d.mu.Lock()
		ok, done, err, changed := holds(), d.done, d.err, d.changed
		d.mu.Unlock()
		if ok || done {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// begun waits until the size is known, and returns it: -1 if it is not told.
func (d *download) begun(ctx context.Context) (int64, error) {
	err := d.wait(ctx, func() bool { return d.started })
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.size, err
}

// finished waits until all of it is here and right.
func (d *download) finished(ctx context.Context) error {
	return d.wait(ctx, func() bool { return false })
}

// reached waits until more than sent may be given on, and returns how much.
func (d *download) reached(ctx context.Context, sent int64) (int64, error) {
	err := d.wait(ctx, func() bool { return d.bytes > sent })
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.bytes, err
}

// download brings a file, from where an earlier try ended, and gives it its
// place if its hash is right. A file with a wrong one is thrown away.
func (a *API) download(ctx context.Context, d *download, s *source, target, digest string) error {
	name := path.Join(partial, digest)
	f, err := a.dir.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	have, err := io.Copy(sum, f) // leaves the offset at the end
	if err != nil {
		return err
	}
	if err := a.fill(ctx, d, s, target, f, sum, have); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != digest {
		slog.Error("a file of the package index is not what its page says", "host", s.base.Host, "sha256", digest, "got", got)
		return errors.Join(a.dir.Remove(name), wherry.Errorf(codeUpstream, "the file from the package index is not the one that its page tells the sha256 of"))
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := a.dir.Mkdir(path.Dir(place(digest)), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := a.dir.Rename(name, place(digest)); err != nil {
		return err
	}
	d.change(func() { d.bytes = max(d.size, d.bytes) })
	return nil
}

// fill appends what is missing of a file to f and to sum.
func (a *API) fill(ctx context.Context, d *download, s *source, target string, f *os.File, sum hash.Hash, have int64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	header := http.Header{}
	if have > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", have))
	}
	resp, err := a.get(ctx, s, target, header)
	if err != nil {
		return s.unreachable(err)
	}
	defer resp.Body.Close()
	total := resp.ContentLength
	switch resp.StatusCode {
	case http.StatusOK: // all of it, whatever was asked for
		if have, err = 0, again(f, sum); err != nil {
			return err
		}
	case http.StatusPartialContent:
		if total = totalOf(resp.Header.Get("Content-Range"), have); total < 0 {
			return wherry.Errorf(codeUpstream, "the package index at %s sent another part of the file than was asked for", s.base.Host)
		}
	case http.StatusRequestedRangeNotSatisfiable: // no more than is here
		d.change(func() { d.started, d.size = true, have })
		return nil
	default:
		return s.refused(resp)
	}
	d.change(func() { d.started, d.size, d.bytes = true, total, max(have-held, 0) })
	watch := time.AfterFunc(stall, cancel)
	defer watch.Stop()
	chunk := make([]byte, held)
	for {
		n, err := resp.Body.Read(chunk)
		if n > 0 {
			watch.Reset(stall)
			if _, err := io.MultiWriter(f, sum).Write(chunk[:n]); err != nil {
				return err
			}
			have += int64(n)
			d.change(func() { d.bytes = max(have-held, 0) })
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return s.unreachable(err)
		}
	}
}

// again empties a file and its hash.
func again(f *os.File, sum hash.Hash) error {
	sum.Reset()
	_, err := f.Seek(0, io.SeekStart)
	return errors.Join(err, f.Truncate(0))
}

// totalOf reads the size of the whole from "bytes 10-99/100"; -1 if the part
// does not begin at from.
func totalOf(contentRange string, from int64) int64 {
	part, total, ok := strings.Cut(contentRange, "/")
	n, err := strconv.ParseInt(total, 10, 64)
	if !ok || err != nil || !strings.HasPrefix(part, fmt.Sprintf("bytes %d-", from)) {
		return -1
	}
	return n
}
