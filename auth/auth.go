// Package auth knows who calls: principals, their tokens, and the signed
// tokens that our own issuer hands out.
package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// Service signs requests in against the store.
type Service struct {
	db   *store.DB
	now  func() time.Time
	keys *keys // nil: signed tokens are neither made nor accepted
}

// New returns the service; Keys lets it sign tokens.
func New(db *store.DB) *Service { return &Service{db: db, now: time.Now} }

// Bootstrap makes the installation's admin and default workspace if the store
// is empty, and (re)sets the admin's token to the given one.
func (s *Service) Bootstrap(ctx context.Context, adminToken string) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		now := s.now().UnixMilli()
		if _, err := tx.Exec(`INSERT INTO workspace (id, name, created_at) VALUES ($1, 'default', $2) ON CONFLICT DO NOTHING`,
			wherry.DefaultWorkspace, now); err != nil {
			return err
		}
		if _, err := tx.Exec(`INSERT INTO principal (id, kind, user_name, display_name, application_id, admin, active, created_at)
			VALUES (1, 'user', 'admin@localhost', 'Admin', '', true, true, $1) ON CONFLICT DO NOTHING`, now); err != nil {
			return err
		}
		if _, err := tx.Exec(`INSERT INTO sequence (name, value) VALUES ('principal', 1) ON CONFLICT DO NOTHING`); err != nil {
			return err
		}
		_, err := tx.Exec(`INSERT INTO token (id, hash, workspace_id, principal_id, run_id, comment, created_at, expires_at)
			VALUES ('admin', $1, $2, 1, 0, 'admin token of the state directory', $3, 0)
			ON CONFLICT (id) DO UPDATE SET hash = excluded.hash`, hash(adminToken), wherry.DefaultWorkspace, now)
		return err
	})
}

// NewToken returns 256 random bits behind prefix, in hexadecimal.
func NewToken(prefix string) string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return prefix + hex.EncodeToString(b)
}

func hash(token string) string {
	h := sha256.Sum256([]byte(token))
	return hex.EncodeToString(h[:])
}

// IssueToken stores a new token of a principal and returns it; only its hash is
// kept. ttl 0 never expires. runID ties it to a task run, 0 for a person's own.
func IssueToken(tx *store.Tx, ws, principalID, runID int64, comment string, ttl time.Duration) (id, token string, err error) {
	token = NewToken("dapi")
	id = hash(token)[:32]
	now := time.Now()
	var expires int64
	if ttl > 0 {
		expires = now.Add(ttl).UnixMilli()
	}
	_, err = tx.Exec(`INSERT INTO token (id, hash, workspace_id, principal_id, run_id, comment, created_at, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`, id, hash(token), ws, principalID, runID, comment, now.UnixMilli(), expires)
	return id, token, err
}

// RevokeRun ends the tokens of a task run.
func RevokeRun(tx *store.Tx, runID int64) error {
	_, err := tx.Exec(`DELETE FROM token WHERE run_id = $1`, runID)
	return err
}

// Authenticate implements api.Authenticator: a bearer token, or basic
// authentication with the user "token" or any user and a token as password
// (git and older clients), or the session cookie of the pages. A bearer token
// is one of ours from the store, or one that we signed for the workspace.
func (s *Service) Authenticate(r *http.Request) (wherry.Identity, error) {
	token := bearer(r)
	if token == "" {
		return wherry.Identity{}, nil
	}
	if signed(token) {
		id, _, err := s.Verify(r.Context(), token, AudienceWorkspace)
		return id, err
	}
	return s.Token(r.Context(), token)
}

func bearer(r *http.Request) string {
	h := r.Header.Get("Authorization")
	// "token" is what GitHub's clients say.
	if scheme, value, ok := strings.Cut(h, " "); ok && (strings.EqualFold(scheme, "bearer") || strings.EqualFold(scheme, "token")) {
		return strings.TrimSpace(value)
	}
	if _, password, ok := r.BasicAuth(); ok {
		return password
	}
	if c, err := r.Cookie(CookieName); err == nil {
		return c.Value
	}
	return ""
}

// CookieName is the cookie that carries a signed-in browser's token.
const CookieName = "wherry_session"

// Token returns whose token it is; UNAUTHENTICATED if it is nobody's or over.
func (s *Service) Token(ctx context.Context, token string) (id wherry.Identity, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		var expires int64
		p := &id.Principal
		err := tx.Row(`SELECT t.workspace_id, t.run_id, t.expires_at, p.id, p.kind, p.user_name, p.display_name, p.application_id, p.object_id, p.external_id, p.entitlements, p.admin, p.active
			FROM token t JOIN principal p ON p.id = t.principal_id WHERE t.hash = $1`, hash(token)).
			Scan(&id.WorkspaceID, &id.RunID, &expires, &p.ID, &p.Kind, &p.UserName, &p.DisplayName, &p.ApplicationID, &p.ObjectID, &p.ExternalID, &p.Entitlements, &p.Admin, &p.Active)
		switch {
		case errors.Is(err, store.ErrNoRows):
			return wherry.Errorf(wherry.CodeUnauthenticated, "the token is not valid here")
		case err != nil:
			return err
		case expires > 0 && expires < s.now().UnixMilli():
			return wherry.Errorf(wherry.CodeUnauthenticated, "the token has expired")
		case !p.Active:
			return wherry.Errorf(wherry.CodeUnauthenticated, "%s is not active", p.UserName)
		case id.RunID == 0:
			return nil
		}
		var admins int64
		err = tx.Row(`SELECT count(*) FROM task_run t JOIN job_run r ON r.id = t.job_run_id JOIN principal p ON p.user_name = r.creator
			WHERE t.id = $1 AND p.admin AND p.active`, id.RunID).Scan(&admins)
		id.ForAdmin = admins > 0
		return err
	})
	if err != nil {
		return wherry.Identity{}, err
	}
	return id, nil
}
