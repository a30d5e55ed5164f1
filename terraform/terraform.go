// Package terraform runs the real terraform or tofu against this installation,
// and stands in for the providers azurerm, azuread and databricks where their
// binaries cannot be had: this program under a provider's name speaks
// Terraform's plugin protocol.
package terraform

import (
	"fmt"
	"path/filepath"
	"strings"

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

// Command is the first argument of a Terraform command line that is no flag.
func Command(args []string) string {
	for _, a := range args {
		if !strings.HasPrefix(a, "-") {
			return a
		}
	}
	return ""
}
