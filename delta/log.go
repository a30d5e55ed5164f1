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

	"github.com/wherry-ml/wherry"
)

// Commit is one version of a table.
type Commit struct {
	Version   int64
	Timestamp int64 // ms, by the writer's clock
	Operation string
	// RunID is the task run that wrote it, 0 for an unknown writer.
	RunID int64
	// Writes says whether rows of its files may be its own, Carries whether
	// they may be rows of the files that it removed: OPTIMIZE and DELETE only
	// carry, UPDATE and MERGE do both.
	Writes, Carries bool
	Added           []string // paths relative to the table, decoded
	Removed         []string
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
	CommitInfo *commitInfo `json:"commitInfo"`
}

type commitInfo struct {
	Timestamp    int64  `json:"timestamp"`
	Operation    string `json:"operation"`
	UserMetadata string `json:"userMetadata"`
	signature
	Parameters map[string]any `json:"operationParameters"`
	Metrics    map[string]any `json:"operationMetrics"`
}

// signature is how a task run signs a commit: in commitInfo itself, or in its
// userMetadata where the log's store is not wherry's.
type signature struct {
	Wherry struct {
		RunID wherry.Int64 `json:"run_id"`
	} `json:"wherry"`
}

// writer is the task run that signed, 0 for none.
func (i commitInfo) writer() int64 {
	if i.Wherry.RunID == 0 {
		var m signature
		if json.Unmarshal([]byte(i.UserMetadata), &m) == nil {
			return int64(m.Wherry.RunID)
		}
	}
	return int64(i.Wherry.RunID)
}

// carries reports whether an operation that removes files writes their rows
// again. One that this package does not know may.
func (i commitInfo) carries() bool {
	copied, counted := i.Metrics["numCopiedRows"]
	if i.Operation == "MERGE" {
		copied, counted = i.Metrics["numTargetRowsCopied"]
	}
	whole := false // the files of before are replaced
	switch i.Operation {
	case "WRITE":
		whole = i.Parameters["predicate"] == nil // else rows beside those of replaceWhere stay
	case "STREAMING UPDATE", "CREATE OR REPLACE TABLE", "CREATE OR REPLACE TABLE AS SELECT", "REPLACE TABLE", "REPLACE TABLE AS SELECT":
		whole = true
	case "MERGE", "UPDATE": // the rows that it changed are its own
		whole = counted && fmt.Sprint(copied) == "0"
	}
	return !whole
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
	var info commitInfo
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
			info = *a.CommitInfo
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
	c.Timestamp, c.Operation, c.RunID = info.Timestamp, info.Operation, info.writer()
	c.Writes = (changes || len(c.Removed) == 0) && c.Operation != "DELETE"
	c.Carries = len(c.Removed) > 0 && (!changes || info.carries())
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
// wrote it, as far as its rows are its own, and the origins of the files that
// it removed, as far as it carried their rows over. exact is false if there is
// more than one candidate, or if part of the log is gone.
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
	at := slices.IndexFunc(all, func(c *Commit) bool { return c.wrote(file) })
	if at < 0 {
		return nil, false // by a commit that the log no longer holds
	}
	c, whole := all[at], true
	if c.Writes {
		found = append(found, c)
	}
	if !c.Carries {
		return found, true
	}
	for _, old := range c.Removed {
		more, w := origins(all, old, seen)
		found, whole = append(found, more...), whole && w
	}
	return found, whole
}

// wrote reports whether a commit wrote a file. One that adds what it removes
// only marks rows as deleted, and RESTORE adds files of before.
func (c *Commit) wrote(file string) bool {
	return slices.Contains(c.Added, file) && !slices.Contains(c.Removed, file) && c.Operation != "RESTORE"
}
