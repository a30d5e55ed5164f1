package demo

import "testing"

func TestInstalled(t *testing.T) {
	const log = "x\nSuccessfully installed PyYAML-6.0 black-24.8.0 flake8-7.1.1 pytest-8.3.2 pytest-cov-5.0\ny\n"
	if got, err := installed(log, "black", "pytest"); err != nil || got != "black 24.8.0, pytest 8.3.2" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := installed(log, "papermill"); err == nil {
		t.Errorf("%q, which was not installed", got)
	}
}

func TestProviders(t *testing.T) {
	for _, tt := range []struct {
		log, real, fallback string
		unknown             bool
	}{
		{log: "Terraform 1.11.4 with the real hashicorp/azurerm from a mirror\n", real: "hashicorp/azurerm"},
		{log: "wherry's stand-ins for the providers hashicorp/azuread, databricks/databricks: no mirror\n", fallback: "the providers hashicorp/azuread, databricks/databricks are wherry's stand-ins: no mirror"},
		{log: "Terraform has been initialized\n", unknown: true},
	} {
		real, fallback, err := providers(tt.log)
		if real != tt.real || fallback != tt.fallback || (err != nil) != tt.unknown {
			t.Errorf("%q: %q, %q, %v", tt.log, real, fallback, err)
		}
	}
}
