package mlflow

import (
	"unicode/utf8"

	"github.com/wherry-ml/wherry/store"
)

// ModelsIn counts the Unity Catalog models of a schema: the catalog asks
// before it drops or renames one.
func (s *Store) ModelsIn(tx *store.Tx, catalog, schema string) (n int, err error) {
	prefix := catalog + "." + schema + "."
	err = tx.Row(`SELECT count(*) FROM mlflow_registered_model WHERE workspace_id = $1 AND lower(substr(name, 1, $2)) = $3`,
		Account, utf8.RuneCountInString(prefix), prefix).Scan(&n)
	return n, err
}

// DropModels deletes the models of a schema with their versions; the files are
// the catalog's to remove, for they lie below the schema's folder.
func (s *Store) DropModels(tx *store.Tx, catalog, schema string) error {
	prefix := catalog + "." + schema + "."
	const which = `SELECT id FROM mlflow_registered_model WHERE workspace_id = $1 AND lower(substr(name, 1, $2)) = $3`
	args := []any{Account, utf8.RuneCountInString(prefix), prefix}
	for _, table := range []string{"mlflow_model_alias", "mlflow_model_version_tag", "mlflow_model_version", "mlflow_registered_model_tag"} {
		if _, err := tx.Exec(`DELETE FROM `+table+` WHERE model_id IN (`+which+`)`, args...); err != nil {
			return err
		}
	}
	_, err := tx.Exec(`DELETE FROM mlflow_registered_model WHERE id IN (`+which+`)`, args...)
	return err
}
