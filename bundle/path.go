package bundle

import (
	"bufio"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/wherry-ml/wherry/bundle/config"
)

// translatePaths finds the local files that resources name and replaces the
// names by the paths they are deployed to. A relative path is relative to the
// file it is written in.
func (b *Bundle) translatePaths() {
	b.readArtifacts()
	for _, r := range b.Resources() {
		if r.Type != "jobs" {
			continue
		}
		inGit := r.Value.Get("git_source") != nil
		for _, task := range r.Value.Get("tasks").List() {
			b.taskPaths(task, inGit)
			if nested := task.Get("for_each_task", "task"); nested != nil {
				b.taskPaths(nested, inGit)
			}
		}
		for _, env := range r.Value.Get("environments").List() {
			for _, dep := range env.Get("spec", "dependencies").List() {
				b.dependency(dep)
			}
		}
	}
	b.checkUsed()
}

func (b *Bundle) taskPaths(task *config.Value, inGit bool) {
	source := func(kind string) bool { // is the path one of this bundle
		s := task.Get(kind, "source").Text()
		return s == "WORKSPACE" || s == "" && !inGit
	}
	if v := task.Get("notebook_task", "notebook_path"); v != nil && source("notebook_task") {
		b.notebook(v)
	}
	if v := task.Get("spark_python_task", "python_file"); v != nil && source("spark_python_task") {
		b.file(v, "Python file")
	}
	if v := task.Get("sql_task", "file", "path"); v != nil && source("sql_task") {
		b.file(v, "SQL file")
	}
	if v := task.Get("dbt_task", "project_directory"); v != nil && source("dbt_task") {
		b.directory(v)
	}
	for _, library := range task.Get("libraries").List() {
		for _, kind := range []string{"whl", "jar", "egg"} {
			if v := library.Get(kind); v != nil {
				b.library(v)
			}
		}
		if v := library.Get("requirements"); v != nil {
			b.file(v, "requirements file")
		}
	}
}

var scheme = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9+.-]+:`)

// local returns where v points in the local tree; ok is false for a path of the
// workspace or of a store.
func (b *Bundle) local(v *config.Value) (name string, ok bool) {
	text := v.Text()
	if text == "" || scheme.MatchString(text) || strings.HasPrefix(text, "~") || strings.Contains(text, "${") || strings.Contains(text, "{{") {
		return "", false
	}
	files, _ := strings.CutPrefix(b.Workspace.Files, "/Workspace")
	for _, prefix := range []string{"/Workspace" + files + "/", files + "/"} {
		if rel, found := strings.CutPrefix(text, prefix); found {
			return filepath.Join(b.SyncRoot(), filepath.FromSlash(rel)), true
		}
	}
	if path.IsAbs(text) {
		return "", false
	}
	return filepath.Join(b.Root, filepath.Dir(filepath.FromSlash(v.At.File)), filepath.FromSlash(text)), true
}

// remote is where a local file is deployed; it reports one outside of what is
// synchronised.
func (b *Bundle) remote(v *config.Value, local string) (string, bool) {
	if !within(b.SyncRoot(), local) {
		b.Problems.Add(config.Problem{
			Severity: config.Error, At: v.At, Message: v.Text() + " is outside of the bundle's folder",
			Hint: "name its folder in sync.paths",
		})
		return "", false
	}
	rel, _ := filepath.Rel(b.SyncRoot(), local)
	return path.Join(b.Workspace.Files, filepath.ToSlash(rel)), true
}

// notebookSuffixes are the endings that a notebook_path may leave out, in the
// order in which the workspace tries them.
var notebookSuffixes = []string{".py", ".ipynb", ".sql", ".scala", ".r", ".R"}

func (b *Bundle) notebook(v *config.Value) {
	name, ok := b.local(v)
	if !ok {
		return
	}
	found := ""
	for _, suffix := range append([]string{""}, notebookSuffixes...) {
		if info, err := os.Stat(name + suffix); err == nil && info.Mode().IsRegular() {
			found = name + suffix
			break
		}
	}
	if found == "" {
		b.noFile(v, name, "notebook")
		return
	}
	if ext := filepath.Ext(found); ext != ".ipynb" && !hasHeader(found) {
		p := config.Problem{Severity: config.Error, At: v.At, Message: v.Text() + " is not a notebook"}
		p.Hint = `its first line must be "` + map[string]string{".sql": "--", ".scala": "//"}[ext] + or(map[string]string{".sql": " ", ".scala": " "}[ext], "# ") + headerText + `", or run it by another task type (spark_python_task)`
		b.Problems.Add(p)
		return
	}
	remote, ok := b.remote(v, found)
	if !ok {
		return
	}
	b.use(found, v.At)
	v.Scalar = withoutExtension(remote, found)
}

// withoutExtension names a notebook as the platform does, unless the workspace
// would find another file by that name first.
func withoutExtension(remote, local string) string {
	stem := strings.TrimSuffix(local, filepath.Ext(local))
	for _, suffix := range append([]string{""}, notebookSuffixes...) {
		if stem+suffix == local {
			return strings.TrimSuffix(remote, suffix)
		}
		if _, err := os.Stat(stem + suffix); err == nil {
			return remote
		}
	}
	return remote
}

