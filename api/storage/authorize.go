package storage

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry"
	accounts "github.com/wherry-ml/wherry/store/storage"
)

// Tenant is the tenant id that the endpoint names in its challenge.
const Tenant = "11111111-1111-1111-1111-111111111111"

// authorize lets the request pass or returns the error that clients expect.
func (s *Service) authorize(w http.ResponseWriter, r *http.Request, q *request) error {
	account, err := s.store.Account(r.Context(), q.account)
	if wherry.CodeOf(err) == wherry.CodeDoesNotExist {
		return &Error{Status: http.StatusNotFound, Code: "ResourceNotFound", Message: err.Error()}
	}
	if err != nil {
		return err
	}
	kind, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	switch {
	case strings.EqualFold(kind, "Bearer"):
		return s.authorizeBearer(r, q, strings.TrimSpace(value))
	case kind == "SharedKey":
		return s.authorizeKey(r, account, value)
	case r.URL.Query().Get("sig") != "":
		return s.authorizeVended(r, q)
	default: // azcore's storage policy reads the tenant and the resource from the challenge
		w.Header().Set("WWW-Authenticate", "Bearer authorization_uri=https://login.microsoftonline.com/"+Tenant+"/oauth2/authorize resource_id=https://storage.azure.com")
		return &Error{Status: http.StatusUnauthorized, Code: "NoAuthenticationInformation", Message: "Server failed to authenticate the request. Please refer to the information in the www-authenticate header."}
	}
}

func (s *Service) authorizeBearer(r *http.Request, q *request, token string) error {
	id, err := s.bearer(r.Context(), token)
	if e, ok := errors.AsType[*wherry.Error](err); ok {
		return &Error{Status: http.StatusUnauthorized, Code: "InvalidAuthenticationInfo", Message: e.Message}
	}
	if err != nil || id.Admin {
		return err
	}
	reading := q.method == http.MethodGet || q.method == http.MethodHead
	for _, container := range q.containers() {
		read, write, err := s.store.Allowed(r.Context(), q.account, container, id.ID)
		if err == nil && !write && s.Roles != nil {
			var mayRead, mayWrite bool
			mayRead, mayWrite, err = s.Roles(r.Context(), q.account, container, id.Principal)
			read, write = read || mayRead, write || mayWrite
		}
		if err != nil {
			return err
		}
		if !write && !(read && reading) {
			return &Error{Status: http.StatusForbidden, Code: "AuthorizationPermissionMismatch", Message: id.UserName + " is not authorized to perform this operation on " + q.account + "/" + container}
		}
	}
	return nil
}

// containers are those that the request reads or changes: a rename takes away
// what is at its source.
func (q *request) containers() []string {
	if q.source == "" {
		return []string{q.container}
	}
	from, _, _ := strings.Cut(q.source, "/")
	return []string{q.container, from}
}

func (s *Service) authorizeKey(r *http.Request, account accounts.Account, value string) error {
	name, signature, _ := strings.Cut(value, ":")
	if !account.SharedKey {
		return &Error{Status: http.StatusForbidden, Code: "KeyBasedAuthenticationNotPermitted", Message: "Key based authentication is not permitted on this storage account."}
	}
	got, err := base64.StdEncoding.DecodeString(signature)
	right := false
	for _, key := range s.rawKeys(account) {
		m := hmac.New(sha256.New, key)
		m.Write([]byte(stringToSign(r, name)))
		right = right || hmac.Equal(got, m.Sum(nil))
	}
	if err != nil || name != account.Name || !right {
		return &Error{Status: http.StatusForbidden, Code: "AuthenticationFailed", Message: "Server failed to authenticate the request. Make sure the value of Authorization header is formed correctly including the signature."}
	}
	return nil
}

// stringToSign is what SharedKey signs, as the SDKs and ABFS build it: the
// method as sent, standard headers, x-ms-* headers, and the resource with its
// decoded, sorted query.
func stringToSign(r *http.Request, account string) string {
	h := r.Header
	length := h.Get("Content-Length")
	if length == "" && r.ContentLength > 0 {
		length = itoa(r.ContentLength)
	}
	if length == "0" {
		length = ""
	}
	date := h.Get("Date")
	if h.Get("x-ms-date") != "" {
		date = ""
	}
	lines := []string{
		r.Method, h.Get("Content-Encoding"), h.Get("Content-Language"), length, h.Get("Content-MD5"), h.Get("Content-Type"), date,
		h.Get("If-Modified-Since"), h.Get("If-Match"), h.Get("If-None-Match"), h.Get("If-Unmodified-Since"), h.Get("Range"),
	}
	var ms []string
	for name, values := range h {
		if name := strings.ToLower(name); strings.HasPrefix(name, "x-ms-") {
			ms = append(ms, name+":"+strings.TrimSpace(strings.Join(values, ",")))
		}
	}
	slices.Sort(ms)
	rawPath, _, _ := strings.Cut(r.RequestURI, "?")
	resource := "/" + account + rawPath
	return strings.Join(append(append(lines, ms...), resource+canonicalQuery(r.URL.Query())), "\n")
}

func canonicalQuery(query url.Values) string {
	lower := map[string][]string{}
	for k, v := range query {
		lower[strings.ToLower(k)] = append(lower[strings.ToLower(k)], v...)
	}
	names := make([]string, 0, len(lower))
	for k := range lower {
		names = append(names, k)
	}
	slices.Sort(names)
	var b strings.Builder
	for _, k := range names {
		slices.Sort(lower[k])
		b.WriteString("\n" + k + ":" + strings.Join(lower[k], ","))
	}
	return b.String()
}
