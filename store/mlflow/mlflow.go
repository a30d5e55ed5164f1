// Package mlflow stores what MLflow tracks: experiments, runs with their
// metrics, params and tags, logged models, and the two model registries.
package mlflow

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// Store reads and writes the mlflow_ tables. Each exported method is one
// transaction.
type Store struct {
	db   *store.DB
	keys keys
	// CheckSchema fails if a catalog's schema does not exist; nil leaves it
	// unchecked.
	CheckSchema func(tx *store.Tx, catalog, schema string) error
	// MoveModel is told of a Unity Catalog model that has another name, or none
	// any more; nil tells nobody.
	MoveModel func(tx *store.Tx, from, to string) error
}

// New returns a store over db.
func New(db *store.DB) *Store { return &Store{db: db} }

// Who is the caller of a change, for events and user_id.
type Who struct {
	WorkspaceID int64
	User        string
	TaskRunID   int64 // 0 outside of a task run
}

// WhoFrom takes the caller from the request's identity.
func WhoFrom(ctx context.Context) Who {
	id := wherry.IdentityFrom(ctx)
	return Who{WorkspaceID: id.WorkspaceID, User: id.UserName, TaskRunID: id.RunID}
}

// Float is a number as protobuf's JSON writes it: NaN and the infinities are
// the strings "NaN", "Infinity" and "-Infinity".
type Float float64

// MarshalJSON writes the number.
func (f Float) MarshalJSON() ([]byte, error) {
	switch v := float64(f); {
	case math.IsNaN(v):
		return []byte(`"NaN"`), nil
	case math.IsInf(v, 1):
		return []byte(`"Infinity"`), nil
	case math.IsInf(v, -1):
		return []byte(`"-Infinity"`), nil
	case v == math.Trunc(v) && math.Abs(v) < 1e15:
		return strconv.AppendFloat(nil, v, 'f', 1, 64), nil // 1.0, as Python writes a float
	default:
		return json.Marshal(v)
	}
}

// UnmarshalJSON reads a number, a quoted number, or one of the three strings.
func (f *Float) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		s = string(b)
	}
	v, err := strconv.ParseFloat(s, 64)
	if ne, ok := err.(*strconv.NumError); ok && ne.Err == strconv.ErrRange {
		err = nil
	}
	if err != nil || s == "" {
		return invalid("Invalid value %s for parameter 'value' supplied: it is not a 64-bit floating point number", string(b))
	}
	*f = Float(v)
	return nil
}

// KV is a param, a tag or a registry's tag.
type KV struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

func invalid(format string, args ...any) *wherry.Error {
	return wherry.Errorf(wherry.CodeInvalidParameter, format, args...)
}

func missing(format string, args ...any) *wherry.Error {
	return wherry.Errorf(wherry.CodeDoesNotExist, format, args...)
}

// newID returns 32 hexadecimal digits, as MLflow's ids have.
func newID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return hex.EncodeToString(b)
}

func now() int64 { return time.Now().UnixMilli() }

func (s *Store) emit(tx *store.Tx, who Who, kind, subject string, payload any) error {
	b, err := json.Marshal(payload)
	if err != nil {
		return err
	}
	return tx.Emit(wherry.Event{WorkspaceID: who.WorkspaceID, Kind: kind, Subject: subject, Actor: who.User, RunID: who.TaskRunID, Payload: b})
}

// keys remembers the numbers of committed key names; a number never changes.
type keys struct {
	mu   sync.RWMutex
	ids  map[string]int64
	name map[int64]string
}

// maxKeys bounds the memory of the cache; beyond it names are looked up.
const maxKeys = 200_000

func (k *keys) id(name string) (int64, bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	id, ok := k.ids[name]
	return id, ok
}

func (k *keys) of(id int64) (string, bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	name, ok := k.name[id]
	return name, ok
}

// add remembers numbers that are committed.
func (k *keys) add(known map[string]int64) {
	if len(known) == 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ids == nil || len(k.ids) > maxKeys {
		k.ids, k.name = map[string]int64{}, map[int64]string{}
	}
	for name, id := range known {
		k.ids[name], k.name[id] = id, name
	}
}

// keyID returns the number of a name, making one if it is new; found collects
// what the cache did not know, to be added after the commit.
func (s *Store) keyID(tx *store.Tx, name string, found map[string]int64) (int64, error) {
	if id, ok := s.keys.id(name); ok {
		return id, nil
	}
	if id, ok := found[name]; ok {
		return id, nil
	}
	if _, err := tx.Exec(`INSERT INTO mlflow_key (name) VALUES ($1) ON CONFLICT (name) DO NOTHING`, name); err != nil {
		return 0, err
	}
	var id int64
	if err := tx.Row(`SELECT id FROM mlflow_key WHERE name = $1`, name).Scan(&id); err != nil {
		return 0, err
	}
	found[name] = id
	return id, nil
}

// knownKey returns the number of a name, 0 if no row has it.
func (s *Store) knownKey(tx *store.Tx, name string) (int64, error) {
	if id, ok := s.keys.id(name); ok {
		return id, nil
	}
	var id int64
	err := tx.Row(`SELECT id FROM mlflow_key WHERE name = $1`, name).Scan(&id)
	if err == store.ErrNoRows {
		return 0, nil
	}
	return id, err
}

// keyName returns the name of a number.
func (s *Store) keyName(tx *store.Tx, id int64) (string, error) {
	if name, ok := s.keys.of(id); ok {
		return name, nil
	}
	var name string
	if err := tx.Row(`SELECT name FROM mlflow_key WHERE id = $1`, id).Scan(&name); err != nil {
		return "", err
	}
	s.keys.add(map[string]int64{name: id})
	return name, nil
}
