// Package bundle reads a databricks.yml bundle: its files, target, variables
// and references, the paths in it, and everything that is wrong with it, told
// at once and without a server.
package bundle

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/wherry-ml/wherry/bundle/config"
)

// Options says which bundle and target to load, and for whom.
type Options struct {
	Dir    string            // a folder in or below which the bundle is; "" is the working directory
	Target string            // "" takes the default target
	Vars   map[string]string // from --var
	// User is who deploys; "" is the admin of a local installation, so that
	// validate needs no sign-in.
	User string
	// Environ is where BUNDLE_VAR_x is looked up; nil is the process's own.
	Environ func(string) string
	// Force accepts a Git branch other than the target's.
	Force bool
	// ClusterID, in development mode, replaces the compute of every task.
	ClusterID string
	// Namespace deploys the target beside itself, under names of its own; "" is
	// the target itself.
	Namespace string
}

// LocalUser is the admin that every installation has from its first start.
const LocalUser = "admin@localhost"

// Bundle is a loaded bundle. It is only to be deployed if Problems has no error.
type Bundle struct {
	Root   string // absolute
	File   string // the main file, relative to Root
	Name   string
	Target string
	// Namespace is that of Options.
	Namespace string
	Mode      string // "development", "production" or ""
	User      string
	// Config is the whole bundle with target, variables and references
	// resolved, except references to what only exists after a deploy.
	Config    *config.Value
	Workspace Workspace
	Git       Git
	Problems  *config.Problems
	// Artifacts are what is built before a deploy, and the local libraries
	// that tasks name.
	Artifacts []Artifact
	// Includes are the files read, relative to Root.
	Includes []string

	opts  Options
	files []File // of Files, kept
	// used are the local files that tasks name, by path: where they are named.
	used map[string]config.Pos
	// libraries are the local wheels and jars that tasks name.
	libraries []library
}

// Workspace is where a bundle goes: absolute paths below /Workspace.
type Workspace struct {
	Host      string `json:"host,omitempty"`
	Root      string `json:"root_path"`
	Files     string `json:"file_path"`
	Artifacts string `json:"artifact_path"`
	State     string `json:"state_path"`
	Resources string `json:"resource_path"`
}

// FileNames are the names that a bundle's main file may have.
var FileNames = []string{"databricks.yml", "databricks.yaml", "bundle.yml", "bundle.yaml"}

// Find returns the bundle root at dir or above it, and the main file's name.
func Find(dir string) (root, file string, err error) {
	if dir == "" {
		dir = "."
	}
	start, err := filepath.Abs(dir)
	if err != nil {
		return "", "", err
	}
	if info, err := os.Stat(start); err != nil || !info.IsDir() {
		return "", "", fmt.Errorf("%s is not a folder", dir)
	}
	for root = start; ; root = filepath.Dir(root) {
		for _, name := range FileNames {
			if info, err := os.Stat(filepath.Join(root, name)); err == nil && info.Mode().IsRegular() {
				return root, name, nil
			}
		}
		if root == filepath.Dir(root) {
			return "", "", fmt.Errorf("no databricks.yml in %s or a folder above it", start)
		}
	}
}

// Load reads the bundle. The error is for what is no bundle at all; anything
// wrong in one is in Bundle.Problems.
func Load(ctx context.Context, opts Options) (*Bundle, error) {
	root, file, err := Find(opts.Dir)
	if err != nil {
		return nil, err
	}
	if opts.Environ == nil {
		opts.Environ = os.Getenv
	}
	b := &Bundle{Root: root, File: file, User: opts.User, Namespace: opts.Namespace, Problems: &config.Problems{}, opts: opts, used: map[string]config.Pos{}}
	if b.User == "" {
		b.User = LocalUser
	}
	b.Git = readGit(ctx, root)
	b.load()
	return b, nil
}

// load reads the files and resolves all that can be known without a server.
func (b *Bundle) load() {
	b.Config = b.readFiles()
	b.checkFlags()
	if b.Config == nil || !b.selectTarget() {
		return
	}
	b.checkNamespace()
	b.setDefaults()
	b.setVariables()
	b.resolve(referencesEarly)
	b.applyMode()
	b.resolve(referencesLate)
	b.setWorkspace()
	checkTypes(b.Config, b.Problems)
	b.checkResources()
	b.translatePaths()
	b.checkGit()
	b.checkVersion()
}

// ShortName is the user's name as prefixes carry it: what stands before the @,
// anything but letters and digits as "_".
func (b *Bundle) ShortName() string {
	name, _, _ := strings.Cut(b.User, "@")
	return clean(name, '_')
}

func clean(s string, other rune) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return other
	}, s)
}

