package git_test

import (
	"testing"

	"github.com/wherry-ml/wherry/store/git"
)

func TestSameOrigin(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"https://github.com/Team/app.git", "git@github.com:team/app", true},
		{"ssh://git@github.com:22/team/app.git", "https://me:secret@github.com:443/team/app/", true},
		{"http://127.0.0.1:8080/git/app.git", "http://localhost:8080/git/app", true},
		{"http://127.0.0.1:8080/git/app.git", "http://127.0.0.1:8081/git/app.git", false},
		{"https://github.com/team/app", "https://gitlab.com/team/app", false},
		{"https://github.com/team/app", "https://github.com/team/app2", false},
		{"/srv/git/app.git", "/srv/git/app", true},
		{"", "", false},
		{"http://[::1", "", false},
	} {
		if git.SameOrigin(c.a, c.b) != c.same || git.SameOrigin(c.b, c.a) != c.same {
			t.Errorf("%q and %q: want %v", c.a, c.b, c.same)
		}
	}
}
