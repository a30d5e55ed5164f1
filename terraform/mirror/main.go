// Command mirror builds OpenTofu and the real providers azurerm and databricks
// from the Go module proxy, where neither a registry nor a download can be
// reached, and lays them out as `terraform providers mirror` does, for
// WHERRY_TERRAFORM_MIRROR.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
)

// What is built. OpenTofu replaces one of its modules, which `go install`
// refuses; azurerm's tags are not versions of a Go module, so a commit is named.
const (
	tofuModule    = "github.com/opentofu/opentofu"
	tofuVersion   = "v1.12.6"
	tofuHCL       = "github.com/hashicorp/hcl/v2 v2.20.1 => github.com/opentofu/hcl/v2 v2.20.2-0.20251021132045-587d123c2828"
	azurermModule = "github.com/hashicorp/terraform-provider-azurerm"
	azurermCommit = "v1.44.1-0.20260824201233-fae580791926"
	// azurermVersion is the release that the commit's change log is at.
	azurermVersion    = "5.2.0"
	databricksModule  = "github.com/databricks/terraform-provider-databricks"
	databricksVersion = "1.126.0"
)

func main() {
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), "usage: go run ./terraform/mirror [-tofu=false] [-azurerm=false] [-databricks=false] DIR\n\nBuilds DIR/bin/tofu and a mirror of azurerm and databricks in DIR: some twelve minutes on two cores, 2 GB of memory.\n\n")
		flag.PrintDefaults()
	}
	tofu := flag.Bool("tofu", true, "build OpenTofu "+tofuVersion)
	azurerm := flag.Bool("azurerm", true, "build azurerm at "+azurermCommit)
	databricks := flag.Bool("databricks", true, "build databricks "+databricksVersion)
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, flag.Arg(0), map[string]bool{"tofu": *tofu, "azurerm": *azurerm, "databricks": *databricks}); err != nil {
		fmt.Fprintln(os.Stderr, "mirror:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string, wanted map[string]bool) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "wherry-mirror-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	b := &builder{work: work, dir: dir}
	for _, made := range []struct {
		name  string
		build func(context.Context) error
	}{{"tofu", b.tofu}, {"databricks", b.databricks}, {"azurerm", b.azurerm}} {
		if !wanted[made.name] {
			continue
		}
		if err := made.build(ctx); err != nil {
			return fmt.Errorf("build %s: %w", made.name, err)
		}
	}
	return nil
}

// builder builds below work and leaves what it made in dir.
type builder struct{ work, dir string }

// tofu is built with the replacement that OpenTofu's module asks for.
func (b *builder) tofu(ctx context.Context) error {
	out := filepath.Join(b.dir, "bin", "tofu")
	required := fmt.Sprintf("require %s %s\n\nreplace %s\n", tofuModule, tofuVersion, tofuHCL)
	return b.required(ctx, "tofu", required, "-s -w -X "+tofuModule+"/version.dev=no", out, tofuModule+"/cmd/tofu")
}

// databricks is built as it is: its tags are versions of a Go module.
func (b *builder) databricks(ctx context.Context) error {
	out := b.provider("databricks", "databricks", databricksVersion)
	required := fmt.Sprintf("require %s v%s\n", databricksModule, databricksVersion)
	if err := b.required(ctx, "databricks", required, "-s -w", out, databricksModule); err != nil {
		return err
	}
	return b.twin("databricks", "databricks", databricksVersion)
}

// required builds a program from a module of its own, which requires the
// program's.
func (b *builder) required(ctx context.Context, name, required, flags, out, program string) error {
	module := filepath.Join(b.work, name)
	if err := os.Mkdir(module, 0o755); err != nil {
		return err
	}
	// With a go line, only the modules that are built from are asked for.
	if err := os.WriteFile(filepath.Join(module, "go.mod"), []byte("module mirror\n\ngo 1.26.6\n\n"+required), 0o644); err != nil {
		return err
	}
	if err := b.goCommand(ctx, module, "build", "-mod=mod", "-trimpath", "-ldflags", flags, "-o", out, program); err != nil {
		return err
	}
	fmt.Println(out)
	return nil
}

// platform is the name that a mirror has for this machine.
const platform = runtime.GOOS + "_" + runtime.GOARCH

// provider is where Terraform looks for a provider in the mirror.
func (b *builder) provider(namespace, name, version string) string {
	return filepath.Join(b.dir, "registry.terraform.io", namespace, name, version, platform, "terraform-provider-"+name+"_v"+version)
}

// twin has OpenTofu take the same provider for another registry's.
func (b *builder) twin(namespace, name, version string) error {
	version = filepath.Join(namespace, name, version)
	twin := filepath.Join(b.dir, "registry.opentofu.org", version)
	if err := os.MkdirAll(twin, 0o755); err != nil {
		return err
	}
	err := os.Symlink(filepath.Join("..", "..", "..", "..", "registry.terraform.io", version, platform), filepath.Join(twin, platform))
	if errors.Is(err, fs.ErrExist) {
		return nil // from the build before
	}
	return err
}

// azurerm is built from a copy of its module that is trimmed to the services
// that wherry's own Azure has: whole, it takes far longer.
func (b *builder) azurerm(ctx context.Context) error {
	if err := os.WriteFile(filepath.Join(b.work, "go.mod"), []byte("module mirror\n"), 0o644); err != nil {
		return err
	}
	if err := b.goCommand(ctx, b.work, "mod", "download", azurermModule+"@"+azurermCommit); err != nil {
		return err
	}
	cache, err := exec.CommandContext(ctx, "go", "env", "GOMODCACHE").Output()
	if err != nil {
		return err
	}
	source := filepath.Join(b.work, "azurerm")
	if err := copyTree(filepath.Join(strings.TrimSpace(string(cache)), azurermModule+"@"+azurermCommit), source); err != nil {
		return err
	}
	if err := trimAzurerm(source); err != nil {
		return err
	}
	out := b.provider("hashicorp", "azurerm", azurermVersion)
	_, commit, _ := strings.Cut(strings.TrimPrefix(azurermCommit, "v1.44.1-0."), "-")
	flags := fmt.Sprintf("-s -w -X %s/version.ProviderVersion=%s+%s", azurermModule, azurermVersion, commit)
	if err := b.goCommand(ctx, source, "build", "-trimpath", "-ldflags", flags, "-o", out, "."); err != nil {
		return err
	}
	fmt.Println(out)
	return b.twin("hashicorp", "azurerm", azurermVersion)
}

func (b *builder) goCommand(ctx context.Context, dir string, args ...string) error {
	c := exec.CommandContext(ctx, "go", args...)
	c.Dir, c.Stdout, c.Stderr = dir, os.Stdout, os.Stderr
	c.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	if err := c.Run(); err != nil {
		return fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
	}
	return nil
}

// copyTree copies what a build needs of a module out of the cache, which is
// read-only.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		switch {
		case d.IsDir() && (rel == "website" || rel == "examples" || rel == "contributing"):
			return fs.SkipDir
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), b, 0o644)
	})
}
