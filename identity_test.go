package wherry

import "testing"

// TestScope: all workspaces are seen by admins alone, and only at the
// installation's own address.
func TestScope(t *testing.T) {
	for _, c := range []struct {
		id   Identity
		want int64
	}{
		{Identity{Principal: Principal{Admin: true}, WorkspaceID: DefaultWorkspace}, 0},
		{Identity{Principal: Principal{Admin: true}, WorkspaceID: 7}, 7},
		{Identity{WorkspaceID: DefaultWorkspace}, DefaultWorkspace},
		{Identity{WorkspaceID: DefaultWorkspace, ForAdmin: true}, DefaultWorkspace},
		{Identity{WorkspaceID: 7}, 7},
	} {
		if got := c.id.Scope(); got != c.want {
			t.Errorf("%+v sees %d, want %d", c.id, got, c.want)
		}
	}
}
