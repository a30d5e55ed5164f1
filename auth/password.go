package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// The cost of a password: RFC 9106's second choice, for machines where 2 GiB is
// too much. Two at once are computed, the others wait.
const (
	argonTime     = 3
	argonMemory   = 64 << 10 // KiB
	argonThreads  = 4
	argonKey      = 32
	argonSalt     = 16
	hashesAtOnce  = 2
	shortPassword = 10 // characters; NIST SP 800-63B asks for 8
	longPassword  = 256
)

// hashing bounds the memory that people who try passwords can take.
var hashing = make(chan struct{}, hashesAtOnce)

func argon(password string, salt []byte) []byte {
	hashing <- struct{}{}
	defer func() { <-hashing }()
	return argon2.IDKey([]byte(password), salt, argonTime, argonMemory, argonThreads, argonKey)
}

// HashPassword returns what is kept of a password, in argon2's own text form. It
// takes a moment, and so stands outside of a transaction.
func HashPassword(password string) (string, error) {
	if n := utf8.RuneCountInString(password); n < shortPassword || len(password) > longPassword {
		return "", wherry.Errorf(wherry.CodeInvalidParameter, "a password has at least %d characters and at most %d bytes", shortPassword, longPassword)
	}
	salt := make([]byte, argonSalt)
	_, _ = rand.Read(salt) // never fails (crypto/rand)
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonTime, argonThreads, b64.EncodeToString(salt), b64.EncodeToString(argon(password, salt))), nil
}

// passwordIs compares in the same time whatever is wrong, also for nobody's
// hash "". A hash with another cost than ours is nobody's.
func passwordIs(stored, password string) bool {
	var salt, key []byte
	if parts := strings.Split(stored, "$"); len(parts) == 6 && parts[3] == fmt.Sprintf("m=%d,t=%d,p=%d", argonMemory, argonTime, argonThreads) {
		salt, _ = base64.RawStdEncoding.DecodeString(parts[4])
		key, _ = base64.RawStdEncoding.DecodeString(parts[5])
	}
	given := argon(password, salt)
	return len(key) == argonKey && subtle.ConstantTimeCompare(given, key) == 1
}

// UserByName returns the user with a name; RESOURCE_DOES_NOT_EXIST if there is
// none, or a service principal has it.
func UserByName(tx *store.Tx, name string) (wherry.Principal, error) {
	return found("User "+name, tx.Row(`SELECT `+principalColumns+` FROM principal WHERE user_name = $1 AND kind = 'user' AND NOT removed`, name).Scan)
}

// SetPassword keeps the hash of a user's new password, and ends the user's
// browser sessions.
func SetPassword(tx *store.Tx, principalID int64, hashed string) error {
	if _, err := tx.Exec(`INSERT INTO sign_in (principal_id, password) VALUES ($1, $2) ON CONFLICT (principal_id) DO UPDATE SET password = excluded.password`, principalID, hashed); err != nil {
		return err
	}
	_, err := tx.Exec(`DELETE FROM token WHERE principal_id = $1 AND comment = $2`, principalID, sessionComment)
	return err
}

// LinkLifetime is how long a sign-in link is good for.
const LinkLifetime = 15 * time.Minute

// NewLink returns the secret of a link that signs a user in once. It takes the
// place of the one before.
func NewLink(tx *store.Tx, principalID int64) (secret string, expires time.Time, err error) {
	secret, expires = NewToken(""), time.Now().Add(LinkLifetime)
	_, err = tx.Exec(`INSERT INTO sign_in (principal_id, link, link_expires_at) VALUES ($1, $2, $3)
		ON CONFLICT (principal_id) DO UPDATE SET link = excluded.link, link_expires_at = excluded.link_expires_at`, principalID, hash(secret), expires.UnixMilli())
	return secret, expires, err
}

var errLink = wherry.Errorf(wherry.CodeUnauthenticated, "this link was used already or is too old: an admin makes another with `wherry user link`")

// LinkOwner tells whom a link signs in, and leaves it as it is: programs that
// show what a link leads to must not use it up.
func (s *Service) LinkOwner(ctx context.Context, secret string) (p wherry.Principal, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) (err error) {
		p, err = s.linked(tx, secret)
		return err
	})
	return p, err
}

