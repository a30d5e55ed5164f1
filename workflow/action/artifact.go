package action

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

func (c *call) listRemote(ctx context.Context, kind, prefix string) ([]string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.store(kind)+"?prefix="+url.QueryEscape(prefix), nil)
	if err != nil {
		return nil, err
	}
	res, err := c.do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	var list struct {
		Names []string `json:"names"`
	}
	return list.Names, json.NewDecoder(res.Body).Decode(&list)
}

// find lists the files that patterns of an action's path input mean: files,
// folders with all that is in them, globs; ! leaves out. Without hidden, no name
// from where a pattern begins has a dot before it: .git holds the job's token.
func find(patterns []string, hidden bool) (names []string, err error) {
	wanted := map[string]bool{}
	for _, p := range patterns {
		p, not := strings.CutPrefix(p, "!")
		p = absolute(p)
		from := filepath.Dir(begins(p))
		matches, err := doublestar.FilepathGlob(p, doublestar.WithNoFollow())
		if err != nil {
			return nil, fmt.Errorf("path %s: %w", p, err)
		}
		for _, m := range matches {
			if !hidden && strings.Contains(strings.TrimPrefix(m, from), "/.") {
				continue
			}
			err := filepath.WalkDir(m, func(name string, d fs.DirEntry, err error) error {
				if err != nil {
					return err
				}
				if !hidden && strings.HasPrefix(d.Name(), ".") {
					if d.IsDir() {
						return fs.SkipDir
					}
					return nil
				}
				if !d.IsDir() {
					wanted[name] = !not
				}
				return nil
			})
			if err != nil {
				return nil, err
			}
		}
	}
	for name, yes := range wanted {
		if yes {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// absolute is the path that a pattern means.
func absolute(p string) string {
	if rest, ok := strings.CutPrefix(p, "~"); ok {
		p = os.Getenv("HOME") + rest
	}
	if !filepath.IsAbs(p) {
		p = filepath.Join(workspace(), p)
	}
	return filepath.Clean(p)
}

// begins is the part of a path before its first wildcard.
func begins(p string) string {
	if at := strings.IndexAny(p, "*?[{"); at >= 0 {
		return filepath.Dir(p[:at] + "x")
	}
	return p
}

// top is the folder that an artifact's paths are relative to, as on GitHub: the
// deepest that holds all that was asked for, each pattern up to its first
// wildcard, whatever of it is there.
func top(patterns, files []string) (dir string) {
	for _, p := range patterns {
		if strings.HasPrefix(p, "!") {
			continue
		}
		p = begins(absolute(p))
		if dir == "" {
			dir = p
		}
		for dir != "/" && p != dir && !strings.HasPrefix(p, dir+"/") {
			dir = filepath.Dir(dir)
		}
	}
	if len(files) == 1 && files[0] == dir {
		dir = filepath.Dir(dir)
	}
	return dir
}

func uploadArtifact(ctx context.Context, c *call) error {
	name := c.input("name")
	if name == "" || strings.ContainsAny(name, "\"/:<>|*?\r\n\\") {
		return fmt.Errorf("an artifact can not be called %q", name)
	}
	files, err := find(c.lines("path"), c.flag("include-hidden-files"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		text := "No files were found with the provided path: " + strings.Join(c.lines("path"), ", ") + ". No artifacts will be uploaded."
		switch c.input("if-no-files-found") {
		case "error":
			return errors.New(text)
		case "warn":
			c.warn("%s", text)
		default:
			c.say("%s", text)
		}
		return nil
	}
	if !c.flag("overwrite") {
		have, err := c.list(ctx, artifacts, name)
		if err != nil {
			return err
		}
		if slices.Contains(have, name) {
			return fmt.Errorf("this run has an artifact %q already: set overwrite: true to replace it", name)
		}
	}
	query := url.Values{}
	if days := c.input("retention-days"); days != "" {
		if n, err := strconv.Atoi(days); err != nil || n < 0 {
			return fmt.Errorf("retention-days is a number of days, not %q", days)
		}
		query.Set("retention-days", days)
	}
	base := top(c.lines("path"), files)
	for i := range files {
		if files[i], err = filepath.Rel(base, files[i]); err != nil {
			return err
		}
	}
	tmp := filepath.Join(c.Dir, "artifact.tmp")
	digest, err := pack(tmp, base, files)
	if err != nil {
		return err
	}
	defer os.Remove(tmp)
	if err := c.put(ctx, artifacts, name, tmp, query); err != nil {
		return err
	}
	c.say("Artifact %s has been uploaded: %d files, SHA-256 %s", name, len(files), digest)
	return errors.Join(c.output("artifact-id", name), c.output("artifact-digest", digest), c.output("artifact-url", c.Artifacts+"/"+url.PathEscape(name)))
}

func downloadArtifact(ctx context.Context, c *call) error {
	if c.input("run-id") != "" || c.input("artifact-ids") != "" {
		return errors.New("artifacts of another run, and by id, are not supported: give name or pattern")
	}
	dir, err := c.place(c.input("path"))
	if err != nil {
		return err
	}
	names := []string{c.input("name")}
	into := func(string) string { return dir }
	if names[0] == "" {
		all, err := c.list(ctx, artifacts, "")
		if err != nil {
			return err
		}
		names = nil
		for _, n := range all {
			ok, err := path.Match(c.input("pattern"), n)
			if err != nil {
				return fmt.Errorf("pattern: %w", err)
			}
			if ok || c.input("pattern") == "" {
				names = append(names, n)
			}
		}
		if !c.flag("merge-multiple") {
			into = func(n string) string { return filepath.Join(dir, n) }
		}
	}
	for _, n := range names {
		r, err := c.get(ctx, artifacts, n)
		if errors.Is(err, errNone) {
			return fmt.Errorf("artifact not found for name: %s", n)
		}
		if err != nil {
			return err
		}
		err = unpack(r, into(n))
		if err = errors.Join(err, r.Close()); err != nil {
			return fmt.Errorf("artifact %s: %w", n, err)
		}
		c.say("Artifact %s has been downloaded to %s", n, into(n))
	}
	return c.output("download-path", dir)
}

// cacheBoth restores a cache now, and saves it when the job ends, unless it was
// there already.
func cacheBoth(ctx context.Context, c *call) error {
	matched, err := c.restore(ctx, c.input("key"), c.lines("restore-keys"))
	if err != nil {
		return err
	}
	if matched == "" && c.flag("fail-on-cache-miss") {
		return fmt.Errorf("there is no cache %s", c.input("key"))
	}
	if matched != c.input("key") && !c.flag("lookup-only") {
		if err := c.atEnd(later{Key: c.input("key"), Paths: c.lines("path")}); err != nil {
			return err
		}
	}
	hit := ""
	if matched != "" {
		hit = fmt.Sprint(matched == c.input("key"))
	}
	return c.output("cache-hit", hit)
}

func cacheRestore(ctx context.Context, c *call) error {
	matched, err := c.restore(ctx, c.input("key"), c.lines("restore-keys"))
	if err != nil {
		return err
	}
	if matched == "" && c.flag("fail-on-cache-miss") {
		return fmt.Errorf("there is no cache %s", c.input("key"))
	}
	return errors.Join(c.output("cache-primary-key", c.input("key")), c.output("cache-matched-key", matched), c.output("cache-hit", fmt.Sprint(matched == c.input("key"))))
}

func cacheSave(ctx context.Context, c *call) error {
	return c.save(ctx, c.input("key"), c.lines("path"))
}

// restore unpacks the cache of the key, or else the newest whose key begins
// with one of the others; it returns the key that was found, "" for none.
func (c *call) restore(ctx context.Context, key string, prefixes []string) (string, error) {
	if key == "" {
		return "", errors.New("key is empty")
	}
	candidates := []string{key}
	for _, p := range prefixes {
		names, err := c.list(ctx, caches, p)
		if err != nil {
			return "", err
		}
		candidates = append(candidates, names...)
	}
	for _, name := range candidates {
		r, err := c.get(ctx, caches, name)
		if errors.Is(err, errNone) {
			continue
		}
		if err != nil {
			return "", err
		}
		if !c.flag("lookup-only") {
			err = unpack(r, workspace())
		}
		if err = errors.Join(err, r.Close()); err != nil {
			return "", fmt.Errorf("cache %s: %w", name, err)
		}
		c.say("Cache restored from key: %s", name)
		return name, nil
	}
	c.say("Cache not found for keys: %s", strings.Join(append([]string{key}, prefixes...), ", "))
	return "", nil
}

// save stores files under a key that has none: a cache never changes.
func (c *call) save(ctx context.Context, key string, paths []string) error {
	have, err := c.list(ctx, caches, key)
	if err != nil {
		return err
	}
	if slices.Contains(have, key) {
		c.say("Cache %s is there already", key)
		return nil
	}
	files, err := find(paths, true)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		c.warn("Nothing is at %s: no cache was saved", strings.Join(paths, ", "))
		return nil
	}
	for i, f := range files {
		if rel, err := filepath.Rel(workspace(), f); err == nil && filepath.IsLocal(rel) {
			files[i] = rel
		} else if rel, err := filepath.Rel(os.Getenv("HOME"), f); err == nil && filepath.IsLocal(rel) {
			files[i] = home + rel
		} else {
			return fmt.Errorf("%s is neither in the workspace nor in the home folder: it can not be cached", f)
		}
	}
	tmp := filepath.Join(c.Dir, "cache.tmp")
	if _, err := pack(tmp, workspace(), files); err != nil {
		return err
	}
	defer os.Remove(tmp)
	if err := c.put(ctx, caches, key, tmp, nil); err != nil {
		c.warn("Failed to save: %v", err) // no reason to fail, as on GitHub
		return nil
	}
	c.say("Cache saved with key: %s", key)
	return nil
}
