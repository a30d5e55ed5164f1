package auth

import (
	"crypto/subtle"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// A browser keeps a token of its own, not the one that was typed in.
const (
	sessionComment  = "browser session"
	sessionLifetime = 12 * time.Hour
)

// maxForm bounds the sign-in form.
const maxForm = 64 << 10

// Login takes the form of the sign-in page and starts a browser session: a
// cookie that scripts cannot read and other sites cannot send along with a
// change. The form has a user and password, or a token, or the secret of a link,
// and FormField. It answers with a redirect to next, a path of ours.
func (s *Service) Login(w http.ResponseWriter, r *http.Request) error {
	if err := ownPage(r); err != nil {
		return err
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/x-www-form-urlencoded" {
		return wherry.Errorf(wherry.CodeInvalidParameter, "sign in with the form of the sign-in page")
	}
	if err := r.ParseForm(); err != nil {
		return wherry.Errorf(wherry.CodeInvalidParameter, "the form cannot be read")
	}
	if c, err := r.Cookie(formCookie); err != nil || c.Value == "" || subtle.ConstantTimeCompare([]byte(c.Value), []byte(r.PostForm.Get(FormField))) != 1 {
		return wherry.Errorf(wherry.CodePermissionDenied, "the sign-in page was open for too long or the browser keeps no cookies: try again")
	}
	id := wherry.Identity{WorkspaceID: wherry.DefaultWorkspace}
	var err error
	switch form := r.PostForm; {
	case form.Get("link") != "":
		id.Principal, err = s.byLink(r.Context(), form.Get("link"))
	case form.Get("token") != "":
		id, err = s.Token(r.Context(), strings.TrimSpace(form.Get("token")))
	default:
		id.Principal, err = s.byPassword(r, strings.TrimSpace(form.Get("user")), form.Get("password"))
	}
	if err != nil {
		return err
	}
	if id.RunID != 0 {
		return wherry.Errorf(wherry.CodePermissionDenied, "a task's token does not open pages")
	}
	return s.StartSession(w, r, id, r.PostForm.Get("next"))
}

// StartSession signs a browser in as id, and leads it to next, a path of ours.
func (s *Service) StartSession(w http.ResponseWriter, r *http.Request, id wherry.Identity, next string) error {
	var token string
	err := s.db.Write(r.Context(), func(tx *store.Tx) (err error) {
		_, token, err = IssueToken(tx, id.WorkspaceID, id.Principal.ID, 0, sessionComment, sessionLifetime)
		return err
	})
	if err != nil {
		return err
	}
	setCookie(w, r, token, int(sessionLifetime.Seconds()))
	http.Redirect(w, r, localPath(next), http.StatusSeeOther)
	return nil
}

// The sign-in form carries a secret in FormField that only its browser has in a
// cookie, so that no other site can sign somebody in as somebody else.
const (
	FormField  = "form"
	formCookie = "wherry_form"
)

// FormToken returns what FormField holds in a form that r's answer shows.
func FormToken(w http.ResponseWriter, r *http.Request) string {
	token := NewToken("")
	if c, err := r.Cookie(formCookie); err == nil && len(c.Value) == len(token) {
		token = c.Value // two pages of one browser
	}
	http.SetCookie(w, &http.Cookie{Name: formCookie, Value: token, Path: "/login", MaxAge: int(sessionLifetime.Seconds()), HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode})
	return token
}

// Logout ends the browser's session and goes to the start page.
func (s *Service) Logout(w http.ResponseWriter, r *http.Request) error {
	if err := ownPage(r); err != nil {
		return err
	}
	if c, err := r.Cookie(CookieName); err == nil {
		err := s.db.Write(r.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec(`DELETE FROM token WHERE hash = $1 AND comment = $2`, hash(c.Value), sessionComment)
			return err
		})
		if err != nil {
			return err
		}
	}
	setCookie(w, r, "", -1)
	http.Redirect(w, r, "/", http.StatusSeeOther)
	return nil
}

func setCookie(w http.ResponseWriter, r *http.Request, value string, seconds int) {
	http.SetCookie(w, &http.Cookie{Name: CookieName, Value: value, Path: "/", MaxAge: seconds, HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteLaxMode})
}

// ownPage refuses a form that another site's page sent. Browsers say so in
// Sec-Fetch-Site; older ones only name the origin.
func ownPage(r *http.Request) error {
	foreign := wherry.Errorf(wherry.CodePermissionDenied, "another site's page may not sign in here")
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" {
		if site != "same-origin" && site != "none" {
			return foreign
		}
		return nil
	}
	if origin := r.Header.Get("Origin"); origin != "" {
		if u, err := url.Parse(origin); err != nil || u.Host != r.Host {
			return foreign
		}
	}
	return nil
}

// localPath is next if it is a path on this server, else the start page.
func localPath(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\n\r\t") {
		return "/"
	}
	return next
}
