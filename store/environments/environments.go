// Package environments stores the places that bundles are deployed to: who
// approves there, what proves a deploy, what happens to drift. They are the
// installation's: a workflow runs in one workspace and deploys to another.
package environments

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// Store keeps environments in db.
type Store struct{ db *store.DB }

// New returns the store.
func New(db *store.DB) *Store { return &Store{db: db} }

const columns = `settings, updated_by, updated_at, revision`

func scan(scan func(...any) error) (e wherry.Environment, err error) {
	var settings, by string
	var at, revision int64
	if err = scan(&settings, &by, &at, &revision); err == nil {
		err = json.Unmarshal([]byte(settings), &e)
	}
	e.UpdatedBy, e.UpdatedAt, e.Revision = by, at, revision
	return e, err
}

// List returns the environments by name.
func (s *Store) List(ctx context.Context) (list []wherry.Environment, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT `+columns+` FROM environment ORDER BY key`, nil, func(row func(...any) error) error {
			e, err := scan(row)
			list = append(list, e)
			return err
		})
	})
	return list, err
}

// Get returns an environment by its name, in whatever case, or
// RESOURCE_DOES_NOT_EXIST.
func (s *Store) Get(ctx context.Context, name string) (e wherry.Environment, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		e, err = get(tx, name)
		return err
	})
	return e, err
}

func get(tx *store.Tx, name string) (wherry.Environment, error) {
	e, err := scan(tx.Row(`SELECT `+columns+` FROM environment WHERE key = $1`, strings.ToLower(name)).Scan)
	if errors.Is(err, store.ErrNoRows) {
		return e, wherry.Errorf(wherry.CodeDoesNotExist, "there is no environment %s: `wherry env list` shows those there are", name)
	}
	return e, err
}

// Named is an environment by its name, in whatever case; ok is false if there is
// none.
func Named(tx *store.Tx, name string) (e wherry.Environment, ok bool, err error) {
	e, err = get(tx, name)
	if wherry.CodeOf(err) == wherry.CodeDoesNotExist {
		return wherry.Environment{}, false, nil
	}
	return e, err == nil, err
}

// OfTarget returns the environment that a bundle target leads to; ok is false
// for a target that leads to none.
func (s *Store) OfTarget(ctx context.Context, target string) (e wherry.Environment, ok bool, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		e, ok, err = OfTarget(tx, target)
		return err
	})
	return e, ok, err
}

// OfTarget is the same inside of a transaction.
func OfTarget(tx *store.Tx, target string) (e wherry.Environment, ok bool, err error) {
	e, err = scan(tx.Row(`SELECT `+columns+` FROM environment WHERE target = $1`, target).Scan)
	if errors.Is(err, store.ErrNoRows) {
		return wherry.Environment{}, false, nil
	}
	return e, err == nil, err
}

// change is the payload of EventEnvironment.
type change struct {
	Name   string              `json:"name"`
	Before *wherry.Environment `json:"before,omitempty"`
	After  *wherry.Environment `json:"after,omitempty"`
}

func (c change) emit(tx *store.Tx, actor string) error {
	payload, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return tx.Emit(wherry.Event{WorkspaceID: wherry.DefaultWorkspace, Kind: wherry.EventEnvironment, Subject: c.Name, Actor: actor, Payload: payload})
}

// Put stores an environment, new or changed. A Revision that is not 0 must be
// the one there is, else ABORTED.
func (s *Store) Put(ctx context.Context, e wherry.Environment, actor string) (out wherry.Environment, err error) {
	e.Normalise()
	if err := e.Validate(); err != nil {
		return e, err
	}
	err = s.db.Write(ctx, func(tx *store.Tx) error {
		out, err = put(tx, e, actor)
		return err
	})
	if store.IsDuplicate(err) {
		return out, wherry.Errorf(wherry.CodeAlreadyExists, "the bundle target %s leads to another environment already", e.DeploysFrom())
	}
	return out, err
}

func put(tx *store.Tx, e wherry.Environment, actor string) (wherry.Environment, error) {
	c := change{Name: e.Name}
	before, err := get(tx, e.Name)
	switch {
	case err == nil:
		c.Before, c.Name, e.Name = &before, before.Name, before.Name
	case wherry.CodeOf(err) != wherry.CodeDoesNotExist:
		return e, err
	}
	if e.Revision != 0 && e.Revision != before.Revision {
		return e, wherry.Errorf(wherry.CodeAborted, "the environment %s was changed by %s in the meantime: read it again", e.Name, before.UpdatedBy)
	}
	e.Target = e.DeploysFrom()
	if e.UpdatedAt, err = tx.Now(); err != nil {
		return e, err
	}
	e.UpdatedBy, e.Revision = actor, before.Revision+1
	settings, err := json.Marshal(e)
	if err != nil {
		return e, err
	}
	n, err := tx.Exec(`INSERT INTO environment (key, target, settings, updated_by, updated_at, revision) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (key) DO UPDATE SET target = excluded.target, settings = excluded.settings, updated_by = excluded.updated_by,
		updated_at = excluded.updated_at, revision = excluded.revision WHERE environment.revision = excluded.revision - 1`,
		strings.ToLower(e.Name), e.DeploysFrom(), string(settings), e.UpdatedBy, e.UpdatedAt, e.Revision)
	if err == nil && n == 0 {
		err = wherry.Errorf(wherry.CodeAborted, "the environment %s was changed in the meantime: read it again", e.Name)
	}
	if err != nil {
		return e, err
	}
	c.After = &e
	return e, c.emit(tx, actor)
}

// Delete takes an environment away. What is deployed stays.
func (s *Store) Delete(ctx context.Context, name, actor string) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		before, err := get(tx, name)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(`DELETE FROM environment WHERE key = $1`, strings.ToLower(name)); err != nil {
			return err
		}
		return change{Name: before.Name, Before: &before}.emit(tx, actor)
	})
}
