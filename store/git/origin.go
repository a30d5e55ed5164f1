package git

import (
	"context"
	"net"
	"net/url"
	"strings"

	"github.com/wherry-ml/wherry/store"
)

// SameOrigin compares addresses of repositories: https, ssh or git@host:path, of
// any user, ending with .git or not.
func SameOrigin(a, b string) bool { return a != "" && origin(a) == origin(b) }

// origin is host and path of an address, whatever leads there.
func origin(address string) string {
	address = strings.TrimSuffix(strings.TrimRight(address, "/"), ".git")
	if host, path, ok := strings.Cut(address, ":"); ok && !strings.Contains(host, "/") && !strings.HasPrefix(path, "//") {
		address = "ssh://" + host + "/" + strings.TrimPrefix(path, "/")
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return address
	}
	host, port := u.Hostname(), u.Port()
	if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() {
		host = "localhost"
	}
	if port != "" && u.Scheme != "ssh" && port != map[string]string{"http": "80", "https": "443"}[u.Scheme] {
		host = net.JoinHostPort(host, port)
	}
	return strings.ToLower(host + u.Path)
}

// PullAt finds the repository whose pull request of a number is meant in a
// working folder that has the given origin: an address of this server, which is
// called by host, or what a repository mirrors. In a clone of a fork the pull
// request that the fork sent is meant; 0 is none.
func (s *Store) PullAt(ctx context.Context, host, address string, number int64) (repoID int64, err error) {
	list, err := s.Repos(ctx)
	if err != nil {
		return 0, err
	}
	for _, r := range list {
		if SameOrigin(address, "http://"+host+"/git/"+r.Name) || SameOrigin(address, r.OriginURL) {
			repoID = r.ID
			break
		}
	}
	if repoID == 0 {
		return 0, nil
	}
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT repo_id FROM git_pull WHERE head_repo_id = $1 AND number = $2 AND repo_id <> $1
			AND NOT EXISTS (SELECT 1 FROM git_pull o WHERE o.repo_id = $1 AND o.number = $2)`, []any{repoID, number}, func(scan func(...any) error) error { return scan(&repoID) })
	})
	return repoID, err
}
