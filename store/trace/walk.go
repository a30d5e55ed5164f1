package trace

import (
	"context"
	"encoding/json"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// Walk returns what is reached from a node along its edges: backwards to what
// it came of, or forwards to what came of it. Nodes come in the order they are
// reached, the start first; limit bounds how many, and more says that there
// are others.
func (s *Store) Walk(ctx context.Context, ws int64, from Ref, backwards bool, limit int) (nodes []*Node, edges []Edge, more bool, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		seen := map[Ref]bool{from: true}
		for level := []Ref{from}; len(level) > 0 && !more; {
			if more = len(nodes)+len(level) > limit; more {
				level = level[:limit-len(nodes)]
			}
			known, err := nodesOf(tx, ws, level)
			if err != nil {
				return err
			}
			next, err := neighbours(tx, ws, level, backwards)
			if err != nil {
				return err
			}
			var after []Ref
			for _, r := range level {
				n := known[r]
				if n == nil {
					return wherry.Errorf(wherry.CodeDoesNotExist, "nothing is known of %s %s", r.Kind, r.Key)
				}
				nodes = append(nodes, n)
				for _, e := range next[r] {
					edges = append(edges, e)
					other := e.Dst
					if backwards {
						other = e.Src
					}
					if !seen[other] {
						seen[other] = true
						after = append(after, other)
					}
				}
			}
			level = after
		}
		return nil
	})
	return nodes, edges, more, err
}

// batch is how many keys one query asks for; a power of two of sizes keeps the
// number of prepared statements small.
const batch = 256

// byKind calls fn with the keys of refs, kind by kind and in batches, filled up
// with a key that nothing has.
func byKind(refs []Ref, fn func(kind string, keys []any, in string) error) error {
	kinds := map[string][]any{}
	for _, r := range refs {
		kinds[r.Kind] = append(kinds[r.Kind], r.Key)
	}
	for kind, keys := range kinds {
		for len(keys) > 0 {
			part := keys[:min(len(keys), batch)]
			keys = keys[len(part):]
			size := 1
			for size < len(part) {
				size *= 2
			}
			filled := append([]any{}, part...)
			for len(filled) < size {
				filled = append(filled, "")
			}
			if err := fn(kind, filled, store.In(3, size)); err != nil {
				return err
			}
		}
	}
	return nil
}

func nodesOf(tx *store.Tx, ws int64, refs []Ref) (map[Ref]*Node, error) {
	found := map[Ref]*Node{}
	err := byKind(refs, func(kind string, keys []any, in string) error {
		return tx.Each(`SELECT key, digest, actor, at, payload FROM trace_node WHERE workspace_id = $1 AND kind = $2 AND key IN (`+in+`)`,
			append([]any{ws, kind}, keys...), func(scan func(...any) error) error {
				n := &Node{Ref: Ref{Kind: kind}}
				var at int64
				var payload string
				err := scan(&n.Key, &n.Digest, &n.Actor, &at, &payload)
				n.At, n.Payload = time.UnixMilli(at), json.RawMessage(payload)
				found[n.Ref] = n
				return err
			})
	})
	return found, err
}

// neighbours are the edges that end at each of refs, or begin there, by time.
func neighbours(tx *store.Tx, ws int64, refs []Ref, backwards bool) (map[Ref][]Edge, error) {
	found := map[Ref][]Edge{}
	const columns = `SELECT src_kind, src_key, rel, dst_kind, dst_key, at, event_id FROM trace_edge WHERE workspace_id = $1 AND `
	err := byKind(refs, func(kind string, keys []any, in string) error {
		query := columns + `src_kind = $2 AND src_key IN (` + in + `) ORDER BY at, dst_key`
		if backwards {
			query = columns + `dst_kind = $2 AND dst_key IN (` + in + `) ORDER BY at, src_key`
		}
		return tx.Each(query, append([]any{ws, kind}, keys...), func(scan func(...any) error) error {
			var e Edge
			var at int64
			err := scan(&e.Src.Kind, &e.Src.Key, &e.Rel, &e.Dst.Kind, &e.Dst.Key, &at, &e.EventID)
			e.At = time.UnixMilli(at)
			of := e.Src
			if backwards {
				of = e.Dst
			}
			found[of] = append(found[of], e)
			return err
		})
	})
	return found, err
}
