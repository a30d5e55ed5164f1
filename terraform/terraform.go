// Package terraform runs the real terraform or tofu against this installation,
// and stands in for the providers azurerm, azuread and databricks where their
// binaries cannot be had: this program under a provider's name speaks
// Terraform's plugin protocol.
package terraform

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/wherry-ml/wherry/state"
	"github.com/wherry-ml/wherry/terraform/azuread"
	"github.com/wherry-ml/wherry/terraform/azurerm"
	"github.com/wherry-ml/wherry/terraform/databricks"
	"github.com/wherry-ml/wherry/terraform/provider"
)

// StandIns are the providers that this program can be, by their address in the
// public registry.
var StandIns = []string{"hashicorp/azurerm", "hashicorp/azuread", "databricks/databricks"}

// prefix of the name under which Terraform starts a provider.
const prefix = "terraform-provider-"

// Provider reports whether a program's name is that of a provider that this
// program stands in for.
func Provider(argv0 string) (name string, ok bool) {
	base := strings.TrimSuffix(filepath.Base(argv0), ".exe")
	name, ok = strings.CutPrefix(base, prefix)
	name, _, _ = strings.Cut(name, "_") // terraform-provider-azurerm_v4.14.0_x5
	for _, source := range StandIns {
		if ok && strings.HasSuffix(source, "/"+name) {
			return name, true
		}
	}
	return "", false
}

// Serve is the main function of a provider: it answers Terraform on the
// standard streams until Terraform ends it.
func Serve(name string) error {
	switch name {
	case "azurerm":
		return serve(azurerm.New())
	case "azuread":
		return serve(azuread.New())
	case "databricks":
		return serve(databricks.New())
	}
	return fmt.Errorf("there is no stand-in for %s", name)
}

func serve[C any](p *provider.Provider[C], err error) error {
	if err != nil {
		return err
	}
	return p.Serve()
}

// Overrides writes into dir what makes Terraform take exe for the providers
// that it stands in for, and returns the file to name in TF_CLI_CONFIG_FILE.
// Terraform itself says that development overrides are in effect.
func Overrides(dir, exe string) (configFile string, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString("# wherry stands in for these providers.\nprovider_installation {\n  dev_overrides {\n")
	for _, source := range StandIns {
		_, name, _ := strings.Cut(source, "/")
		folder := filepath.Join(dir, name)
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return "", err
		}
		link := filepath.Join(folder, prefix+name)
		if have, _ := os.Readlink(link); have != exe {
			if err := os.Remove(link); err != nil && !errors.Is(err, os.ErrNotExist) {
				return "", err
			}
			if err := os.Symlink(exe, link); err != nil {
				return "", err
			}
		}
		fmt.Fprintf(&b, "    %q = %q\n", source, folder) // in the registry of either engine
	}
	b.WriteString("  }\n  direct {}\n}\n")
	configFile = filepath.Join(dir, "overrides.tfrc")
	return configFile, state.WriteFile(configFile, []byte(b.String()), 0o644)
}

// Environment returns the variables that a command of Terraform needs to use
// the overrides of configFile. `terraform init` would ask a registry even for
// providers that are overridden; it leaves out those that are said to run
// already, and starts none itself.
func Environment(configFile string, args []string) []string {
	env := []string{"TF_CLI_CONFIG_FILE=" + configFile}
	if Command(args) != "init" {
		return env
	}
	running := map[string]any{}
	for _, source := range StandIns {
		running[source] = map[string]any{
			"Protocol": "grpc", "ProtocolVersion": 6, "Pid": os.Getpid(), "Test": true,
			"Addr": map[string]string{"Network": "unix", "String": filepath.Join(filepath.Dir(configFile), "none")},
		}
	}
	b, _ := json.Marshal(running) // strings and numbers always marshal
	return append(env, "TF_REATTACH_PROVIDERS="+string(b))
}

// Command is the first argument of a Terraform command line that is no flag.
func Command(args []string) string {
	for _, a := range args {
		if !strings.HasPrefix(a, "-") {
			return a
		}
	}
	return ""
}

// Source says where providers come from.
type Source struct {
	Real bool
	// Mirror is a folder laid out as `terraform providers mirror` does, "" for
	// the public registry.
	Mirror string
	// Reason is why, for people.
	Reason string
}

// MirrorVariable names a folder of real providers.
const MirrorVariable = "WHERRY_TERRAFORM_MIRROR"

// Real decides whether the real providers can be had: from a mirror that is
// named, or from the public registry if it answers within two seconds.
func Real(ctx context.Context) Source {
	if dir := os.Getenv(MirrorVariable); dir != "" {
		if _, err := os.Stat(filepath.Join(dir, "registry.terraform.io")); err != nil {
			return Source{Reason: fmt.Sprintf("%s names %s, which is no mirror: %v", MirrorVariable, dir, err)}
		}
		return Source{Real: true, Mirror: dir, Reason: "from the mirror " + dir}
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://registry.terraform.io/.well-known/terraform.json", nil)
	if err != nil {
		return Source{Reason: err.Error()}
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return Source{Reason: "the public registry does not answer"}
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return Source{Reason: "the public registry answers " + res.Status}
	}
	return Source{Real: true, Reason: "from the public registry"}
}

// MirrorConfig writes into dir a configuration that takes the real providers
// from a mirror, and returns the file to name in TF_CLI_CONFIG_FILE.
func MirrorConfig(dir, mirror string) (configFile string, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	configFile = filepath.Join(dir, "mirror.tfrc")
	text := fmt.Sprintf("provider_installation {\n  filesystem_mirror {\n    path = %q\n  }\n  direct {\n    exclude = [\"hashicorp/azurerm\", \"hashicorp/azuread\", \"databricks/databricks\"]\n  }\n}\n", mirror)
	return configFile, state.WriteFile(configFile, []byte(text), 0o644)
}
