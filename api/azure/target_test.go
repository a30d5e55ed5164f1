package azure

import (
	"strings"
	"testing"
)

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, action string
		want            bool
	}{
		{"*", "Microsoft.Storage/storageAccounts/write", true},
		{"*/read", "Microsoft.Storage/storageAccounts/read", true},
		{"*/read", "Microsoft.Storage/storageAccounts/write", false},
		{"*/read", "Microsoft.Storage/storageAccounts/listKeys/action", false},
		{"Microsoft.Authorization/*/Write", "microsoft.authorization/roleAssignments/write", true},
		{"Microsoft.Authorization/*/Write", "Microsoft.Storage/storageAccounts/write", false},
		{"Microsoft.KeyVault/vaults/*/read", "Microsoft.KeyVault/vaults/secrets/read", true},
		{"Microsoft.KeyVault/vaults/*/read", "Microsoft.KeyVault/vaults/read", false},
		{"Microsoft.Storage/storageAccounts/listkeys/action", "Microsoft.Storage/storageAccounts/listKeys/action", true},
	} {
		if got := covers([]string{c.pattern}, c.action); got != c.want {
			t.Errorf("%s covers %s: %v", c.pattern, c.action, got)
		}
	}
}

// FuzzParse: an id that comes of a path leads back to itself, so that what was
// allowed is what is done.
func FuzzParse(f *testing.F) {
	s := New(Config{})
	for _, path := range []string{
		"/subscriptions/00000000-0000-0000-0000-0000000000aa/resourceGroups/rg/providers/microsoft.storage/STORAGEACCOUNTS/a/blobServices/default/containers/c",
		"/subscriptions/00000000-0000-0000-0000-0000000000AA/resourcegroups/rg", "/providers/Microsoft.Authorization/roleDefinitions/x", "/subscriptions/x", "//providers//", "/",
	} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		a, err := parse(path)
		if err != nil || a.subscription == "" || a.group == "" || len(a.types) != len(a.names) || len(a.types) == 0 || len(a.rest) > 0 {
			return
		}
		if s.kinds[a.kind()] == nil {
			return
		}
		id := s.id(a)
		b, err := parse(id)
		if err != nil || !strings.EqualFold(s.id(b), id) || b.kind() != a.kind() {
			t.Errorf("%q: %s, and of that %s: %v", path, id, s.id(b), err)
		}
	})
}
