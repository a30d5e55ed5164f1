package auth

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

const principalColumns = `id, kind, user_name, display_name, application_id, object_id, external_id, entitlements, admin, active`

func scanPrincipal(scan func(...any) error) (p wherry.Principal, err error) {
	err = scan(&p.ID, &p.Kind, &p.UserName, &p.DisplayName, &p.ApplicationID, &p.ObjectID, &p.ExternalID, &p.Entitlements, &p.Admin, &p.Active)
	return p, err
}

// Principals lists the principals of a kind that were not removed, by id.
func Principals(tx *store.Tx, kind string) (list []wherry.Principal, err error) {
	err = tx.Each(`SELECT `+principalColumns+` FROM principal WHERE kind = $1 AND NOT removed ORDER BY id`, []any{kind}, func(scan func(...any) error) error {
		p, err := scanPrincipal(scan)
		list = append(list, p)
		return err
	})
	return list, err
}

// PrincipalByID returns a principal of a kind; RESOURCE_DOES_NOT_EXIST if there
// is none.
func PrincipalByID(tx *store.Tx, kind string, id int64) (wherry.Principal, error) {
	return found(fmt.Sprintf("%s with id %d", noun(kind), id),
		tx.Row(`SELECT `+principalColumns+` FROM principal WHERE kind = $1 AND id = $2 AND NOT removed`, kind, id).Scan)
}

// PrincipalByClient returns the service principal with a client id.
func PrincipalByClient(tx *store.Tx, client string) (wherry.Principal, error) {
	return found("Service principal "+client,
		tx.Row(`SELECT `+principalColumns+` FROM principal WHERE application_id = $1 AND application_id <> '' AND NOT removed`, strings.ToLower(client)).Scan)
}

// PrincipalByName returns the user with a name, or the service principal with
// a client id: both are user names.
func PrincipalByName(tx *store.Tx, name string) (wherry.Principal, error) {
	return found("Principal "+name, tx.Row(`SELECT `+principalColumns+` FROM principal WHERE user_name = $1 AND NOT removed`, name).Scan)
}

// Admin returns the installation's admin, who is always there.
func Admin(tx *store.Tx) (wherry.Principal, error) {
	return PrincipalByID(tx, wherry.KindUser, 1)
}

// PrincipalByObject returns the principal that Entra calls by an object id.
func PrincipalByObject(tx *store.Tx, object string) (wherry.Principal, error) {
	object = strings.ToLower(object)
	number := int64(-1) // of one whose object id is made of it
	if made, ok := strings.CutPrefix(object, numberPrefix); ok && len(made) == 12 {
		if n, err := strconv.ParseInt(made, 16, 64); err == nil {
			number = n
		}
	}
	return found("Principal with object id "+object, tx.Row(`SELECT `+principalColumns+` FROM principal WHERE NOT removed AND
		(object_id = $1 AND object_id <> '' OR object_id = '' AND (application_id = $1 AND application_id <> '' OR application_id = '' AND id = $2))`, object, number).Scan)
}

func found(what string, scan func(...any) error) (wherry.Principal, error) {
	p, err := scanPrincipal(scan)
	if errors.Is(err, store.ErrNoRows) {
		return p, wherry.Errorf(wherry.CodeDoesNotExist, "%s does not exist", what)
	}
	return p, err
}

func noun(kind string) string {
	if kind == wherry.KindServicePrincipal {
		return "Service principal"
	}
	return "User"
}

// CreateUser adds a user, who signs in with tokens that an admin makes.
func CreateUser(tx *store.Tx, userName, displayName string, admin bool) (wherry.Principal, error) {
	if userName == "" || strings.ContainsAny(userName, "/\\\x00\n") || len(userName) > 256 {
		return wherry.Principal{}, wherry.Errorf(wherry.CodeInvalidParameter, "userName %q is not a valid user name", userName)
	}
	return insertPrincipal(tx, wherry.Principal{Kind: wherry.KindUser, UserName: userName, DisplayName: firstOf(displayName, userName), Admin: admin, Active: true})
}