// setDefaults puts in what references may name and the files need not say.
func (b *Bundle) setDefaults() {
	at := config.Pos{}
	text := func(s string) *config.Value { return config.NewString(s, at) }
	bundle := b.Config.Child("bundle")
	bundle.Set("target", text(b.Target))
	bundle.Set("environment", text(b.Target))
	if b.Mode != "" {
		bundle.Set("mode", text(b.Mode))
	}
	git := bundle.Child("git")
	git.SetDefault("branch", text(b.Git.Branch))
	git.SetDefault("origin_url", text(b.Git.OriginURL))
	git.Set("commit", text(b.Git.Commit))
	ws := b.Config.Child("workspace")
	ws.SetDefault("host", text(""))
	ws.SetDefault("root_path", text("~/.bundle/${bundle.name}/${bundle.target}"))
	root := strings.TrimSuffix(ws.Get("root_path").Text(), "/")
	if strings.HasPrefix(root, "~") {
		root = "/Workspace/Users/" + b.User + strings.TrimPrefix(root, "~")
	}
	for _, top := range []string{"/Users/", "/Shared/", "/Repos/"} {
		if strings.HasPrefix(root, top) {
			root = "/Workspace" + root
		}
	}
	if b.opts.Namespace != "" {
		root += "/" + b.opts.Namespace
	}
	ws.Set("root_path", config.NewString(root, ws.Get("root_path").At))
	for key, name := range map[string]string{"file_path": "files", "artifact_path": "artifacts", "state_path": "state", "resource_path": "resources"} {
		ws.SetDefault(key, text("${workspace.root_path}/"+name))
	}
	user := config.NewMap(at)
	domain := ""
	if _, host, ok := strings.Cut(b.User, "@"); ok {
		domain = host
	}
	user.Set("userName", text(b.User))
	user.Set("user_name", text(b.User))
	user.Set("short_name", text(b.ShortName()))
	user.Set("domain_friendly_name", text(clean(strings.TrimSuffix(strings.ReplaceAll(b.User, "@", "_"), "."+domain), '_')))
	ws.Set("current_user", user)
}

func (b *Bundle) setWorkspace() {
	ws := b.Config.Get("workspace")
	b.Name = b.Config.Get("bundle", "name").Text()
	get := func(key string) string {
		v := ws.Get(key)
		path := strings.TrimSuffix(v.Text(), "/")
		if key != "host" && !strings.HasPrefix(path, "/Workspace/") {
			b.Problems.Errorf(v.At, "workspace.%s is %q: it must be below /Workspace (or ~, /Users, /Shared)", key, path)
		}
		if strings.Contains(path+"/", "/../") {
			b.Problems.Errorf(v.At, "workspace.%s must not contain ..", key)
		}
		if root := strings.TrimSuffix(ws.Get("root_path").Text(), "/"); b.opts.Namespace != "" && key != "host" && key != "resource_path" && !strings.HasPrefix(path+"/", root+"/") {
			b.Problems.Errorf(v.At, "workspace.%s must be below ${workspace.root_path}: else a namespace shares it with the target", key)
		}
		return path
	}
	b.Workspace = Workspace{
		Host: ws.Get("host").Text(), Root: get("root_path"), Files: get("file_path"), Artifacts: get("artifact_path"),
		State: get("state_path"), Resources: get("resource_path"),
	}
}

// Resource is one resource of a bundle.
type Resource struct {
	Type  string // as the section is called: "jobs", "schemas", …
	Key   string
	Value *config.Value
	At    config.Pos
}

// ID is how plans and references call a resource: "jobs.nightly".
func (r Resource) ID() string { return r.Type + "." + r.Key }

// Resources returns all resources in the order written.
func (b *Bundle) Resources() (all []Resource) {
	for _, section := range b.Config.Get("resources").Entries() {
		for _, f := range section.Value.Entries() {
			all = append(all, Resource{Type: section.Key, Key: f.Key, Value: f.Value, At: f.At})
		}
	}
	return all
}

// RunAsNote is what a job's run_as does not do yet.
const RunAsNote = "grants are not enforced yet: its runs may do what whoever starts them may"

// RunAs are the principals that jobs run as, each once, but for who deploys.
func (b *Bundle) RunAs() (names []*config.Value) {
	at := []*config.Value{b.Config.Get("run_as")}
	for _, r := range b.Resources() {
		if r.Type == "jobs" {
			at = append(at, r.Value.Get("run_as"))
		}
	}
	seen := map[string]bool{"": true, b.User: true}
	for _, who := range at {
		for _, key := range []string{"user_name", "service_principal_name"} {
			if name := who.Get(key); !seen[name.Text()] {
				seen[name.Text()] = true
				names = append(names, name)
			}
		}
	}
	return names
}
