package auth_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/storetest"
)

const adminToken = "dapi-test"

func service(t *testing.T, db *store.DB, keys string) *auth.Service {
	t.Helper()
	s := auth.New(db).Keys(keys)
	if err := s.Bootstrap(t.Context(), adminToken); err != nil {
		t.Fatal(err)
	}
	return s
}

func write(t *testing.T, db *store.DB, fn func(*store.Tx) error) {
	t.Helper()
	if err := db.Write(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

// bearer is who a request with the token is.
func bearer(s *auth.Service, token string) (wherry.Identity, error) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	return s.Authenticate(r)
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	if wherry.CodeOf(err) != code {
		t.Errorf("got %v, want %s", err, code)
	}
}

func TestServicePrincipals(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		service(t, db, t.TempDir())
		var p wherry.Principal
		var secret string
		write(t, db, func(tx *store.Tx) (err error) {
			p, secret, err = auth.CreateServicePrincipal(tx, "", "ci", false)
			return err
		})
		if p.ApplicationID == "" || p.UserName != p.ApplicationID || p.Kind != wherry.KindServicePrincipal || !p.Active || p.Admin {
			t.Errorf("created %+v", p)
		}
		check := func(client, secret string) (got wherry.Principal, err error) {
			err = db.Read(t.Context(), func(tx *store.Tx) error {
				got, err = auth.CheckSecret(tx, client, secret)
				return err
			})
			return got, err
		}
		if got, err := check(strings.ToUpper(p.ApplicationID), secret); err != nil || got != p {
			t.Errorf("right secret: %+v %v", got, err)
		}
		if _, err := check(p.ApplicationID, secret+"x"); !errors.Is(err, auth.ErrSecret) {
			t.Errorf("wrong secret: %v", err)
		}
		_, err := check("nobody", secret)
		wantCode(t, err, wherry.CodeDoesNotExist)
		_, err = check("", "")
		wantCode(t, err, wherry.CodeDoesNotExist)

		// Two secrets are good at once; each can be taken back.
		var second string
		var s auth.Secret
		write(t, db, func(tx *store.Tx) (err error) {
			s, second, err = auth.CreateSecret(tx, p.ID, time.Hour)
			return err
		})
		if _, err := check(p.ApplicationID, second); err != nil {
			t.Error(err)
		}
		write(t, db, func(tx *store.Tx) error { return auth.DeleteSecret(tx, p.ID, s.ID) })
		if _, err := check(p.ApplicationID, second); !errors.Is(err, auth.ErrSecret) {
			t.Errorf("deleted secret: %v", err)
		}

		err = db.Write(t.Context(), func(tx *store.Tx) error {
			_, err := auth.AddServicePrincipal(tx, p.ApplicationID, "again", false)
			return err
		})
		wantCode(t, err, wherry.CodeAlreadyExists)
		write(t, db, func(tx *store.Tx) error { return auth.RemovePrincipal(tx, p) })
		_, err = check(p.ApplicationID, secret)
		wantCode(t, err, wherry.CodeDoesNotExist)
		write(t, db, func(tx *store.Tx) error { // its name is free again
			_, err := auth.AddServicePrincipal(tx, p.ApplicationID, "again", false)
			return err
		})
	})
}

func TestAdminStays(t *testing.T) {
	db := storetest.SQLite(t)
	service(t, db, t.TempDir())
	err := db.Write(t.Context(), func(tx *store.Tx) error {
		p, err := auth.PrincipalByID(tx, wherry.KindUser, 1)
		if err != nil {
			return err
		}
		p.Active = false
		return auth.UpdatePrincipal(tx, p)
	})
	wantCode(t, err, wherry.CodeInvalidParameter)
}

