package git

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store/git"
)

// maxPaths bounds what Differing looks at: the length of all paths, in bytes.
const maxPaths = 1 << 20

// noTree is the tree without files, which git knows though nobody stored it.
const noTree = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"

// trees are those of a folder in two commits.
type trees struct{ old, now, folder string }

// Differing lists the files that differ between two commits. It is nil, and no
// error, where that is not known: if one of them is not there, as before the
// first push of a branch or after a forced one, or if there are too many.
func (s *Service) Differing(ctx context.Context, r git.Repo, old, now string) ([]string, error) {
	if old == git.Zero || old == "" || now == git.Zero {
		return nil, nil
	}
	files, err := s.differing(ctx, r, old, now, maxPaths)
	if wherry.CodeOf(err) == wherry.CodeExhausted {
		return nil, nil
	}
	return files, err
}

// differing is Differing with another bound on the length of all paths: more are
// RESOURCE_EXHAUSTED.
//
// Git is asked for one level of folders after the other: it would keep in memory
// all that differs below them, and a folder that is named a million times takes
// no more to push than one.
func (s *Service) differing(ctx context.Context, r git.Repo, old, now string, most int) ([]string, error) {
	roots, err := s.ask(ctx, r, old+"^{tree}\n"+now+"^{tree}\n", "cat-file", "--batch-check=%(objectname)")
	if err != nil {
		return nil, err
	}
	ids := strings.Split(strings.TrimSpace(roots), "\n")
	if len(ids) != 2 || strings.HasSuffix(ids[0], " missing") || strings.HasSuffix(ids[1], " missing") {
		return nil, nil
	}
	files, left := []string{}, most
	for level := []trees{{ids[0], ids[1], ""}}; len(level) > 0; {
		var found []string
		found, level, err = s.differingIn(ctx, r, level, &left)
		if err != nil {
			return nil, err
		}
		files = append(files, found...)
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}

// differingIn lists the files and the folders that differ right in some folders.
// What their paths may be long is taken from left.
func (s *Service) differingIn(ctx context.Context, r git.Repo, level []trees, left *int) (files []string, below []trees, err error) {
	var pairs strings.Builder
	for _, t := range level {
		pairs.WriteString(t.old + " " + t.now + "\n")
	}
	out, err := s.ask(ctx, r, pairs.String(), "diff-tree", "--stdin", "--raw", "--no-abbrev", "--no-renames", "-z")
	if err != nil {
		return nil, nil, err
	}
	for _, t := range level { // old SP now LF, and for each that differs :mode SP mode SP id SP id SP status NUL name NUL
		head, rest, ok := strings.Cut(out, "\n")
		if !ok || head != t.old+" "+t.now {
			return nil, nil, fmt.Errorf("git diff-tree ended before %s", t.folder)
		}
		for out = rest; strings.HasPrefix(out, ":"); {
			part := strings.SplitN(out[1:], "\x00", 3)
			about := strings.Fields(part[0])
			if len(part) != 3 || len(about) != 5 {
				return nil, nil, fmt.Errorf("git diff-tree says %.200q", out)
			}
			if *left -= len(t.folder) + len(part[1]); *left < 0 {
				return nil, nil, wherry.Errorf(wherry.CodeExhausted, "the paths of the files that differ are too many")
			}
			name := t.folder + part[1]
			sub := trees{noTree, noTree, name + "/"}
			if about[0] == treeMode {
				sub.old = about[2]
			}
			if about[1] == treeMode {
				sub.now = about[3]
			}
			if sub.old != sub.now {
				below = append(below, sub)
			}
			if isFile(about[0]) || isFile(about[1]) {
				files = append(files, name)
			}
			out = part[2]
		}
	}
	return files, below, nil
}

// treeMode is the mode of a folder.
const treeMode = "040000"

// isFile tells a mode of a file from that of a folder and of nothing.
func isFile(mode string) bool { return mode != treeMode && mode != "000000" }
