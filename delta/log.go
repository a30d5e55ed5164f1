// Package delta reads the transaction log of Delta tables: which commit added
// which file, and who made it. It reads no data.
package delta

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"regexp"
	"slices"
	"strconv"
)

// Commit is one version of a table.
type Commit struct {
	Version   int64
	Timestamp int64 // ms, by the writer's clock
	Operation string
	// UserMetadata is commitInfo.userMetadata as it was written.
	UserMetadata string
	// Rearranges is true if no row changed (OPTIMIZE): its files hold rows of
	// the files it removed.
	Rearranges bool
	Added      []string // paths relative to the table, decoded
	Removed    []string
}

var logName = regexp.MustCompile(`^(\d{20})\.json$`)

// maxLine bounds one action of the log (a file's statistics can be long).
const maxLine = 64 << 20

// Versions lists the versions from the given one on whose commits are still in
// the log of the table at root, in order. A table without a log has none.
func Versions(root fs.FS, from int64) (versions []int64, err error) {
	entries, err := fs.ReadDir(root, "_delta_log")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read Delta log: %w", err)
	}
	for _, e := range entries {
		m := logName.FindStringSubmatch(e.Name())
		if m == nil {
			continue
		}
		v, err := strconv.ParseInt(m[1], 10, 64)
		if err == nil && v >= from {
			versions = append(versions, v)
		}
	}
	slices.Sort(versions)
	return versions, nil
}

type action struct {
	Add        *fileAction `json:"add"`
	Remove     *fileAction `json:"remove"`
	CommitInfo *struct {
		Timestamp    int64  `json:"timestamp"`
		Operation    string `json:"operation"`
		UserMetadata string `json:"userMetadata"`
	} `json:"commitInfo"`
}

type fileAction struct {
	Path       string `json:"path"`
	DataChange *bool  `json:"dataChange"`
}

// Read returns the commit of one version.
func Read(root fs.FS, version int64) (*Commit, error) {
	f, err := root.Open(fmt.Sprintf("_delta_log/%020d.json", version))
	if err != nil {
		return nil, fmt.Errorf("read Delta commit: %w", err)
	}
	defer f.Close()
	c := &Commit{Version: version}
	changes := false
	lines := bufio.NewScanner(f)
	lines.Buffer(make([]byte, 64<<10), maxLine)
	for lines.Scan() {
		var a action
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			return nil, fmt.Errorf("read Delta commit %d: %w", version, err)
		}
		switch {
		case a.CommitInfo != nil:
			c.Timestamp, c.Operation, c.UserMetadata = a.CommitInfo.Timestamp, a.CommitInfo.Operation, a.CommitInfo.UserMetadata
		case a.Add != nil:
			c.Added = append(c.Added, decode(a.Add.Path))
			changes = changes || a.Add.DataChange == nil || *a.Add.DataChange
		case a.Remove != nil:
			c.Removed = append(c.Removed, decode(a.Remove.Path))
			changes = changes || a.Remove.DataChange == nil || *a.Remove.DataChange
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read Delta commit %d: %w", version, err)
	}
	c.Rearranges = !changes && len(c.Removed) > 0
	return c, nil
}

// decode undoes the URL encoding of paths in the log.
func decode(p string) string {
	if d, err := url.PathUnescape(p); err == nil {
		return d
	}
	return p
}

// Origins finds the commits that a file's rows may come from: the commit that
// added it or, if that one only rearranged rows, the origins of the files it
// removed. exact is false if there is more than one candidate, or if part of
// the log is gone.
func Origins(root fs.FS, file string) (commits []*Commit, exact bool, err error) {
	versions, err := Versions(root, 0)
	if err != nil {
		return nil, false, err
	}
	all := make([]*Commit, len(versions))
	for i, v := range versions {
		if all[i], err = Read(root, v); err != nil {
			return nil, false, err
		}
	}
	found, whole := origins(all, file, map[string]bool{})
	slices.SortFunc(found, func(a, b *Commit) int { return int(a.Version - b.Version) })
	found = slices.Compact(found)
	return found, whole && len(found) == 1, nil
}

func origins(all []*Commit, file string, seen map[string]bool) (found []*Commit, whole bool) {
	if seen[file] {
		return nil, true
	}
	seen[file] = true
	for _, c := range slices.Backward(all) {
		if !slices.Contains(c.Added, file) {
			continue
		}
		if !c.Rearranges {
			return []*Commit{c}, true
		}
		whole = true
		for _, old := range c.Removed {
			more, w := origins(all, old, seen)
			found, whole = append(found, more...), whole && w
		}
		return found, whole
	}
	return nil, false // added by a commit that the log no longer holds
}