func TestSignedTokens(t *testing.T) {
	db, keys := storetest.SQLite(t), t.TempDir()
	s := service(t, db, keys)
	var p wherry.Principal
	write(t, db, func(tx *store.Tx) (err error) {
		p, err = auth.AddServicePrincipal(tx, "", "ci", false)
		return err
	})
	sign := func(s *auth.Service, audience string) string {
		token, err := s.Sign(p, "https://login.example/t", audience, auth.Claims{AppID: p.ApplicationID})
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	if id, err := bearer(s, sign(s, auth.AudienceWorkspace)); err != nil || id.Principal != p || id.WorkspaceID != wherry.DefaultWorkspace {
		t.Errorf("workspace token: %+v %v", id, err)
	}
	_, err := bearer(s, sign(s, auth.AudienceStorage))
	wantCode(t, err, wherry.CodeUnauthenticated)
	for _, audience := range []string{auth.AudienceStorage, auth.AudienceStorage + "/"} {
		if id, err := s.VerifyStorage(t.Context(), sign(s, audience)); err != nil || id.Principal != p {
			t.Errorf("storage token: %+v %v", id, err)
		}
	}
	_, err = s.VerifyStorage(t.Context(), sign(s, auth.AudienceWorkspace))
	wantCode(t, err, wherry.CodeUnauthenticated)
	_, err = s.VerifyStorage(t.Context(), adminToken)
	wantCode(t, err, wherry.CodeUnauthenticated)

	// The next server has the same key; another installation has not.
	if _, err := bearer(auth.New(db).Keys(keys), sign(s, auth.AudienceWorkspace)); err != nil {
		t.Error(err)
	}
	_, err = bearer(s, sign(auth.New(db).Keys(t.TempDir()), auth.AudienceWorkspace))
	wantCode(t, err, wherry.CodeUnauthenticated)
	none := "eyJhbGciOiJub25lIn0." + strings.Split(sign(s, auth.AudienceWorkspace), ".")[1] + "."
	_, err = bearer(s, none)
	wantCode(t, err, wherry.CodeUnauthenticated)
	if info, err := os.Stat(filepath.Join(keys, "signing.pem")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key file: %v", err)
	}

	p.Active = false
	write(t, db, func(tx *store.Tx) error { return auth.UpdatePrincipal(tx, p) })
	_, err = bearer(s, sign(s, auth.AudienceWorkspace))
	wantCode(t, err, wherry.CodeUnauthenticated)
}

func TestTokens(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := service(t, db, t.TempDir())
		var id, token, ofRun string
		write(t, db, func(tx *store.Tx) (err error) {
			if id, token, err = auth.IssueToken(tx, 1, 1, 0, "mine", time.Hour); err != nil {
				return err
			}
			_, ofRun, err = auth.IssueToken(tx, 1, 1, 77, "of a run", 0)
			return err
		})
		if got, err := bearer(s, ofRun); err != nil || got.RunID != 77 {
			t.Errorf("token of a run: %+v %v", got, err)
		}
		var list []auth.TokenInfo
		if err := db.Read(t.Context(), func(tx *store.Tx) (err error) {
			list, err = auth.Tokens(tx, 1)
			return err
		}); err != nil || len(list) != 1 || list[0].ID != id || list[0].Expires-list[0].Created != time.Hour.Milliseconds() {
			t.Errorf("tokens: %+v %v", list, err)
		}
		write(t, db, func(tx *store.Tx) error { return auth.RevokeToken(tx, 1, id) })
		_, err := bearer(s, token)
		wantCode(t, err, wherry.CodeUnauthenticated)
		write(t, db, func(tx *store.Tx) error { return auth.RevokeRun(tx, 77) })
		_, err = bearer(s, ofRun)
		wantCode(t, err, wherry.CodeUnauthenticated)
	})
}

// login posts the sign-in form.
func login(s *auth.Service, token, next string, header map[string]string) (*httptest.ResponseRecorder, error) {
	r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1:8787/login", strings.NewReader(url.Values{"token": {token}, "next": {next}, auth.FormField: {"f"}}.Encode()))
	r.AddCookie(&http.Cookie{Name: "wherry_form", Value: "f"})
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for k, v := range header {
		r.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	return w, s.Login(w, r)
}

func TestSession(t *testing.T) {
	db := storetest.SQLite(t)
	s := service(t, db, t.TempDir())
	w, err := login(s, adminToken, "/jobs?x=1", map[string]string{"Origin": "http://127.0.0.1:8787"})
	if err != nil || w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/jobs?x=1" {
		t.Fatalf("login: %v %d %v", err, w.Code, w.Header())
	}
	c := w.Result().Cookies()[0]
	if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Value == adminToken || c.Secure {
		t.Errorf("cookie %+v", c)
	}
	r := httptest.NewRequest(http.MethodGet, "/jobs", nil)
	r.AddCookie(c)
	if id, err := s.Authenticate(r); err != nil || id.Principal.ID != 1 {
		t.Errorf("with the cookie: %+v %v", id, err)
	}
	r = httptest.NewRequest(http.MethodPost, "/logout", nil)
	r.AddCookie(c)
	if err := s.Logout(httptest.NewRecorder(), r); err != nil {
		t.Fatal(err)
	}
	_, err = bearer(s, c.Value)
	wantCode(t, err, wherry.CodeUnauthenticated)

	for _, next := range []string{"https://evil.example/", "//evil.example/", `/\evil.example`, "evil", ""} {
		if w, err := login(s, adminToken, next, nil); err != nil || w.Header().Get("Location") != "/" {
			t.Errorf("next %q leads to %q (%v)", next, w.Header().Get("Location"), err)
		}
	}
	for _, header := range []map[string]string{{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}} {
		_, err := login(s, adminToken, "/", header)
		wantCode(t, err, wherry.CodePermissionDenied)
	}
	_, err = login(s, "wrong", "/", nil)
	wantCode(t, err, wherry.CodeUnauthenticated)
}
