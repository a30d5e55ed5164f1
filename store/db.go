// Package store opens the database that holds all state, and gives
// transactions to the packages below it (store/jobs, store/mlflow, …), one per
// area, which share Tx so that one transaction can span them. Nobody else
// imports database/sql.
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	_ "github.com/jackc/pgx/v5/stdlib" // the "pgx" driver
	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the "sqlite" driver
)

// Dialects.
const (
	SQLite   = "sqlite"
	Postgres = "postgres"
)

//go:embed migration
var migrations embed.FS

// DB is the open database. With SQLite all writes go through one goroutine
// that commits waiting transactions together (group commit): measured 11k
// durable inserts a second against 1k with a transaction each.
type DB struct {
	Dialect string
	read    *sql.DB
	write   *sql.DB
	queue   chan *job
	stop    chan struct{}
	stopped chan struct{}
	changed changes
	readers chan struct{} // as many transactions as may read at once
	// Prepared once and kept: parsing was a quarter of SQLite's time. nil with
	// PostgreSQL, whose driver keeps its own.
	readStatements, writeStatements *statements
}

type job struct {
	ctx  context.Context
	fn   func(*Tx) error
	tx   *Tx
	err  error
	done chan struct{}
}

// Open opens url, "sqlite:///absolute/file" or "postgres://…", and migrates it
// to this version's schema. It fails if the schema is of a newer version.
func Open(ctx context.Context, dsn string) (*DB, error) {
	u, err := url.Parse(dsn)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	db := &DB{queue: make(chan *job, 256), readers: make(chan struct{}, 8), stop: make(chan struct{}), stopped: make(chan struct{})}
	switch u.Scheme {
	case "sqlite":
		if u.RawQuery != "" || u.Fragment != "" {
			return nil, errors.New("open store: in sqlite:///FILE a # is written %23 and a ? %3F")
		}
		err = db.openSQLite(u.Path)
	case "postgres", "postgresql":
		err = db.openPostgres(dsn)
	default:
		return nil, fmt.Errorf("open store: %q is neither sqlite:///FILE nor postgres://…", u.Scheme)
	}
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err = db.refuseForeign(ctx, u.Path); err == nil {
		err = db.migrate(ctx)
	}
	if err != nil {
		err = fmt.Errorf("open store %s://%s%s: %w", u.Scheme, u.Host, u.Path, advise(err)) // without the password
		return nil, errors.Join(err, db.read.Close(), db.write.Close())
	}
	go db.writer()
	return db, nil
}

// advise says what to do about a database that does not open.
func advise(err error) error {
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return fmt.Errorf("%w: start PostgreSQL there, or name another database", err)
	}
	var lite interface{ Code() int }
	// 11 SQLITE_CORRUPT, 26 SQLITE_NOTADB
	if errors.As(err, &lite) && (lite.Code() == 11 || lite.Code() == 26) {
		return fmt.Errorf("%w: the file is damaged; put a copy in its place, or name another directory with --state", err)
	}
	return err
}

func (db *DB) openSQLite(path string) (err error) {
	db.Dialect = SQLite
	pragmas := "_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)&_pragma=foreign_keys(1)" +
		"&_pragma=case_sensitive_like(1)&_pragma=temp_store(2)&_pragma=cache_size(-8000)"
	file := sqliteFile(path)
	db.write, err = sql.Open("sqlite", file+"?"+pragmas+"&_pragma=synchronous(FULL)&_txlock=immediate")
	if err != nil {
		return err
	}
	// The writer uses one; a second prepares a statement that is new.
	db.write.SetMaxOpenConns(2)
	db.writeStatements = &statements{db: db.write}
	db.read, err = sql.Open("sqlite", file+"?"+pragmas+"&_pragma=query_only(1)")
	if err != nil {
		return err
	}
	// A reader holds one connection and may need another to prepare a statement
	// that is new: twice as many as readers, or they would wait for each other.
	db.read.SetMaxOpenConns(2 * cap(db.readers))
	db.read.SetMaxIdleConns(4)
	db.readStatements = &statements{db: db.read}
	db.read.SetConnMaxIdleTime(time.Minute)
	return nil
}

func (db *DB) openPostgres(dsn string) (err error) {
	db.Dialect = Postgres
	db.write, err = sql.Open("pgx", dsn)
	if err != nil {
		return err
	}
	db.write.SetMaxOpenConns(8)
	db.read = db.write
	return nil
}

