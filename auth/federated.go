package auth

import (
	"context"
	"errors"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// External is who another issuer says somebody is.
type External struct {
	Issuer, Subject string
	Email, Name     string // a verified address, in any case
}

// SignInExternal returns the user that another issuer's subject is: the one who
// signed in so before, else the one whose name is the address, else a new one
// who is no admin.
func (s *Service) SignInExternal(ctx context.Context, e External) (p wherry.Principal, err error) {
	err = s.db.Write(ctx, func(tx *store.Tx) (err error) {
		p, err = external(tx, e)
		if err == nil && !p.Active {
			err = wherry.Errorf(wherry.CodeUnauthenticated, "%s is not active", p.UserName)
		}
		return err
	})
	return p, err
}

func external(tx *store.Tx, e External) (wherry.Principal, error) {
	p, err := scanPrincipal(tx.Row(`SELECT `+principalColumns+` FROM principal WHERE NOT removed AND id = (SELECT principal_id FROM sign_in WHERE issuer = $1 AND subject = $2 AND subject <> '')`, e.Issuer, e.Subject).Scan)
	if !errors.Is(err, store.ErrNoRows) {
		return p, err
	}
	email := strings.ToLower(e.Email)
	var same []wherry.Principal
	if err := tx.Each(`SELECT `+principalColumns+` FROM principal WHERE kind = 'user' AND NOT removed AND lower(user_name) = $1`, []any{email}, func(scan func(...any) error) error {
		p, err := scanPrincipal(scan)
		same = append(same, p)
		return err
	}); err != nil {
		return p, err
	}
	switch len(same) {
	case 0:
		if p, err = CreateUser(tx, email, e.Name, false); err != nil {
			return p, err
		}
	case 1:
		p = same[0]
	default:
		return p, wherry.Errorf(wherry.CodePermissionDenied, "several users are called %s: an admin removes all but one", email)
	}
	n, err := tx.Exec(`INSERT INTO sign_in (principal_id, issuer, subject) VALUES ($1, $2, $3)
		ON CONFLICT (principal_id) DO UPDATE SET issuer = excluded.issuer, subject = excluded.subject WHERE sign_in.subject = ''`, p.ID, e.Issuer, e.Subject)
	if err == nil && n == 0 {
		err = wherry.Errorf(wherry.CodePermissionDenied, "%s signs in as somebody else of the same address: an admin removes that user first", email)
	}
	return p, err
}
