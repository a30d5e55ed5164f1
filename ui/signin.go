package ui

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/auth"
)

// signIn is what the sign-in page shows.
type signIn struct {
	Next, Form, File string
	// Issuer is the host of who else signs people in, "" for nobody.
	Issuer, IssuerPath string
	// Link is the secret of a sign-in link, and LinkFor whom it is for.
	Link, LinkFor string
	User, Error   string
}

func (s *Service) login(w http.ResponseWriter, r *http.Request) error {
	body := signIn{Next: r.URL.Query().Get("next"), Link: r.URL.Query().Get("link")}
	status := http.StatusOK
	if body.Link != "" {
		p, err := s.cfg.SignIn.LinkOwner(r.Context(), body.Link)
		e, told := errors.AsType[*wherry.Error](err)
		if err != nil && !told {
			return err
		}
		if body.LinkFor = p.UserName; told {
			body.Link, body.Error, status = "", e.Message, api.WorkspaceStatus(e.Code)
		}
	}
	return s.renderSignIn(w, r, status, body)
}

func (s *Service) renderSignIn(w http.ResponseWriter, r *http.Request, status int, body signIn) error {
	body.Form, body.File = auth.FormToken(w, r), s.cfg.State.Path("admin-token")
	if s.cfg.Issuer != "" {
		body.Issuer, body.IssuerPath = s.cfg.Issuer, "/login/oidc?next="+url.QueryEscape(body.Next)
		if u, err := url.Parse(s.cfg.Issuer); err == nil && u.Host != "" {
			body.Issuer = u.Host
		}
	}
	return s.render(w, r, status, "login", page{Title: "Sign in", Body: body})
}

// enter takes the sign-in form. What is wrong with it is told on the same page.
func (s *Service) enter(w http.ResponseWriter, r *http.Request) error {
	err := s.cfg.SignIn.Login(w, r)
	if e, told := errors.AsType[*wherry.Error](err); told {
		return s.renderSignIn(w, r, api.WorkspaceStatus(e.Code), signIn{Next: r.PostForm.Get("next"), User: r.PostForm.Get("user"), Error: e.Message})
	}
	return err
}
