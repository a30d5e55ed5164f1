package storage

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/wherry-ml/wherry"
)

// vendedFor is how long a signature of Vend is good for, as on the platform.
const vendedFor = time.Hour

// Rights that a signature of Vend says, by Azure's letters.
const (
	readRights  = "rl"
	writeRights = "racwdlm"
)

// Vend returns the query string of a shared access signature, of our own
// making, for all below account/container/path: a directory's signature as
// Azure knows it, with its depth but without its name.
func (s *Service) Vend(ctx context.Context, at string, write bool) (signature string, until time.Time, err error) {
	account, dir, _ := strings.Cut(at, "/")
	if _, err := s.store.Account(ctx, account); err != nil {
		if wherry.CodeOf(err) == wherry.CodeDoesNotExist {
			err = wherry.Errorf(wherry.CodeDoesNotExist, "the storage account %s does not exist here: make it first, as with terraform apply", account)
		}
		return "", until, err
	}
	until = time.Now().Add(vendedFor).Truncate(time.Second)
	rights := readRights
	if write {
		rights = writeRights
	}
	q := url.Values{
		"sv": {"2023-11-03"}, "sr": {"d"}, "sp": {rights}, "se": {until.UTC().Format(time.RFC3339)},
		"sdd": {strconv.Itoa(strings.Count(dir, "/"))}, // the container is not counted
	}
	q.Set("sig", s.vended(account, dir, q))
	return q.Encode(), until, nil
}

// vended is the signature over what a signature's parameters say of a folder.
func (s *Service) vended(account, dir string, q url.Values) string {
	m := hmac.New(sha256.New, s.master)
	fmt.Fprintf(m, "vended %q", []string{account, dir, q.Get("sv"), q.Get("sr"), q.Get("sp"), q.Get("se"), q.Get("sdd")})
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// authorizeVended lets a request pass that has a signature of Vend. A rename
// has one for each of its ends; clients that send one only mean it for both.
func (s *Service) authorizeVended(r *http.Request, q *request) error {
	query := r.URL.Query()
	reading := q.method == http.MethodGet || q.method == http.MethodHead
	at, whole := path.Join(q.container, q.path), false
	if q.path == "" && (query.Get("resource") == "filesystem" || query.Get("restype") == "container") {
		whole = !reading // containers are made and deleted by their account's key only
		dir := query.Get("directory")
		if query.Get("comp") == "list" {
			dir, _ = path.Split(query.Get("prefix")) // "a/b" lists what is in "a/bc" too
		}
		at = path.Join(q.container, dir)
	}
	if whole || q.container == "" {
		return notVended(q, at)
	}
	if err := s.checkVended(q, at, query, reading); err != nil || q.source == "" {
		return err
	}
	if _, raw, _ := strings.Cut(r.Header.Get("x-ms-rename-source"), "?"); raw != "" {
		if own, err := url.ParseQuery(raw); err == nil && own.Get("sig") != "" {
			query = own
		}
	}
	return s.checkVended(q, q.source, query, false)
}

func (s *Service) checkVended(q *request, at string, query url.Values, reading bool) error {
	depth, err := strconv.Atoi(query.Get("sdd"))
	parts := strings.Split(at, "/")
	if err != nil || depth < 0 || strings.Contains("/"+at+"/", "/../") {
		return notVended(q, at)
	}
	dir := strings.Join(parts[:min(depth+1, len(parts))], "/")
	if !hmac.Equal([]byte(query.Get("sig")), []byte(s.vended(q.account, dir, query))) {
		return notVended(q, at)
	}
	until, err := time.Parse(time.RFC3339, query.Get("se"))
	if err != nil || time.Now().After(until) {
		return &Error{Status: http.StatusForbidden, Code: "AuthenticationFailed", Message: "The shared access signature has expired."}
	}
	if query.Get("sp") != writeRights && !reading {
		return &Error{Status: http.StatusForbidden, Code: "AuthorizationPermissionMismatch", Message: "The shared access signature allows reading only: " + q.account + "/" + at}
	}
	return nil
}

func notVended(q *request, at string) error {
	return &Error{
		Status: http.StatusForbidden, Code: "AuthenticationFailed",
		Message: "The shared access signature is not good for " + q.account + "/" + at + ". wherry takes only those that its catalog gave out " +
			"(temporary-path-credentials): elsewhere use a bearer token or the account key.",
	}
}
