// Package storage serves ADLS Gen2: the DFS and Blob REST APIs over plain
// files below the state directory. What real clients send, and the answers
// they insist on, are noted where they are served.
package storage

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/state"
	"github.com/wherry-ml/wherry/store"
	accounts "github.com/wherry-ml/wherry/store/storage"
)

// Bearer checks a token of our issuer for the storage audience.
type Bearer func(ctx context.Context, token string) (wherry.Identity, error)

// Service is the storage endpoint.
type Service struct {
	store  *accounts.Store
	bearer Bearer
	lake   *lake
	master []byte // account keys are derived from it
	// Roles, if set, tells what a principal's roles allow beside what was granted
	// on the endpoint itself.
	Roles func(ctx context.Context, account, container string, p wherry.Principal) (read, write bool, err error)
	// NewAccount, if set, is called when there is a new account, before its
	// maker is told.
	NewAccount func(context.Context)
}

// New opens the endpoint over dir's lake.
func New(db *store.DB, dir state.Dir, bearer Bearer) (*Service, error) {
	master, err := masterKey(dir.Path("keys", "storage.key"))
	if err != nil {
		return nil, fmt.Errorf("storage key: %w", err)
	}
	root, err := os.OpenRoot(dir.Lake())
	if err != nil {
		return nil, err
	}
	return &Service{store: accounts.New(db), bearer: bearer, lake: &lake{root: root}, master: master}, nil
}

func masterKey(name string) ([]byte, error) {
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		b = make([]byte, 64)
		_, _ = rand.Read(b)
		return b, state.WriteFile(name, b, 0o600)
	}
	return b, err
}

// Key returns an account's first shared key, as base64.
func (s *Service) Key(a accounts.Account) string { return s.Keys(a)[0] }

// Keys returns an account's two shared keys, as base64.
func (s *Service) Keys(a accounts.Account) (keys [2]string) {
	for i, raw := range s.rawKeys(a) {
		keys[i] = base64.StdEncoding.EncodeToString(raw)
	}
	return keys
}

func (s *Service) rawKeys(a accounts.Account) (keys [2][]byte) {
	for i, text := range []string{fmt.Sprintf("%s|%d", a.Name, a.KeyGeneration), fmt.Sprintf("%s|2|%d", a.Name, a.Key2Generation)} {
		m := hmac.New(sha512.New, s.master)
		m.Write([]byte(text))
		keys[i] = m.Sum(nil)
	}
	return keys
}

// Accounts lists the names of the accounts, for hosts files.
func (s *Service) Accounts(ctx context.Context) ([]string, error) {
	all, err := s.store.Accounts(ctx)
	names := make([]string, len(all))
	for i, a := range all {
		names[i] = a.Name
	}
	return names, err
}

// ServeHTTP serves both styles of address and both APIs.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("x-ms-request-id", requestID())
	version := r.Header.Get("x-ms-version")
	if version == "" {
		version = "2023-11-03"
	}
	h.Set("x-ms-version", version)
	h.Set("Server", "wherry-storage")
	if id := r.Header.Get("x-ms-client-request-id"); id != "" {
		h.Set("x-ms-client-request-id", id)
	}
	q, err := s.parse(r)
	if err == nil {
		err = s.authorize(w, r, q)
	}
	if err == nil {
		err = s.dispatch(w, r, q)
	}
	if err != nil {
		writeError(w, r, q, err)
	}
}

func requestID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b)
	x := hex.EncodeToString(b)
	return x[:8] + "-" + x[8:12] + "-" + x[12:16] + "-" + x[16:20] + "-" + x[20:]
}

// request is an address and operation, taken apart.
type request struct {
	account   string
	container string
	path      string // "" is the container's root
	source    string // container/path of a rename's source, "" if it is none
	dfs       bool   // DFS API, else Blob
	method    string // after X-HTTP-Method-Override
}

// dispatch finds the operation: DFS and Blob are told apart by host, and on an
// IP address by their query parameters (clients derive one URL from the other
// by replacing ".dfs." with ".blob.", which changes nothing there).
func (s *Service) dispatch(w http.ResponseWriter, r *http.Request, q *request) error {
	query := r.URL.Query()
	switch {
	case q.container != "" && (query.Get("comp") == "lease" && q.method == http.MethodPut || r.Header.Get("x-ms-lease-action") != "" && q.method == http.MethodPost):
		return s.lease(w, r, q)
	case r.Header.Get("x-ms-lease-action") != "" || query.Get("comp") == "lease":
		return unsupported("lease actions as part of another request")
	case q.container == "":
		if q.method == http.MethodGet && (query.Get("comp") == "list" || query.Get("resource") == "account") {
			return s.listContainers(w, r, q)
		}
		if query.Get("comp") == "properties" && (q.method == http.MethodGet || q.method == http.MethodHead) {
			return s.accountProperties(w, query.Get("restype"))
		}
		if query.Get("comp") == "properties" {
			return unsupported("changes of the service's properties")
		}
		return badRequest("InvalidUri", "no such operation on an account")
	case q.path == "" && (query.Get("resource") == "filesystem" || query.Get("restype") == "container"):
		return s.container(w, r, q)
	case q.dfs:
		return s.path(w, r, q)
	default:
		return s.blob(w, r, q)
	}
}

// accountProperties tells what the account is, or what its Blob service does:
// azurerm reads the latter of every account.
func (s *Service) accountProperties(w http.ResponseWriter, of string) error {
	h := w.Header()
	h.Set("x-ms-sku-name", "Standard_LRS")
	h.Set("x-ms-account-kind", "StorageV2")
	h.Set("x-ms-is-hns-enabled", "true")
	if of != "service" {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	type off struct{ Enabled bool }
	type traced struct {
		Version             string
		Delete, Read, Write bool
		RetentionPolicy     off
	}
	return writeXML(w, struct {
		XMLName               xml.Name `xml:"StorageServiceProperties"`
		Logging               traced
		Cors                  struct{}
		DefaultServiceVersion string
		DeleteRetentionPolicy off
		StaticWebsite         off
	}{Logging: traced{Version: "1.0"}, DefaultServiceVersion: "2023-11-03"})
}

func httpTime(t time.Time) string { return t.UTC().Format(http.TimeFormat) }
