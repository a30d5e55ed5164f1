package git

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/wherry-ml/wherry/store/git"
)

// Bounds of what Files returns: of one file and of all, in bytes, and of how many
// there are.
const (
	maxFile  = 1 << 20
	maxFiles = 8 << 20
	maxReads = 2000
)

// Files returns the files below a folder of a commit, by their path in the
// repository; links, what is too large and names that are not UTF-8 are left out. Where there are more
// than the bounds allow, YAML comes first: it is what starts workflows. Where git
// cannot even list them within its bounds, that is RESOURCE_EXHAUSTED.
func (s *Service) Files(ctx context.Context, r git.Repo, sha, folder string) (map[string][]byte, error) {
	list, err := s.ask(ctx, r, "", "ls-tree", "-r", "-z", "--long", "--full-tree", sha, folder+"/")
	if err != nil {
		return nil, err
	}
	var blobs []blob
	for entry := range strings.SplitSeq(list, "\x00") {
		about, name, ok := strings.Cut(entry, "\t")
		fields := strings.Fields(about) // mode, type, id, size
		if !ok || len(fields) != 4 || fields[1] != "blob" || fields[0] == "120000" || path.Clean(name) != name || !utf8.ValidString(name) {
			continue
		}
		if size, err := strconv.Atoi(fields[3]); err == nil && size <= maxFile {
			blobs = append(blobs, blob{name, fields[2], size})
		}
	}
	slices.SortStableFunc(blobs, func(a, b blob) int { return cmp.Compare(a.rank(), b.rank()) })
	left := maxFiles
	blobs = slices.DeleteFunc(blobs, func(b blob) bool {
		if left < b.size {
			return true
		}
		left -= b.size
		return false
	})
	return s.read(ctx, r, blobs[:min(len(blobs), maxReads)])
}

// blob is a file of a commit.
type blob struct {
	name, id string
	size     int
}

// rank is 0 for what comes first.
func (b blob) rank() int {
	if ext := path.Ext(b.name); ext == ".yml" || ext == ".yaml" {
		return 0
	}
	return 1
}

// read reads files, all by one process of git.
func (s *Service) read(ctx context.Context, r git.Repo, blobs []blob) (map[string][]byte, error) {
	var ids strings.Builder
	for _, b := range blobs {
		ids.WriteString(b.id + "\n")
	}
	out, err := s.ask(ctx, r, ids.String(), "cat-file", "--batch")
	if err != nil {
		return nil, err
	}
	files := make(map[string][]byte, len(blobs))
	for _, b := range blobs { // ID SP type SP size LF content LF
		_, rest, ok := strings.Cut(out, "\n")
		if !ok || len(rest) <= b.size {
			return nil, fmt.Errorf("git cat-file ended before %s", b.name)
		}
		files[b.name], out = []byte(rest[:b.size]), rest[b.size+1:]
	}
	return files, nil
}

// Commit is what a commit says of itself.
type Commit struct {
	SHA, Tree, Author, Email, Subject, Message string
	At                                         string // RFC 3339
}

// maxCommit bounds what is read of a commit, in bytes: the end of a longer
// message is left out.
const maxCommit = 64 << 10

// Commit reads a commit.
func (s *Service) Commit(ctx context.Context, r git.Repo, sha string) (c Commit, err error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	p := s.command(ctx, s.dir(r), "log", "-1", "--no-show-signature", "--format=%H%x00%T%x00%an%x00%ae%x00%aI%x00%s%x00%B", sha, "--")
	out, complaint := &limited{max: maxCommit}, &limited{max: maxCommit}
	p.Stdout, p.Stderr = out, complaint
	if err := p.Run(); err != nil {
		return c, fmt.Errorf("git log %.40s: %w: %.2000s", sha, err, complaint)
	}
	parts := append(strings.SplitN(strings.TrimSpace(asText(out.String())), "\x00", 7), make([]string, 6)...) // what was cut off is empty
	return Commit{SHA: parts[0], Tree: parts[1], Author: parts[2], Email: parts[3], At: parts[4], Subject: parts[5], Message: strings.TrimSpace(parts[6])}, nil
}

// asText makes of what a commit says, which may be any bytes, what a database
// takes as text.
func asText(said string) string { return strings.ToValidUTF8(said, "\ufffd") }

// Log lists the last commits that a commit holds, the newest first, without
// their whole messages.
func (s *Service) Log(ctx context.Context, r git.Repo, sha string, skip, limit int) (list []Commit, err error) {
	if s.git == "" {
		return nil, errNoGit()
	}
	text, err := s.ask(ctx, r, "", "log", "--no-show-signature", "-z", "--format=%H%x00%T%x00%an%x00%ae%x00%aI%x00%s",
		"--skip="+strconv.Itoa(skip), "--max-count="+strconv.Itoa(limit), "--end-of-options", sha, "--")
	if err != nil {
		return nil, err
	}
	parts := strings.Split(strings.TrimSuffix(asText(text), "\x00"), "\x00")
	for ; len(parts) >= 6; parts = parts[6:] {
		list = append(list, Commit{SHA: parts[0], Tree: parts[1], Author: parts[2], Email: parts[3], At: parts[4], Subject: parts[5]})
	}
	return list, nil
}

// Resolve returns the commit of a branch, a tag or a full id.
func (s *Service) Resolve(ctx context.Context, r git.Repo, ref string) (sha string, err error) {
	text, err := s.ask(ctx, r, "", "rev-parse", "--verify", "--quiet", "--end-of-options", ref+"^{commit}")
	return strings.TrimSpace(text), err
}