func (db *DB) migrate(ctx context.Context) error {
	dir, err := fs.Sub(migrations, "migration/"+db.Dialect)
	if err != nil {
		return err
	}
	dialect := goose.DialectSQLite3
	if db.Dialect == Postgres {
		dialect = goose.DialectPostgres
	}
	p, err := goose.NewProvider(dialect, db.write, dir, goose.WithAllowOutofOrder(true))
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	have, err := p.GetDBVersion(ctx)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	sources := p.ListSources()
	if newest := sources[len(sources)-1].Version; have > newest {
		return fmt.Errorf("the database has schema version %d and this wherry knows versions up to %d: use the newer wherry that made it, or another --state directory", have, newest)
	}
	if have > 0 && have < sources[len(sources)-1].Version {
		if err := db.notInUse(ctx); err != nil {
			return err
		}
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}

// notInUse refuses to change the schema under another server. With SQLite the
// lock of the state directory has kept it away.
func (db *DB) notInUse(ctx context.Context) error {
	if db.Dialect == SQLite {
		return nil
	}
	var holder string
	err := db.write.QueryRowContext(ctx, `SELECT holder FROM lease WHERE name = 'server'
		AND expires_at > CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)`).Scan(&holder)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return fmt.Errorf("a server of an older version (%s) uses this database: stop it before a newer one; if it is gone, try again in half a minute", holder)
}

// Close waits for the running transactions and closes the database.
func (db *DB) Close() error {
	close(db.stop)
	<-db.stopped
	db.readStatements.close()
	db.writeStatements.close()
	err := db.read.Close()
	return errors.Join(err, db.write.Close())
}

// Write runs fn in a transaction and commits it durably; an error of fn rolls
// it back and is returned. fn may be run again after a lost race, so it must
// have no effect outside of the transaction, and it must not call Write.
func (db *DB) Write(ctx context.Context, fn func(*Tx) error) error {
	if db.Dialect == Postgres {
		return db.writePostgres(ctx, fn)
	}
	j := &job{ctx: ctx, fn: fn, done: make(chan struct{})}
	select {
	case db.queue <- j:
	case <-ctx.Done():
		return ctx.Err()
	case <-db.stop:
		return errors.New("store is closed")
	}
	select {
	case <-j.done:
		return j.err
	case <-db.stopped:
		return errors.New("store is closed")
	}
}

func (db *DB) writePostgres(ctx context.Context, fn func(*Tx) error) error {
	for try := 0; ; try++ {
		t, err := db.write.BeginTx(ctx, nil)
		if err != nil {
			return fmt.Errorf("begin: %w", err)
		}
		tx := &Tx{tx: t, Dialect: db.Dialect, ctx: ctx}
		if err = tx.do(fn); err == nil {
			err = t.Commit()
		}
		if err == nil {
			db.changed.tell(tx.topics)
			return nil
		}
		_ = t.Rollback()
		// 40001 serialization_failure, 40P01 deadlock_detected
		var state interface{ SQLState() string }
		if try < 10 && errors.As(err, &state) && (state.SQLState() == "40001" || state.SQLState() == "40P01") {
			continue
		}
		return err
	}
}

// writer owns SQLite's write connection: it takes all transactions that wait,
// runs each in a savepoint, and commits them with one sync.
func (db *DB) writer() {
	defer close(db.stopped)
	for {
		select {
		case <-db.stop:
			return
		case j := <-db.queue:
			batch := []*job{j}
			for len(batch) < 128 && len(db.queue) > 0 {
				batch = append(batch, <-db.queue)
			}
			db.commit(batch)
		}
	}
}

func (db *DB) commit(batch []*job) {
	t, err := db.write.BeginTx(context.Background(), nil)
	for _, j := range batch {
		if err != nil {
			j.err = fmt.Errorf("begin: %w", err)
			continue
		}
		j.run(t, db.writeStatements)
	}
	if err == nil {
		err = t.Commit()
	}
	for _, j := range batch {
		if j.err == nil && err != nil {
			j.err = fmt.Errorf("commit: %w", err)
		}
		if j.err == nil {
			db.changed.tell(j.tx.topics)
		}
		close(j.done)
	}
}

func (j *job) run(t *sql.Tx, kept *statements) {
	if j.err = j.ctx.Err(); j.err != nil {
		return
	}
	j.tx = &Tx{tx: t, Dialect: SQLite, ctx: context.Background(), kept: kept}
	if _, j.err = t.Exec("SAVEPOINT w"); j.err != nil {
		return
	}
	j.err = j.tx.do(j.fn)
	end := "RELEASE w"
	if j.err != nil {
		end = "ROLLBACK TO w; RELEASE w"
	}
	if _, err := t.Exec(end); err != nil {
		j.err = errors.Join(j.err, err)
	}
}

// do runs a caller's function: a panic in it must not leave the transaction open,
// nor take the writer down.
func (tx *Tx) do(fn func(*Tx) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in transaction: %v", p)
		}
	}()
	return fn(tx)
}

// Read runs fn in a read-only transaction that sees one state of the database.
func (db *DB) Read(ctx context.Context, fn func(*Tx) error) error {
	select {
	case db.readers <- struct{}{}:
		defer func() { <-db.readers }()
	case <-ctx.Done():
		return ctx.Err()
	}
	t, err := db.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	defer func() { _ = t.Rollback() }()
	return fn(&Tx{tx: t, Dialect: db.Dialect, ctx: ctx, kept: db.readStatements})
}

// In returns "$from, $from+1, …", n placeholders for an IN list.
func In(from, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "$%d", from+i)
	}
	return b.String()
}