func (s *Service) linked(tx *store.Tx, secret string) (wherry.Principal, error) {
	p, err := scanPrincipal(tx.Row(`SELECT `+principalColumns+` FROM principal WHERE active AND NOT removed AND id = (SELECT principal_id FROM sign_in WHERE link = $1 AND link <> '' AND link_expires_at > $2)`, hash(secret), s.now().UnixMilli()).Scan)
	if errors.Is(err, store.ErrNoRows) {
		err = errLink
	}
	return p, err
}

// byLink signs in who a link was made for, once.
func (s *Service) byLink(ctx context.Context, secret string) (p wherry.Principal, err error) {
	err = s.db.Write(ctx, func(tx *store.Tx) (err error) {
		if p, err = s.linked(tx, secret); err != nil {
			return err
		}
		n, err := tx.Exec(`UPDATE sign_in SET link = '', link_expires_at = 0 WHERE principal_id = $1 AND link = $2`, p.ID, hash(secret))
		if err == nil && n == 0 {
			err = errLink
		}
		return err
	})
	return p, err
}

// How many attempts may fail in a while: for one name, and from one address for
// whatever names.
const (
	attemptWindow  = 15 * time.Minute
	attemptsByName = 10
	attemptsByFrom = 100
)

// byPassword signs a user in. An attempt is counted before it is looked at, so
// that many at once are not more than one after the other.
func (s *Service) byPassword(r *http.Request, name, password string) (p wherry.Principal, err error) {
	from, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		from = r.RemoteAddr
	}
	byName := "name:" + hash(name)
	stored := ""
	err = s.db.Write(r.Context(), func(tx *store.Tx) error {
		stored = ""
		if err := s.attempt(tx, byName, attemptsByName); err != nil {
			return err
		}
		if err := s.attempt(tx, "from:"+from, attemptsByFrom); err != nil {
			return err
		}
		p, err = UserByName(tx, name)
		if wherry.CodeOf(err) == wherry.CodeDoesNotExist {
			return nil
		}
		if err != nil || !p.Active {
			return err
		}
		err := tx.Row(`SELECT password FROM sign_in WHERE principal_id = $1`, p.ID).Scan(&stored)
		if errors.Is(err, store.ErrNoRows) {
			return nil
		}
		return err
	})
	if err != nil {
		return wherry.Principal{}, err
	}
	if len(password) > longPassword || !passwordIs(stored, password) {
		return wherry.Principal{}, wherry.Errorf(wherry.CodeUnauthenticated, "the name or the password is wrong")
	}
	return p, s.db.Write(r.Context(), func(tx *store.Tx) error {
		if _, err := tx.Exec(`DELETE FROM sign_in_failure WHERE subject = $1`, byName); err != nil {
			return err
		}
		_, err := tx.Exec(`UPDATE sign_in_failure SET failures = failures - 1 WHERE subject = $1 AND failures > 0`, "from:"+from)
		return err
	})
}

// attempt counts one more for a subject, and refuses it beyond the limit.
func (s *Service) attempt(tx *store.Tx, subject string, limit int64) error {
	now := s.now().UnixMilli()
	if _, err := tx.Exec(`DELETE FROM sign_in_failure WHERE since <= $1`, now-attemptWindow.Milliseconds()); err != nil {
		return err
	}
	if _, err := tx.Exec(`INSERT INTO sign_in_failure (subject, failures, since) VALUES ($1, 1, $2)
		ON CONFLICT (subject) DO UPDATE SET failures = sign_in_failure.failures + 1`, subject, now); err != nil {
		return err
	}
	var failures, since int64
	if err := tx.Row(`SELECT failures, since FROM sign_in_failure WHERE subject = $1`, subject).Scan(&failures, &since); err != nil {
		return err
	}
	if failures > limit {
		left := time.Duration(since-now)*time.Millisecond + attemptWindow
		return wherry.Errorf(wherry.CodeLimitExceeded, "too many attempts: try again in %d minutes, or let an admin make a link with `wherry user link`", int(left.Minutes())+1)
	}
	return nil
}
