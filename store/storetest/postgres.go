package storetest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/wherry-ml/wherry/store"
)

// Postgres makes a database, migrated and without rows, in the PostgreSQL
// server of this test binary, which the first call starts, and returns its
// postgres:// address. The database is dropped when the test ends.
func Postgres(t testing.TB) string {
	t.Helper()
	c, err := start()
	if errors.Is(err, errNotInstalled) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatalf("start PostgreSQL: %v", err)
	}
	name := fmt.Sprintf("test_%d", c.made.Add(1))
	if err := c.admin("CREATE DATABASE " + name + " TEMPLATE " + migrated); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.admin("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Error(err)
		}
	})
	return c.dsn(name)
}

var errNotInstalled = errors.New("PostgreSQL is not installed (apt-get install postgresql): no initdb below /usr/lib/postgresql")

// start starts the server once per test binary.
var start = sync.OnceValues(startCluster)

// migrated is the database that the others are copies of: migrating each anew
// would be most of a test's time.
const migrated = "migrated"

type cluster struct {
	dir  string
	made atomic.Int64
	// alive is never written: its end, when this process ends in whatever way,
	// tells the reaper to stop the server and to remove dir.
	alive *os.File
}

func (c *cluster) dsn(database string) string {
	q := url.Values{"host": {c.dir}, "user": {"wherry"}}
	return "postgres:///" + database + "?" + q.Encode()
}

func (c *cluster) admin(sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, c.dsn("postgres"))
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, sql)
	return errors.Join(err, conn.Close(ctx))
}

func startCluster() (*cluster, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return nil, errNotInstalled
	}
	bin := filepath.Dir(found[len(found)-1])
	// Below /tmp: the path of a socket holds 108 bytes at most.
	dir, err := os.MkdirTemp("/tmp", "wherry-pg-")
	if err != nil {
		return nil, err
	}
	c := &cluster{dir: dir}
	cred, err := unprivileged(dir)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	if err := c.reap(bin, data, cred); err != nil {
		return nil, err
	}
	options := "-c fsync=off -c synchronous_commit=off -c full_page_writes=off -c shared_buffers=16MB " +
		"-c max_connections=100 -c listen_addresses= -c unix_socket_directories=" + dir
	for _, argv := range [][]string{
		{"initdb", "-D", data, "-U", "wherry", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"},
		{"pg_ctl", "-D", data, "-l", filepath.Join(dir, "log"), "-w", "-t", "120", "-o", options, "start"},
	} {
		cmd := exec.Command(filepath.Join(bin, argv[0]), argv[1:]...)
		cmd.Dir, cmd.SysProcAttr = dir, &syscall.SysProcAttr{Credential: cred}
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Run(); err != nil {
			return nil, fmt.Errorf("%s: %w\n%s", argv[0], err, out.String())
		}
	}
	return c, c.migrate()
}

func (c *cluster) migrate() error {
	if err := c.admin("CREATE DATABASE " + migrated); err != nil {
		return err
	}
	db, err := store.Open(context.Background(), c.dsn(migrated))
	if err != nil {
		return err
	}
	return db.Close()
}

// reap starts the shell that outlives this process for as long as it takes to
// stop the server and to remove its files.
func (c *cluster) reap(bin, data string, cred *syscall.Credential) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	c.alive = w
	cmd := exec.Command("/bin/sh", "-c", `cat >/dev/null; "$0/pg_ctl" -D "$1" -m immediate -w stop; cd /; rm -rf "$2"`, bin, data, c.dir)
	cmd.Dir, cmd.Stdin = c.dir, r
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred, Setsid: true}
	return cmd.Start()
}

// unprivileged gives dir to a user under whom PostgreSQL agrees to run, if this
// process is root; nil is this process's own user.
func unprivileged(dir string) (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, os.Chown(dir, int(uid), int(gid))
}
