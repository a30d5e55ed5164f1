package trace

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/wherry-ml/wherry/store"
)

// Version is a version of a table, with the task runs that wrote and read it.
// A version without a writer was written by nobody we know.
type Version struct {
	Node
	Number           int64
	Writers, Readers []*Node
}

// Versions lists the versions of a table below a number, the newest first.
func (s *Store) Versions(ctx context.Context, ws int64, tableID string, below int64, limit int) (list []Version, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		list = nil
		top := tableID + "@" + strconv.FormatInt(below, 10)
		// Keys of one table differ in their numbers only: of two, the longer is the higher.
		err := tx.Each(`SELECT key, digest, actor, at, payload FROM trace_node WHERE workspace_id = $1 AND kind = $2 AND key LIKE $3 ESCAPE '!'
			AND (length(key) < length($4) OR length(key) = length($4) AND key < $4) ORDER BY length(key) DESC, key DESC LIMIT $5`,
			[]any{ws, TableVersion, versionsOf(tableID), top, limit}, func(scan func(...any) error) error {
				v := Version{Node: Node{Ref: Ref{Kind: TableVersion}}}
				var at int64
				var payload string
				err := scan(&v.Key, &v.Digest, &v.Actor, &at, &payload)
				v.At, v.Payload = time.UnixMilli(at), json.RawMessage(payload)
				v.Number, _ = strconv.ParseInt(v.Key[strings.LastIndex(v.Key, "@")+1:], 10, 64)
				list = append(list, v)
				return err
			})
		if err != nil {
			return err
		}
		for i := range list {
			if list[i].Writers, err = tied(tx, ws, list[i].Ref, true); err != nil {
				return err
			}
			if list[i].Readers, err = tied(tx, ws, list[i].Ref, false); err != nil {
				return err
			}
		}
		return nil
	})
	return list, err
}

// versionsOf is the pattern of the keys of a table's versions.
func versionsOf(tableID string) string {
	return strings.TrimPrefix(store.Containing(tableID+"@"), "%")
}

// tied returns the task runs that a table version came of, or those that read it.
func tied(tx *store.Tx, ws int64, of Ref, backwards bool) (runs []*Node, err error) {
	edges, err := neighbours(tx, ws, []Ref{of}, backwards)
	if err != nil {
		return nil, err
	}
	for _, e := range edges[of] {
		other := e.Dst
		if backwards {
			other = e.Src
		}
		if other.Kind != TaskRun {
			continue
		}
		n, err := node(tx, ws, other)
		if err != nil {
			return nil, err
		}
		runs = append(runs, n)
	}
	return runs, nil
}

// Readers lists the task runs that read any version of a table, those that did
// so last first.
func (s *Store) Readers(ctx context.Context, ws int64, tableID string, limit int) (runs []*Node, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		var refs []Ref
		err := tx.Each(`SELECT dst_key FROM trace_edge WHERE workspace_id = $1 AND src_kind = $2 AND src_key LIKE $3 ESCAPE '!' AND dst_kind = $4
			GROUP BY dst_key ORDER BY max(at) DESC, dst_key DESC LIMIT $5`, []any{ws, TableVersion, versionsOf(tableID), TaskRun, limit},
			func(scan func(...any) error) error {
				r := Ref{Kind: TaskRun}
				err := scan(&r.Key)
				refs = append(refs, r)
				return err
			})
		if err != nil {
			return err
		}
		runs = nil
		for _, r := range refs {
			n, err := node(tx, ws, r)
			if err != nil {
				return err
			}
			runs = append(runs, n)
		}
		return nil
	})
	return runs, err
}
