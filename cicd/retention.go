package cicd

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/state"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/cicd"
)

// Retention is how long what jobs store is kept; what is zero is as on GitHub.
type Retention struct {
	ArtifactDays  int   // the most that retention-days may ask for, and what it is without; 0 is 90
	ArtifactBytes int64 // of a repository; 0 is 50 GiB
	CacheDays     int   // since a cache was last used; 0 is 7
	CacheBytes    int64 // of a repository; 0 is 10 GiB
}

func (r Retention) orDefaults() Retention {
	return Retention{
		ArtifactDays: cmp.Or(r.ArtifactDays, 90), ArtifactBytes: cmp.Or(r.ArtifactBytes, 50<<30),
		CacheDays: cmp.Or(r.CacheDays, 7), CacheBytes: cmp.Or(r.CacheBytes, 10<<30),
	}
}

const day = 24 * time.Hour

// expires is when an artifact that comes in is pruned, in milliseconds.
func (s *Service) expires(r *http.Request) (int64, error) {
	days := s.cfg.Retention.ArtifactDays
	if asked := r.URL.Query().Get("retention-days"); asked != "" {
		n, err := strconv.Atoi(asked)
		if err != nil || n < 0 {
			return 0, wherry.Errorf(wherry.CodeInvalidParameter, "retention-days is a number of days, not %.20q", asked)
		}
		if n > 0 { // 0 is the default
			days = min(n, days)
		}
	}
	return time.Now().Add(time.Duration(days) * day).UnixMilli(), nil
}

// file is where the bytes of artifacts and caches are, by their digest: one that
// is replaced leaves no moment between the old and the new.
func (s *Service) file(digest string) string { return filepath.Join(s.stored(), digest) }

func (s *Service) stored() string { return s.cfg.State.Path("ci", "stored") }

// maxStored bounds one artifact or cache, as GitHub does.
const maxStored = 10 << 30

// tooLarge refuses what has more bytes than one artifact or cache may.
func tooLarge(name string, limit int64) error {
	return wherry.Errorf(wherry.CodeInvalidParameter, "%.200q has more than %d bytes, which is the most that is stored here", name, limit)
}

// room is how many bytes an artifact of a run may have, and the error of one
// with more. A fork's pull request gets a tenth of what the repository may have,
// and none gets the last tenth: that is for its own runs.
func (s *Service) room(tx *store.Tx, r *cicd.Record, name string) (left int64, full, err error) {
	pull := ""
	if strings.HasPrefix(r.Event.Ref, "refs/pull/") {
		pull = r.Event.Ref
	}
	all, own, err := cicd.ArtifactBytes(tx, r.RepoID, r.ID, pull, name)
	if err != nil {
		return 0, nil, err
	}
	most := s.cfg.Retention.ArtifactBytes
	left = most - all
	full = wherry.Errorf(wherry.CodeInvalidParameter, "%.200q does not fit: the artifacts of %s may have %d bytes in all, and have %d. Ask for fewer retention-days, or start the server with a larger --artifact-gb", name, r.Repo, most, all)
	if fork := min(most/10-own, most-most/10-all); r.Fork && fork < left {
		left = fork
		full = wherry.Errorf(wherry.CodeInvalidParameter, "%.200q does not fit: the artifacts of a fork's pull request may have %d bytes in all, a tenth of those of %s, and have %d; the last tenth, of %d, is for its own runs", name, most/10, r.Repo, own, most)
	}
	if left > maxStored {
		left, full = maxStored, tooLarge(name, maxStored)
	}
	return max(left, 0), full, nil
}

// upload begins the names of files that are still coming in.
const upload = ".upload-"