// CreateServicePrincipal adds a service principal as AddServicePrincipal does,
// and a first secret that never expires.
func CreateServicePrincipal(tx *store.Tx, client, displayName string, admin bool) (p wherry.Principal, secret string, err error) {
	if p, err = AddServicePrincipal(tx, client, displayName, admin); err != nil {
		return p, "", err
	}
	_, secret, err = CreateSecret(tx, p.ID, 0)
	return p, secret, err
}

// AddServicePrincipal adds a service principal under the given client id, a
// GUID, or a new one for "". It cannot sign in until it has a secret.
func AddServicePrincipal(tx *store.Tx, client, displayName string, admin bool) (wherry.Principal, error) {
	client = strings.ToLower(client)
	if client == "" {
		client = NewGUID()
	} else if !IsGUID(client) {
		return wherry.Principal{}, wherry.Errorf(wherry.CodeInvalidParameter, "applicationId %q is not a GUID", client)
	}
	return insertPrincipal(tx, wherry.Principal{Kind: wherry.KindServicePrincipal, UserName: client, ApplicationID: client, ObjectID: NewGUID(), DisplayName: firstOf(displayName, client), Admin: admin, Active: true})
}

func insertPrincipal(tx *store.Tx, p wherry.Principal) (_ wherry.Principal, err error) {
	var taken int
	if err := tx.Row(`SELECT count(*) FROM principal WHERE user_name = $1`, p.UserName).Scan(&taken); err != nil {
		return p, err
	}
	if taken > 0 {
		return p, wherry.Errorf(wherry.CodeAlreadyExists, "%s %s already exists", noun(p.Kind), p.UserName)
	}
	if p.ID, err = tx.NextID("principal"); err != nil {
		return p, err
	}
	_, err = tx.Exec(`INSERT INTO principal (id, kind, user_name, display_name, application_id, object_id, admin, active, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`, p.ID, p.Kind, p.UserName, p.DisplayName, p.ApplicationID, p.ObjectID, p.Admin, p.Active, time.Now().UnixMilli())
	return p, err
}

// UpdatePrincipal changes what may change: display name, active, admin and what
// SCIM keeps. The installation's first admin stays active and admin.
func UpdatePrincipal(tx *store.Tx, p wherry.Principal) error {
	if p.ID == 1 && (!p.Active || !p.Admin) {
		return wherry.Errorf(wherry.CodeInvalidParameter, "%s is the installation's admin and stays so", p.UserName)
	}
	_, err := tx.Exec(`UPDATE principal SET display_name = $1, active = $2, admin = $3, external_id = $4, entitlements = $5, version = version + 1 WHERE id = $6`,
		p.DisplayName, p.Active, p.Admin, p.ExternalID, p.Entitlements, p.ID)
	return err
}

// RemovePrincipal ends a principal's tokens and secrets and hides it; its name
// can be used again.
func RemovePrincipal(tx *store.Tx, p wherry.Principal) error {
	if p.ID == 1 {
		return wherry.Errorf(wherry.CodeInvalidParameter, "%s is the installation's admin and stays", p.UserName)
	}
	for _, q := range []string{`DELETE FROM graph_link WHERE target_id = $1`, `DELETE FROM workspace_assignment WHERE object_id = $1`} {
		if _, err := tx.Exec(q, ObjectID(p)); err != nil {
			return err
		}
	}
	for _, q := range []string{
		`DELETE FROM sign_in WHERE principal_id = $1`, `DELETE FROM token WHERE principal_id = $1`, `DELETE FROM principal_secret WHERE principal_id = $1`, `DELETE FROM federation WHERE principal_id = $1`,
		`UPDATE principal SET removed = true, active = false, application_id = '', object_id = '', user_name = 'removed:' || CAST(id AS TEXT) || ':' || user_name, version = version + 1 WHERE id = $1`,
	} {
		if _, err := tx.Exec(q, p.ID); err != nil {
			return err
		}
	}
	return nil
}

