package terraform_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry/terraform"
)

// mirrorOf makes a mirror with providers, by their folders.
func mirrorOf(t *testing.T, providers ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range providers {
		if err := os.MkdirAll(filepath.Join(dir, filepath.FromSlash(name)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestLocate decides provider by provider: what the mirror has is real.
func TestLocate(t *testing.T) {
	all := mirrorOf(t, "registry.terraform.io/hashicorp/azurerm", "registry.terraform.io/hashicorp/azuread", "registry.terraform.io/databricks/databricks")
	t.Setenv(terraform.MirrorVariable, all)
	if s := terraform.Locate(t.Context(), "/usr/bin/terraform"); len(s.StandIns) > 0 || !slices.Equal(s.Mirrored, terraform.StandIns) || s.Mirror != all {
		t.Errorf("a mirror of all: %+v", s)
	}
	// OpenTofu's providers are of another registry.
	if s := terraform.Locate(t.Context(), "/usr/bin/tofu"); !slices.Equal(s.StandIns, terraform.StandIns) || !strings.Contains(s.Reason, "which is no mirror for tofu") {
		t.Errorf("a mirror of terraform's for tofu: %+v", s)
	}
	t.Setenv(terraform.MirrorVariable, mirrorOf(t, "registry.opentofu.org/hashicorp/azurerm", "registry.opentofu.org/hashicorp/random"))
	s := terraform.Locate(t.Context(), "/usr/bin/tofu")
	if !slices.Equal(s.Mirrored, []string{"hashicorp/azurerm"}) || slices.Contains(s.StandIns, "hashicorp/azurerm") {
		t.Errorf("a mirror of azurerm: %+v", s)
	}
	if n := len(s.StandIns); n != 0 && n != 2 { // as the registry answers or does not
		t.Errorf("a mirror of azurerm: %+v", s)
	}
}

// TestConfigure writes what makes the engine take each provider from its place.
func TestConfigure(t *testing.T) {
	mirror := mirrorOf(t, "registry.terraform.io/hashicorp/azurerm", "registry.terraform.io/hashicorp/random")
	exe, dir := filepath.Join(t.TempDir(), "wherry"), t.TempDir()
	mixed := terraform.Source{Mirror: mirror, Mirrored: []string{"hashicorp/azurerm"}, StandIns: []string{"databricks/databricks"}, Reason: "of a test"}
	file, err := mixed.Configure(dir, exe)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"databricks/databricks" = "` + filepath.Join(dir, "databricks") + `"`, `path = "` + mirror + `"`,
		`exclude = ["registry.terraform.io/hashicorp/azurerm", "registry.terraform.io/hashicorp/random"]`,
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("%q is not in\n%s", want, b)
		}
	}
	if strings.Contains(string(b), `"hashicorp/azurerm" =`) {
		t.Errorf("a mirrored provider is overridden:\n%s", b)
	}
	if to, err := os.Readlink(filepath.Join(dir, "databricks", "terraform-provider-databricks")); err != nil || to != exe {
		t.Errorf("the stand-in is %q, %v", to, err)
	}
	const says = "the real hashicorp/azurerm from the mirror "
	if text := mixed.String(); !strings.HasPrefix(text, says) || !strings.HasSuffix(text, "the real hashicorp/azuread from the public registry, and wherry's stand-ins for the providers databricks/databricks: of a test") {
		t.Errorf("it says %q", text)
	}
	if env := mixed.Environment(file, []string{"-chdir=x", "init"}); len(env) != 2 || !strings.Contains(env[1], "databricks/databricks") || strings.Contains(env[1], "azurerm") {
		t.Errorf("init has %q", env)
	}
	if file, err := (terraform.Source{}).Configure(dir, exe); file != "" || err != nil {
		t.Errorf("all from the registry: %q, %v", file, err)
	}
}
