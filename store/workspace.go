package store

import "github.com/wherry-ml/wherry"

// WorkspaceExists returns RESOURCE_DOES_NOT_EXIST if there is no such workspace,
// or no more: rows of every area are of one.
func WorkspaceExists(tx *Tx, id int64) error {
	var n int
	if err := tx.Row(`SELECT count(*) FROM workspace WHERE id = $1 AND NOT removed`, id).Scan(&n); err != nil {
		return err
	}
	if n == 0 {
		return wherry.Errorf(wherry.CodeDoesNotExist, "Workspace %d does not exist", id)
	}
	return nil
}
