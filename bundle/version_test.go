package bundle

import "testing"

// TestVersion holds the constraints that the documentation of bundles shows.
func TestVersion(t *testing.T) {
	for constraint, want := range map[string]bool{
		">= 0.218.0": true, ">=0.218.0": true, "0.299.0": true, "v0.299.0": true, "0.299.*": true, "0.*": true, "= 0.299": true, "0.218.0": false, "< 0.250.0": false,
		">= 0.218.0, <= 1.0.0": true, ">= 0.218.0, < 0.299.0": false, "!= 0.299.0": false, "> 0.299.0": false, "> 0.298.9": true, ">= 0.300.0": false, "<= 0.299.0-rc1": true,
	} {
		if got, err := satisfies(CLIVersion, constraint); err != nil || got != want {
			t.Errorf("%s: %t %v", constraint, got, err)
		}
	}
	for _, wrong := range []string{"new", ">= ", "~> 0.2", ">= 0.2.b", "0.1,"} {
		if _, err := satisfies(CLIVersion, wrong); err == nil {
			t.Errorf("%s is accepted", wrong)
		}
	}
}
