package auth

import (
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

// Login takes the form of the sign-in page (token, next) and starts a browser
// session: a cookie that scripts cannot read and other sites cannot send along
// with a change. It answers with a redirect to next, a path of ours.
func (s *Service) Login(w http.ResponseWriter, r *http.Request) error {
	if err := ownPage(r); err != nil {
		return err
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/x-www-form-urlencoded" {
		return wherry.Errorf(wherry.CodeInvalidParameter, "sign in with a form that has the field token")
	}
	if err := r.ParseForm(); err != nil {
		return wherry.Errorf(wherry.CodeInvalidParameter, "the form cannot be read")
	}
	id, err := s.Token(r.Context(), strings.TrimSpace(r.PostForm.Get("token")))
	if err != nil {
		return err
	}
	if id.RunID != 0 {
		return wherry.Errorf(wherry.CodePermissionDenied, "a task's token does not open pages")
	}
	var token string
	err = s.db.Write(r.Context(), func(tx *store.Tx) (err error) {
		_, token, err = IssueToken(tx, id.WorkspaceID, id.Principal.ID, 0, sessionComment, sessionLifetime)
		return err
	})
	if err != nil {
		return err
	}
	setCookie(w, r, token, int(sessionLifetime.Seconds()))
	http.Redirect(w, r, localPath(r.PostForm.Get("next")), http.StatusSeeOther)
	return nil
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
