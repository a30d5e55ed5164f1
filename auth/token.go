package auth

import (
	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// TokenInfo is a personal token without its value.
type TokenInfo struct {
	ID      string `json:"token_id"`
	Created int64  `json:"creation_time"`
	Expires int64  `json:"expiry_time"` // -1 never
	Comment string `json:"comment"`
}

// Tokens lists a principal's own tokens, without those of task runs and of
// browsers.
func Tokens(tx *store.Tx, principalID int64) (list []TokenInfo, err error) {
	list = []TokenInfo{}
	err = tx.Each(`SELECT id, created_at, expires_at, comment FROM token
		WHERE principal_id = $1 AND run_id = 0 AND id <> 'admin' AND comment <> $2 ORDER BY created_at, id`, []any{principalID, sessionComment}, func(scan func(...any) error) error {
		var t TokenInfo
		if err := scan(&t.ID, &t.Created, &t.Expires, &t.Comment); err != nil {
			return err
		}
		if t.Expires == 0 {
			t.Expires = -1
		}
		list = append(list, t)
		return nil
	})
	return list, err
}

// RevokeToken ends one of a principal's own tokens.
func RevokeToken(tx *store.Tx, principalID int64, id string) error {
	n, err := tx.Exec(`DELETE FROM token WHERE principal_id = $1 AND id = $2 AND run_id = 0 AND id <> 'admin'`, principalID, id)
	if err == nil && n == 0 {
		return wherry.Errorf(wherry.CodeDoesNotExist, "Token %s does not exist", id)
	}
	return err
}
