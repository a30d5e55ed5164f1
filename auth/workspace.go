package auth

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// workspaceDomain is where the names of Azure's workspaces are.
const workspaceDomain = ".azuredatabricks.net"

// workspaceName is a workspace's name: its number, and a second one that the
// cloud spreads them by.
var workspaceName = regexp.MustCompile(`^adb-([0-9]{1,18})\.[0-9]+\.azuredatabricks\.net$`)

// WorkspaceHost is the host name of a workspace. The second number is the first
// one's rest by 20, as in the cloud.
func WorkspaceHost(id int64) string {
	return fmt.Sprintf("adb-%d.%d%s", id, id%20, workspaceDomain)
}

// ElsewhereHost is the host name of a workspace, "" for the first, which is at the
// installation's own address.
func ElsewhereHost(id int64) string {
	if id == wherry.DefaultWorkspace {
		return ""
	}
	return WorkspaceHost(id)
}

// CreateWorkspace adds a workspace under a number of sixteen digits.
func CreateWorkspace(tx *store.Tx) (id int64, err error) {
	n, err := rand.Int(rand.Reader, big.NewInt(8e15)) // what JavaScript can hold
	if err != nil {
		return 0, err
	}
	id = n.Int64() + 1e15
	_, err = tx.Exec(`INSERT INTO workspace (id, name, created_at) VALUES ($1, $2, $3)`, id, WorkspaceHost(id), time.Now().UnixMilli())
	return id, err
}

// RemoveWorkspace ends the tokens of a workspace and lets nobody in again. Its
// rows stay, for the history that names them.
func RemoveWorkspace(tx *store.Tx, id int64) error {
	if id == wherry.DefaultWorkspace {
		return wherry.Errorf(wherry.CodeInvalidParameter, "the first workspace stays")
	}
	if _, err := tx.Exec(`DELETE FROM token WHERE workspace_id = $1`, id); err != nil {
		return err
	}
	_, err := tx.Exec(`UPDATE workspace SET removed = true WHERE id = $1`, id)
	return err
}

// WorkspaceAt returns the workspace that a host name leads to: its own for the
// name of one that was made here, else the first. RESOURCE_DOES_NOT_EXIST for
// one that was deleted.
func (s *Service) WorkspaceAt(ctx context.Context, host string) (int64, error) {
	m := workspaceName.FindStringSubmatch(strings.ToLower(host))
	if m == nil {
		return wherry.DefaultWorkspace, nil
	}
	id, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		return wherry.DefaultWorkspace, nil // a name of nobody's
	}
	var removed bool
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Row(`SELECT removed FROM workspace WHERE id = $1`, id).Scan(&removed)
	})
	switch {
	case errors.Is(err, store.ErrNoRows):
		return wherry.DefaultWorkspace, nil
	case err == nil && removed:
		return 0, wherry.Errorf(wherry.CodeDoesNotExist, "the workspace %s was deleted", host)
	}
	return id, err
}
