package auth_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/storetest"
)

// post sends the sign-in form.
func post(s *auth.Service, fields url.Values) (*httptest.ResponseRecorder, error) {
	fields.Set(auth.FormField, "f")
	r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1:8787/login", strings.NewReader(fields.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.AddCookie(&http.Cookie{Name: "wherry_form", Value: "f"})
	w := httptest.NewRecorder()
	return w, s.Login(w, r)
}

const goodPassword = "correct horse"

// ann is a user with a password.
func ann(t *testing.T, db *store.DB) (p wherry.Principal) {
	t.Helper()
	hashed, err := auth.HashPassword(goodPassword)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(hashed, "$argon2id$v=19$m=65536,t=3,p=4$") {
		t.Errorf("kept as %s", hashed)
	}
	write(t, db, func(tx *store.Tx) error {
		if p, err = auth.CreateUser(tx, "ann@example.com", "Ann", false); err != nil {
			return err
		}
		return auth.SetPassword(tx, p.ID, hashed)
	})
	return p
}

func TestPassword(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := service(t, db, t.TempDir())
		p := ann(t, db)
		w, err := post(s, url.Values{"user": {" ann@example.com "}, "password": {goodPassword}, "next": {"/jobs"}})
		if err != nil || w.Header().Get("Location") != "/jobs" {
			t.Fatalf("sign in: %v %v", err, w.Header())
		}
		r := httptest.NewRequest(http.MethodGet, "/jobs", nil)
		r.AddCookie(w.Result().Cookies()[0])
		if id, err := s.Authenticate(r); err != nil || id.Principal.ID != p.ID {
			t.Errorf("with the cookie: %+v %v", id, err)
		}
		for _, wrong := range []url.Values{
			{"user": {"ann@example.com"}, "password": {"wrong"}},
			{"user": {"ann@example.com"}, "password": {""}},
			{"user": {"nobody"}, "password": {goodPassword}},
			{"user": {"admin@localhost"}, "password": {""}},
			{"user": {""}, "password": {""}},
			{"user": {"ann@example.com"}, "password": {strings.Repeat("x", 10_000)}},
		} {
			_, err := post(s, wrong)
			wantCode(t, err, wherry.CodeUnauthenticated)
			if !strings.Contains(err.Error(), "the name or the password is wrong") {
				t.Errorf("%v tells who is there: %v", wrong["user"], err)
			}
		}
		for _, password := range []string{"", "short", strings.Repeat("x", 300)} {
			_, err := auth.HashPassword(password)
			wantCode(t, err, wherry.CodeInvalidParameter)
		}
		// A new password ends the sessions of the old one.
		hashed, err := auth.HashPassword("another horse")
		if err != nil {
			t.Fatal(err)
		}
		write(t, db, func(tx *store.Tx) error { return auth.SetPassword(tx, p.ID, hashed) })
		_, err = s.Authenticate(r)
		wantCode(t, err, wherry.CodeUnauthenticated)
		p.Active = false
		write(t, db, func(tx *store.Tx) error { return auth.UpdatePrincipal(tx, p) })
		_, err = post(s, url.Values{"user": {"ann@example.com"}, "password": {"another horse"}})
		wantCode(t, err, wherry.CodeUnauthenticated)
	})
}

// Ten attempts fail for one name, then even the right password waits.
func TestAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, err := store.Open(t.Context(), "sqlite://"+t.TempDir()+"/wherry.db")
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		s := service(t, db, t.TempDir())
		ann(t, db)
		for range 10 {
			_, err := post(s, url.Values{"user": {"ann@example.com"}, "password": {strings.Repeat("x", 1000)}})
			wantCode(t, err, wherry.CodeUnauthenticated)
		}
		right := func() error {
			_, err := post(s, url.Values{"user": {"ann@example.com"}, "password": {goodPassword}})
			return err
		}
		wantCode(t, right(), wherry.CodeLimitExceeded)
		time.Sleep(16 * time.Minute) // of the bubble's clock
		if err := right(); err != nil {
			t.Errorf("after a while: %v", err)
		}
		// One address that goes through names is stopped too.
		last := error(nil)
		for i := range 101 {
			_, last = post(s, url.Values{"user": {"nobody" + strings.Repeat("x", i)}, "password": {strings.Repeat("x", 1000)}})
		}
		wantCode(t, last, wherry.CodeLimitExceeded)
	})
}

func TestLink(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := service(t, db, t.TempDir())
		p := ann(t, db)
		link := func() (secret string) {
			write(t, db, func(tx *store.Tx) (err error) {
				secret, _, err = auth.NewLink(tx, p.ID)
				return err
			})
			return secret
		}
		old, secret := link(), link()
		for range 2 { // to look is not to use
			if who, err := s.LinkOwner(t.Context(), secret); err != nil || who.ID != p.ID {
				t.Errorf("owner %+v %v", who, err)
			}
		}
		if _, err := post(s, url.Values{"link": {secret}}); err != nil {
			t.Error(err)
		}
		for _, wrong := range []string{secret, old, "x"} {
			_, err := post(s, url.Values{"link": {wrong}})
			wantCode(t, err, wherry.CodeUnauthenticated)
		}
	})
}

// Another site's form, or one without the browser's own secret, signs nobody in.
func TestFormToken(t *testing.T) {
	db := storetest.SQLite(t)
	s := service(t, db, t.TempDir())
	for _, cookie := range []string{"", "other"} {
		r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1:8787/login", strings.NewReader(url.Values{"token": {adminToken}, auth.FormField: {"f"}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if cookie != "" {
			r.AddCookie(&http.Cookie{Name: "wherry_form", Value: cookie})
		}
		wantCode(t, s.Login(httptest.NewRecorder(), r), wherry.CodePermissionDenied)
	}
	w := httptest.NewRecorder()
	token := auth.FormToken(w, httptest.NewRequest(http.MethodGet, "/login", nil))
	c := w.Result().Cookies()[0]
	if len(token) != 64 || c.Value != token || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode {
		t.Errorf("cookie %+v", c)
	}
}
