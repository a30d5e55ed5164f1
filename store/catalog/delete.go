package catalog

import (
	"context"
	"path"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/drift"
)

// Delete deletes a securable. A catalog or schema that is not empty is deleted
// with all it holds if force is set, else it is an error. The folders of
// managed tables and volumes are noted as moves (see Moves).
func (s *Store) Delete(ctx context.Context, kind, fullName string, force bool) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		n, err := Lookup(tx, kind, fullName)
		if err != nil {
			return err
		}
		if !force {
			if err := s.checkEmpty(tx, n); err != nil {
				return err
			}
		}
		return s.remove(ctx, tx, n)
	})
}

func (s *Store) checkEmpty(tx *store.Tx, n *wherry.Securable) error {
	children, err := childrenOf(tx, n)
	if err != nil {
		return err
	}
	models, err := s.models(tx, n)
	if err != nil {
		return err
	}
	var names []string
	for _, c := range children {
		// A catalog's own empty default schema does not make it full.
		if c.Kind == wherry.SecurableSchema && c.Name == DefaultSchema {
			if s.checkEmpty(tx, c) == nil {
				continue
			}
		}
		names = append(names, noun(c.Kind)+" "+c.Name)
	}
	if models > 0 {
		names = append(names, "registered models")
	}
	if len(names) == 0 {
		return nil
	}
	if len(names) > 5 {
		names = append(names[:5], "…")
	}
	return wherry.Errorf(wherry.CodeInvalidState, "Cannot delete %s '%s': it is not empty (%s). Delete what it holds first, or use force=true (CASCADE).",
		noun(n.Kind), n.FullName(), strings.Join(names, ", "))
}

func childrenOf(tx *store.Tx, n *wherry.Securable) (list []*wherry.Securable, err error) {
	err = tx.Each(`SELECT `+columns+` FROM securable WHERE parent_id = $1 AND id <> $1 ORDER BY kind, name`, []any{n.ID}, func(fn func(...any) error) error {
		c, err := scan(fn)
		if err == nil {
			place(c, n)
			list = append(list, c)
		}
		return err
	})
	return list, err
}

// models counts the registered models in a schema or catalog.
func (s *Store) models(tx *store.Tx, n *wherry.Securable) (count int, err error) {
	if s.Models == nil {
		return 0, nil
	}
	switch n.Kind {
	case wherry.SecurableSchema:
		return s.Models.ModelsIn(tx, n.Catalog, n.Name)
	case wherry.SecurableCatalog:
		children, err := childrenOf(tx, n)
		if err != nil {
			return 0, err
		}
		for _, c := range children {
			in, err := s.models(tx, c)
			if err != nil {
				return 0, err
			}
			count += in
		}
	}
	return count, nil
}

func (s *Store) remove(ctx context.Context, tx *store.Tx, n *wherry.Securable) error {
	children, err := childrenOf(tx, n)
	if err != nil {
		return err
	}
	for _, c := range children {
		if err := s.remove(ctx, tx, c); err != nil {
			return err
		}
	}
	if n.Kind == wherry.SecurableSchema && s.Models != nil {
		if err := s.Models.DropModels(tx, n.Catalog, n.Name); err != nil {
			return err
		}
		if err := noteMove(tx, path.Join("models", n.Catalog, n.Name), ""); err != nil {
			return err
		}
		if err := forget(tx, modelKey(n.Catalog+"."+n.Name)+"."); err != nil {
			return err
		}
	}
	if at := folder(n); at != "" {
		if err := noteMove(tx, at, ""); err != nil {
			return err
		}
	}
	if err := forget(tx, grantKey(n)); err != nil {
		return err
	}
	tx.Changed(Topic)
	if err := tx.ExecVersioned(`DELETE FROM securable WHERE id = $1 AND version = $2`, n.ID, n.Version); err != nil {
		return err
	}
	return drift.Touch(ctx, tx, deployedAs[n.Kind], n.FullName())
}

// ManagedVolumes calls fn with each managed volume.
func (s *Store) ManagedVolumes(ctx context.Context, fn func(*wherry.Securable) error) error {
	list, err := s.volumes(ctx, wherry.Managed)
	if err != nil {
		return err
	}
	for _, v := range list {
		if err := fn(v); err != nil {
			return err
		}
	}
	return nil
}

// ExternalVolumes lists the external volumes.
func (s *Store) ExternalVolumes(ctx context.Context) ([]*wherry.Securable, error) {
	return s.volumes(ctx, wherry.External)
}

func (s *Store) volumes(ctx context.Context, kind string) (list []*wherry.Securable, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		list = nil
		var ids []string
		err := tx.Each(`SELECT id FROM securable WHERE kind = 'VOLUME' AND table_type = $1`, []any{kind}, func(scan func(...any) error) error {
			var id string
			err := scan(&id)
			ids = append(ids, id)
			return err
		})
		if err != nil {
			return err
		}
		for _, id := range ids {
			v, err := find(tx, `WHERE id = $1`, id)
			if err != nil {
				return err
			}
			list = append(list, v)
		}
		return nil
	})
	return list, err
}