const headerText = "Databricks notebook source"

func hasHeader(name string) bool {
	f, err := os.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	line, _ := bufio.NewReader(f).ReadString('\n')
	line = strings.TrimSpace(strings.TrimPrefix(line, "\ufeff"))
	return strings.TrimSpace(strings.TrimLeft(line, "#-/ ")) == headerText
}

func (b *Bundle) file(v *config.Value, what string) {
	name, ok := b.local(v)
	if !ok {
		return
	}
	if info, err := os.Stat(name); err != nil || !info.Mode().IsRegular() {
		b.noFile(v, name, what)
		return
	}
	if remote, ok := b.remote(v, name); ok {
		b.use(name, v.At)
		v.Scalar = remote
	}
}

func (b *Bundle) directory(v *config.Value) {
	name, ok := b.local(v)
	if !ok {
		return
	}
	if info, err := os.Stat(name); err != nil || !info.IsDir() {
		b.noFile(v, name, "folder")
		return
	}
	if remote, ok := b.remote(v, name); ok {
		v.Scalar = remote
	}
}

// noFile reports a missing file, with the most similar name that is there.
func (b *Bundle) noFile(v *config.Value, name, what string) {
	rel, err := filepath.Rel(b.Root, name)
	if err != nil {
		rel = name
	}
	p := config.Problem{Severity: config.Error, At: v.At, Message: "there is no " + what + " " + filepath.ToSlash(rel)}
	var names []string
	entries, _ := os.ReadDir(filepath.Dir(name))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	base := filepath.Base(name)
	if near := config.Nearest(base, names); near != "" {
		p.Message += `: did you mean "` + path.Join(path.Dir(v.Text()), near) + `"?`
	}
	if at := filepath.Dir(filepath.FromSlash(v.At.File)); at != "." && !path.IsAbs(v.Text()) {
		if _, err := os.Stat(filepath.Join(b.Root, v.Text())); err == nil {
			p.Hint = "a path is relative to the file it is written in: write " + filepath.ToSlash(filepath.Join(up(at), v.Text()))
		}
	}
	b.Problems.Add(p)
}

// up leads from a folder back to the root: "a/b" → "../..".
func up(dir string) string {
	return strings.Repeat("../", strings.Count(filepath.ToSlash(dir), "/")+1)
}

// use notes that a task needs a local file.
func (b *Bundle) use(name string, at config.Pos) { b.used[name] = at }

// checkUsed reports files that tasks name and sync leaves out.
func (b *Bundle) checkUsed() {
	if len(b.used) == 0 {
		return
	}
	files, err := b.Files()
	if err != nil {
		b.Problems.Errorf(config.Pos{}, "cannot list the files: %v", err)
		return
	}
	for name, at := range b.used {
		if !slices.ContainsFunc(files, func(f File) bool { return f.Local == name }) {
			b.Problems.Add(config.Problem{
				Severity: config.Error, At: at, Message: filepath.Base(name) + " is not deployed: .gitignore or sync.exclude leave it out",
				Hint: "name it in sync.include",
			})
		}
	}
}

// dependency handles one line of an environment's dependencies: a wheel of the
// bundle, a requirements file, or something from an index.
func (b *Bundle) dependency(v *config.Value) {
	text := strings.TrimSpace(v.Text())
	for _, flag := range []string{"-r ", "--requirement ", "-e ", "--editable "} {
		rest, ok := strings.CutPrefix(text, flag)
		if !ok {
			continue
		}
		inner := config.NewString(strings.TrimSpace(rest), v.At)
		if strings.HasPrefix(flag, "-e") || strings.HasPrefix(flag, "--e") {
			b.directory(inner)
		} else {
			b.file(inner, "requirements file")
		}
		v.Scalar = flag + inner.Text()
		return
	}
	if isPath(text) {
		b.library(v)
	}
}

// isPath tells ./dist/*.whl and ../lib from "pandas==2" and "lib @ https://…".
func isPath(text string) bool {
	return strings.HasPrefix(text, "./") || strings.HasPrefix(text, "../") ||
		(strings.HasSuffix(text, ".whl") || strings.HasSuffix(text, ".jar") || strings.HasSuffix(text, ".tar.gz")) && !strings.Contains(text, "@") && !scheme.MatchString(text)
}

// library notes a wheel or jar of the bundle: the deploy uploads it and writes
// its place instead. Wheels that are not built yet may be missing.
func (b *Bundle) library(v *config.Value) {
	pattern, ok := b.local(v)
	if !ok {
		return
	}
	found, _ := doublestar.FilepathGlob(pattern, doublestar.WithFilesOnly())
	if len(found) == 0 && !b.built(pattern) {
		b.noFile(v, pattern, "library")
		return
	}
	b.libraries = append(b.libraries, library{value: v, pattern: pattern})
}