// SignOut ends a service principal's tokens and the secrets that were added
// under an object id or under none, and lets it sign in no more until it is
// active again.
func SignOut(tx *store.Tx, p wherry.Principal, owner string) error {
	if _, err := tx.Exec(`DELETE FROM token WHERE principal_id = $1`, p.ID); err != nil {
		return err
	}
	if _, err := tx.Exec(`DELETE FROM principal_secret WHERE principal_id = $1 AND (owner = $2 OR owner = '')`, p.ID, owner); err != nil {
		return err
	}
	p.Active = false
	return UpdatePrincipal(tx, p)
}

// Secret is a service principal's secret, without its value.
type Secret struct {
	ID      string
	Hash    string
	Created int64 // ms
	Expires int64 // ms, 0 never
	// DisplayName, Hint (its first letters) and Owner (the object id of the
	// application or service principal that it was added to) are Graph's.
	DisplayName, Hint, Owner string
}

// CreateSecret adds a secret and returns its value, which is kept nowhere.
func CreateSecret(tx *store.Tx, principalID int64, ttl time.Duration) (s Secret, value string, err error) {
	if ttl > 0 {
		s.Expires = time.Now().Add(ttl).UnixMilli()
	}
	return AddSecret(tx, principalID, s)
}

// AddSecret adds a secret with what s says of it: all but id, value and time of
// creation.
func AddSecret(tx *store.Tx, principalID int64, s Secret) (_ Secret, value string, err error) {
	value = NewToken("dose")
	s.ID, s.Hash, s.Hint, s.Created = NewGUID(), hash(value), value[:7], time.Now().UnixMilli()
	_, err = tx.Exec(`INSERT INTO principal_secret (id, principal_id, hash, created_at, expires_at, display_name, hint, owner) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		s.ID, principalID, s.Hash, s.Created, s.Expires, s.DisplayName, s.Hint, s.Owner)
	return s, value, err
}

// Secrets lists a service principal's secrets, the oldest first.
func Secrets(tx *store.Tx, principalID int64) (list []Secret, err error) {
	err = tx.Each(`SELECT id, hash, created_at, expires_at, display_name, hint, owner FROM principal_secret WHERE principal_id = $1 ORDER BY created_at, id`, []any{principalID}, func(scan func(...any) error) error {
		var s Secret
		if err := scan(&s.ID, &s.Hash, &s.Created, &s.Expires, &s.DisplayName, &s.Hint, &s.Owner); err != nil {
			return err
		}
		list = append(list, s)
		return nil
	})
	return list, err
}

// DeleteSecret removes a secret; RESOURCE_DOES_NOT_EXIST if there is none.
func DeleteSecret(tx *store.Tx, principalID int64, id string) error {
	n, err := tx.Exec(`DELETE FROM principal_secret WHERE principal_id = $1 AND id = $2`, principalID, id)
	if err == nil && n == 0 {
		return wherry.Errorf(wherry.CodeDoesNotExist, "Secret %s does not exist", id)
	}
	return err
}

// ErrSecret is returned by CheckSecret for a secret that is not the client's.
var ErrSecret = errors.New("the client secret is wrong or has expired")

// CheckSecret returns the active service principal whose client id and secret
// these are; RESOURCE_DOES_NOT_EXIST for an unknown client, ErrSecret for a
// wrong secret.
func CheckSecret(tx *store.Tx, client, secret string) (wherry.Principal, error) {
	p, err := PrincipalByClient(tx, client)
	if err != nil {
		return p, err
	}
	list, err := Secrets(tx, p.ID)
	if err != nil {
		return p, err
	}
	given, now := []byte(hash(secret)), time.Now().UnixMilli()
	right := false
	for _, s := range list {
		same := subtle.ConstantTimeCompare(given, []byte(s.Hash)) == 1
		right = right || same && (s.Expires == 0 || s.Expires > now)
	}
	if !right || !p.Active {
		return p, ErrSecret
	}
	return p, nil
}

// NewGUID returns a random GUID in lower case.
func NewGUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])                      // never fails (crypto/rand)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // version 4, RFC 9562
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// IsGUID reports whether s is a GUID in lower case.
func IsGUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range s {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (c == '-') || !dash && !strings.ContainsRune("0123456789abcdef", c) {
			return false
		}
	}
	return true
}
