package drift

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// Infra is what an apply of Terraform left.
type Infra struct {
	// Source names the state: the folder of the configuration in its repository,
	// with the Terraform workspace if it is not the default one.
	Source      string          `json:"workspace"`
	RunID       string          `json:"run_id,omitempty"` // of the workflow run
	Attempt     int64           `json:"attempt,omitempty"`
	Environment string          `json:"environment,omitempty"`
	Commit      string          `json:"commit,omitempty"`
	PlanDigest  string          `json:"plan_digest"`
	Serial      int64           `json:"serial"`
	Resources   []InfraResource `json:"resources"`
}

// InfraResource is one resource of a Terraform state.
type InfraResource struct {
	Address string `json:"address"` // azurerm_storage_account.lake
	Type    string `json:"type"`
	ID      string `json:"id"`
	Digest  string `json:"digest"` // of its attributes in the state
}

// Applied stores what an apply left in the place of what the one before did,
// settles what had drifted, and tells of it.
func (s *Store) Applied(ctx context.Context, ws int64, in Infra, actor string, runID int64) error {
	if in.Source == "" || in.PlanDigest == "" {
		return wherry.Errorf(wherry.CodeInvalidParameter, "workspace and plan_digest are needed")
	}
	payload, err := json.Marshal(in)
	if err != nil {
		return err
	}
	return s.db.Write(ctx, func(tx *store.Tx) error {
		if _, err := tx.Exec(`DELETE FROM infra_resource WHERE workspace_id = $1 AND source = $2`, ws, in.Source); err != nil {
			return err
		}
		for _, r := range in.Resources {
			if _, err := tx.Exec(`INSERT INTO infra_resource (workspace_id, source, address, type, resource_id, resource_key, digest, serial, environment)
				VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`, ws, in.Source, r.Address, r.Type, r.ID, strings.ToLower(r.ID), r.Digest, in.Serial, in.Environment); err != nil {
				return err
			}
		}
		var open []string
		if err := tx.Each(`SELECT resource FROM drift WHERE workspace_id = $1 AND source = $2 AND state <> $3`, []any{ws, in.Source, Settled}, func(scan func(...any) error) error {
			address := ""
			err := scan(&address)
			open = append(open, address)
			return err
		}); err != nil {
			return err
		}
		for _, address := range open {
			if _, err := Settle(tx, Drift{Source: in.Source, Resource: address}, WayApplied, actor); err != nil {
				return err
			}
		}
		return tx.Emit(wherry.Event{
			WorkspaceID: ws, Kind: wherry.EventInfraApplied, Subject: fmt.Sprintf("%s@%d", in.Source, in.Serial), Actor: actor, RunID: runID, Payload: payload,
		})
	})
}

// InfraChanged records, in the transaction of the change, that someone changed
// or deleted a resource behind Terraform's back; one that no apply recorded is
// nobody's drift. Of several changes the first says what was before; one that is
// undone by hand is settled. The next apply settles the rest, its own deletions
// too.
func InfraChanged(tx *store.Tx, ws int64, resourceID, kind, actor string, fields []Field) error {
	var found []Drift
	err := tx.Each(`SELECT source, address, resource_id, serial FROM infra_resource WHERE workspace_id = $1 AND resource_key = $2`, []any{ws, strings.ToLower(resourceID)},
		func(scan func(...any) error) error {
			d := Drift{WorkspaceID: ws, Kind: kind, Fields: fields, Actor: actor}
			err := scan(&d.Source, &d.Resource, &d.ResourceID, &d.Version)
			found = append(found, d)
			return err
		})
	if err != nil {
		return err
	}
	for _, d := range found {
		have, err := unsettled(tx, d)
		switch {
		case err == nil && kind == Changed && have.Kind == Changed:
			d.Fields = since(have.Fields, fields)
		case err != nil && !errors.Is(err, store.ErrNoRows):
			return err
		}
		if kind == Changed && len(d.Fields) == 0 {
			_, err = Settle(tx, d, WayUndone, actor)
		} else {
			_, err = Record(tx, d)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// since adds a change to those before it: what is as it was at first has not
// changed.
func since(have, more []Field) (all []Field) {
	all = slices.Clone(have)
	for _, f := range more {
		i := slices.IndexFunc(all, func(h Field) bool { return h.Path == f.Path })
		switch {
		case i < 0:
			all = append(all, f)
		case reflect.DeepEqual(all[i].Before, f.After):
			all = slices.Delete(all, i, i+1)
		default:
			all[i].After = f.After
		}
	}
	return all
}
