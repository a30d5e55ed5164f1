// Package project writes new projects: a bundle with notebooks, code, tests,
// workflows and infrastructure, plain Databricks, GitHub and Azure.
package project

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"github.com/wherry-ml/wherry"
)

//go:embed all:template
var files embed.FS

// Options are what a new project is asked for. Empty ones have defaults that
// follow from the name.
type Options struct {
	// Name of the project: 2 to 30 lower-case letters, digits and "-",
	// beginning with a letter; Name makes one of other text.
	Name string
	// Region of Azure, as "westeurope".
	Region string
	// Catalog is the prefix of the catalogs: Catalog_dev, _staging and _prod.
	Catalog string
	// Repository on GitHub, as OWNER/NAME.
	Repository string
	// Email is who hears of failed runs.
	Email string
}

var (
	nameForm       = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)
	regionForm     = regexp.MustCompile(`^[a-z][a-z0-9]{2,30}$`)
	catalogForm    = regexp.MustCompile(`^[a-z][a-z0-9_]{0,39}$`)
	repositoryForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}$`)
	emailForm      = regexp.MustCompile(`^[A-Za-z0-9.!#$%&*+/=?^_{|}~-]+@[A-Za-z0-9.-]+$`)
	betweenWords   = regexp.MustCompile(`[ ._-]+`)
	notInNames     = regexp.MustCompile(`[^a-z0-9]+`)
)

// Name turns any text into a project's name: "My Project" into "my-project".
// It is "my-project" where nothing is left.
func Name(text string) string {
	name := strings.Trim(notInNames.ReplaceAllString(strings.ToLower(text), "-"), "-")
	name = strings.TrimLeft(name, "-0123456789")
	if len(name) > 30 {
		name = strings.TrimRight(name[:30], "-")
	}
	if len(name) < 2 || isTaken(name) {
		return "my-project"
	}
	return name
}

// Says tells whether a folder's name is that of a project but for capitals and
// what parts its words: "My Project" is, "1abc" and "test" are not.
func Says(folder string) bool {
	return strings.Trim(betweenWords.ReplaceAllString(strings.ToLower(folder), "-"), "-") == Name(folder)
}

// WithDefaults fills what is empty.
func (o Options) WithDefaults() Options {
	if o.Name == "" {
		o.Name = "my-project"
	}
	if o.Region == "" {
		o.Region = "westeurope"
	}
	if o.Catalog == "" {
		o.Catalog = o.Package()
	}
	if o.Repository == "" {
		o.Repository = "my-org/" + o.Name
	}
	if o.Email == "" {
		o.Email = o.Name + "@example.com"
	}
	return o
}

// Validate says what of the options cannot be, and what to write instead.
func (o Options) Validate() error {
	switch {
	case len(o.Name) < 2 || len(o.Name) > 30 || !nameForm.MatchString(o.Name):
		return invalid("%q is no name for a project: use 2 to 30 lower-case letters, digits and single dashes, beginning with a letter, such as %q", o.Name, Name(o.Name))
	case isTaken(o.Name):
		return invalid("a Python package cannot be called %s: choose another name for the project", o.Package())
	case !regionForm.MatchString(o.Region):
		return invalid("%q is no region of Azure: write it as westeurope or eastus2", o.Region)
	case !catalogForm.MatchString(o.Catalog):
		return invalid("%q is no prefix of a catalog's name: use up to 40 lower-case letters, digits and _, beginning with a letter", o.Catalog)
	case !repositoryForm.MatchString(o.Repository):
		return invalid("%q is no repository: write it as OWNER/NAME", o.Repository)
	case !emailForm.MatchString(o.Email):
		return invalid("%q is no e-mail address", o.Email)
	}
	return nil
}

func invalid(format string, args ...any) error {
	return wherry.Errorf(wherry.CodeInvalidParameter, format, args...)
}

func isTaken(name string) bool {
	return slices.Contains(strings.Fields(taken), strings.ReplaceAll(name, "-", "_"))
}

// Package is the name of the project's Python package.
func (o Options) Package() string { return strings.ReplaceAll(o.Name, "-", "_") }

// Account is the name of an environment's storage account: at most 24
// lower-case letters and digits.
func (o Options) Account(environment string) string {
	name := "st" + strings.ReplaceAll(o.Name, "-", "")
	return name[:min(len(name), 24-len(environment))] + environment
}

// Files returns the project's files by their slash-separated paths.
func (o Options) Files() (map[string][]byte, error) {
	o = o.WithDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	written := map[string][]byte{}
	err := fs.WalkDir(files, "template", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		// What workflows, jobs and Terraform mean by braces stays.
		t, err := template.New(name).Delims("<%", "%>").Option("missingkey=error").Parse(string(text))
		if err != nil {
			return err
		}
		var out bytes.Buffer
		if err := t.Execute(&out, o); err != nil {
			return err
		}
		target := strings.ReplaceAll(strings.TrimPrefix(name, "template/"), "__package__", o.Package())
		written[target] = out.Bytes()
		return nil
	})
	return written, err
}

// Write makes the project in dir, which must not exist, or be empty but for a
// Git repository. It returns the paths of the files, sorted. When it fails it
// leaves dir as it was.
func Write(dir string, o Options) (paths []string, err error) {
	contents, err := o.Files()
	if err != nil {
		return nil, err
	}
	existed, err := vacant(dir)
	if err != nil {
		return nil, err
	}
	tops := map[string]bool{}
	defer func() {
		if err == nil {
			return
		}
		if !existed {
			_ = os.RemoveAll(dir)
		}
		for top := range tops {
			_ = os.RemoveAll(filepath.Join(dir, top))
		}
	}()
	for name, content := range contents {
		top, _, _ := strings.Cut(name, "/")
		tops[top] = true
		target := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return nil, fmt.Errorf("make the project: %w", err)
		}
		if err := os.WriteFile(target, content, 0o644); err != nil {
			return nil, fmt.Errorf("make the project: %w", err)
		}
		paths = append(paths, path.Clean(name))
	}
	slices.Sort(paths)
	return paths, nil
}

// vacant tells whether dir exists, and refuses one that holds anything.
func vacant(dir string) (exists bool, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("make the project: %w", err)
	}
	for _, e := range entries {
		if e.Name() != ".git" {
			return true, wherry.Errorf(wherry.CodeAlreadyExists, "%s is not empty (it has %s): name a new folder", dir, e.Name())
		}
	}
	return true, nil
}
