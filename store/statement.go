package store

import (
	"database/sql"
	"sync"
)

// maxStatements bounds what is kept: queries that are put together from parts
// have many forms.
const maxStatements = 1000

// statements keeps prepared statements of one pool, by their SQL.
type statements struct {
	db *sql.DB
	mu sync.RWMutex
	by map[string]*sql.Stmt
}

// in returns the statement for use in a transaction, nil if it is not kept: the
// caller then runs the SQL as it is, and sees its error if it has one.
func (s *statements) in(tx *Tx, query string) *sql.Stmt {
	if s == nil {
		return nil
	}
	s.mu.RLock()
	st := s.by[query]
	full := len(s.by) >= maxStatements
	s.mu.RUnlock()
	if st == nil {
		if full {
			return nil
		}
		var err error
		if st, err = s.db.PrepareContext(tx.ctx, query); err != nil {
			return nil
		}
		st = s.keep(query, st)
	}
	return tx.tx.StmtContext(tx.ctx, st)
}

func (s *statements) keep(query string, st *sql.Stmt) *sql.Stmt {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by == nil {
		s.by = map[string]*sql.Stmt{}
	}
	if there := s.by[query]; there != nil {
		_ = st.Close()
		return there
	}
	s.by[query] = st
	return st
}

func (s *statements) close() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.by {
		_ = st.Close()
	}
	s.by = nil
}
