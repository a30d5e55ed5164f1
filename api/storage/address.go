package storage

import (
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

var (
	accountName   = regexp.MustCompile(`^[a-z0-9]{3,24}$`)
	containerName = regexp.MustCompile(`^(\$root|\$web|\$logs|[a-z0-9](-?[a-z0-9]){2,62})$`)
)

// parse finds account, container and path. Host style names the account in
// the host (<account>.dfs.core.windows.net); path style, on an IP address, in
// the first segment. The JavaScript SDK drops that segment on a rename: the
// account is then taken from the Authorization header.
func (s *Service) parse(r *http.Request) (*request, error) {
	q := &request{method: r.Method}
	if m := r.Header.Get("X-HTTP-Method-Override"); m != "" && r.Method == http.MethodPut || r.Method == http.MethodPost && m != "" {
		q.method = m // java.net has no PATCH: ABFS sends PUT with the override
	}
	host := strings.ToLower(r.Host)
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	rest := strings.TrimPrefix(r.URL.Path, "/")
	account, service, hostStyle := strings.Cut(host, ".")
	if hostStyle = hostStyle && net.ParseIP(host) == nil; hostStyle {
		q.account, q.dfs = account, strings.HasPrefix(service, "dfs.")
	} else {
		first, after, _ := strings.Cut(rest, "/")
		signer := signingAccount(r)
		if _, err := s.store.Account(r.Context(), first); err != nil && signer != "" && signer != first {
			first, after = signer, rest
		}
		q.account, rest = first, after
		q.dfs = isDFS(r.URL.Query(), r, q.method)
	}
	if !accountName.MatchString(q.account) {
		return q, badRequest("InvalidUri", "not the name of a storage account")
	}
	q.container, q.path, _ = strings.Cut(rest, "/")
	if q.container != "" && !containerName.MatchString(q.container) {
		return q, badRequest("InvalidResourceName", "the container's name is not valid")
	}
	var err error
	if q.path, err = cleanPath(q.path); err != nil {
		return q, err
	}
	q.source, err = q.renameSource(r, hostStyle)
	return q, err
}

// renameSource reads /filesystem/path, with the account before it in path style
// (azdatalake) or without (ABFS, host style), URL-encoded and perhaps with a
// query behind it.
func (q *request) renameSource(r *http.Request, hostStyle bool) (string, error) {
	raw, _, _ := strings.Cut(r.Header.Get("x-ms-rename-source"), "?")
	source, err := url.PathUnescape(raw)
	if err != nil {
		return "", badRequest("InvalidRenameSourcePath", "x-ms-rename-source is not a valid path")
	}
	if source, err = cleanPath(source); err == nil && !hostStyle {
		source = strings.TrimPrefix(source, q.account+"/")
	}
	return source, err
}

// cleanPath refuses what has no one meaning as a file name.
func cleanPath(p string) (string, error) {
	if strings.ContainsRune(p, 0) || len(p) > 1024 {
		return "", badRequest("InvalidResourceName", "the path is not valid")
	}
	var kept []string
	for part := range strings.SplitSeq(p, "/") {
		switch {
		case part == "":
			continue
		case part == "." || part == "..":
			return "", badRequest("InvalidUri", "a path may not hold . or ..")
		case len(part) > 255:
			return "", badRequest("InvalidResourceName", "a name in the path is longer than 255 bytes")
		}
		kept = append(kept, part)
	}
	return strings.Join(kept, "/"), nil
}

func signingAccount(r *http.Request) string {
	kind, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if kind != "SharedKey" {
		return ""
	}
	account, _, _ := strings.Cut(value, ":")
	return account
}

// isDFS tells the two APIs apart where they share an address, by what their
// clients send (observed: azdatalake, the JavaScript SDK, ABFS).
func isDFS(query url.Values, r *http.Request, method string) bool {
	return query.Has("resource") || query.Has("action") || query.Has("recursive") || query.Get("mode") == "legacy" ||
		r.Header.Get("x-ms-rename-source") != "" || method == http.MethodPatch ||
		strings.Contains(r.UserAgent(), "Azure Blob FS")
}