// receive stores a body of at most limit bytes, synced, under its digest; one
// with more gets the error large. The file stays until stored is called, after
// its row was written.
func (s *Service) receive(w http.ResponseWriter, r *http.Request, limit int64, large error) (size int64, digest string, stored func(), err error) {
	if r.ContentLength > limit {
		return 0, "", nil, large
	}
	dir := s.stored()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, "", nil, err
	}
	f, err := os.CreateTemp(dir, upload+"*")
	if err != nil {
		return 0, "", nil, err
	}
	h := sha256.New()
	size, err = io.Copy(io.MultiWriter(f, h), http.MaxBytesReader(w, r.Body, limit))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		err = large
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return 0, "", nil, errors.Join(err, os.Remove(f.Name()))
	}
	digest = hex.EncodeToString(h.Sum(nil))
	stored = s.arrives(digest)
	if err = os.Rename(f.Name(), s.file(digest)); err != nil {
		stored()
		return 0, "", nil, errors.Join(err, os.Remove(f.Name()))
	}
	if err := state.SyncDir(dir); err != nil {
		stored()
		return 0, "", nil, err
	}
	return size, digest, stored, nil
}

// arrives keeps the bytes of a digest until left is called.
func (s *Service) arrives(digest string) (left func()) {
	s.storing.Lock()
	defer s.storing.Unlock()
	s.arriving[digest]++
	return func() {
		s.storing.Lock()
		defer s.storing.Unlock()
		if s.arriving[digest]--; s.arriving[digest] == 0 {
			delete(s.arriving, digest)
		}
	}
}

// release deletes the bytes of those that no row holds any more, such as one
// that was replaced: until the next pruning they would be room that nobody has.
func (s *Service) release(ctx context.Context, list []cicd.Stored) {
	for _, a := range list {
		if err := s.drop(ctx, a.Digest); err != nil { // the next pruning tries again
			slog.Error("delete the bytes of an artifact", "name", a.Name, "err", err)
		}
	}
}

// pruneEvery is how often what is too old is looked for.
const pruneEvery = time.Hour

// Prune deletes artifacts and caches when their time is over, until ctx ends.
// What can not be deleted is logged, and tried again by the next pass.
func (s *Service) Prune(ctx context.Context) error {
	if err := s.abandoned(); err != nil {
		slog.Error("delete uploads that were broken off", "err", err)
	}
	clock := time.NewTicker(pruneEvery)
	defer clock.Stop()
	for {
		if err := s.prune(ctx, time.Now()); err != nil && ctx.Err() == nil {
			slog.Error("prune artifacts and caches", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-clock.C:
		}
	}
}

// abandoned deletes what was coming in when the last server ended. No other has
// the state directory now.
func (s *Service) abandoned() error {
	names, err := s.names()
	for _, name := range names {
		if strings.HasPrefix(name, upload) {
			err = errors.Join(err, remove(s.file(name)))
		}
	}
	return err
}

// prune forgets first and deletes then: a server that is killed between the two
// leaves files that nothing holds, which the next pass deletes.
func (s *Service) prune(ctx context.Context, now time.Time) error {
	keep := s.cfg.Retention
	if err := s.cfg.Store.Prune(ctx, now, now.Add(-time.Duration(keep.CacheDays)*day), keep.CacheBytes); err != nil {
		return err
	}
	names, err := s.names()
	for _, name := range names {
		if isDigest(name) {
			err = errors.Join(err, s.drop(ctx, name))
		}
	}
	return err
}

// names are the files where artifacts and caches are, whatever they are.
func (s *Service) names() (names []string, err error) {
	entries, err := os.ReadDir(s.stored())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

func isDigest(name string) bool {
	b, err := hex.DecodeString(name)
	return err == nil && len(b) == sha256.Size
}

// remove deletes a file; one that is gone already is as good.
func remove(file string) error {
	if err := os.Remove(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// drop deletes a file that no row holds and none will: an upload of the same
// bytes waits for us, or we leave it.
func (s *Service) drop(ctx context.Context, digest string) error {
	s.storing.Lock()
	defer s.storing.Unlock()
	if s.arriving[digest] > 0 {
		return nil
	}
	held, err := s.cfg.Store.Holds(ctx, digest)
	if err != nil || held {
		return err
	}
	return remove(s.file(digest))
}
