package spark

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Info is what a driver says of itself when it is ready.
type Info struct {
	PID int   `json:"pid"` // in its own pid namespace
	MS  int64 `json:"ms"`  // from the start of the process
}

// Ready reads the driver's standard output until it says that it is ready.
// What else it printed goes to log; the caller copies the rest from the
// returned reader.
func Ready(stdout io.Reader, log io.Writer) (Info, io.Reader, error) {
	r := bufio.NewReader(stdout)
	for {
		line, err := r.ReadString('\n')
		var ready struct {
			Ready bool `json:"ready"`
			Info
		}
		if strings.HasPrefix(line, "{") && json.Unmarshal([]byte(line), &ready) == nil && ready.Ready {
			return ready.Info, r, nil
		}
		_, _ = io.WriteString(log, line)
		if err != nil {
			return Info{}, r, fmt.Errorf("the Spark driver ended before it was ready: %w", err)
		}
	}
}

// Client talks to the driver that was started with this Dir. It may be used by
// several goroutines; each request has a connection of its own.
type Client struct {
	dir string // of the host
}

// NewClient is for a driver whose Config.Dir is dir.
func NewClient(dir string) *Client { return &Client{dir} }

// Task is who attaches.
type Task struct {
	RunID   int64
	APIURL  string // of the wherry server as the driver reaches it
	Token   string // the task's, with which its session calls the server
	Catalog string // the session's default catalog; spark_catalog if empty
	Schema  string // its default schema; "default" if empty
	Conf    map[string]string
}

// Attachment is what the task's Python needs to use its session.
type Attachment struct {
	ID       string `json:"id"`
	Port     int    `json:"port"`     // of the session's Py4J server, on loopback
	Secret   string `json:"secret"`   // which that server asks for
	Lifeline int    `json:"lifeline"` // port that the task's process stays connected to
}

// Attach makes a session for a task.
func (c *Client) Attach(ctx context.Context, t Task) (*Attachment, error) {
	conf := map[string]string{}
	if t.Catalog != "" {
		conf["spark.sql.defaultCatalog"] = t.Catalog
	}
	if t.RunID != 0 {
		// By this DESCRIBE HISTORY names a commit's writer. A task may set it
		// otherwise: the driver's log stores sign what they write besides.
		conf["spark.databricks.delta.commitInfo.userMetadata"] = fmt.Sprintf(`{"wherry":{"run_id":%d}}`, t.RunID)
	}
	maps.Copy(conf, t.Conf)
	out := new(Attachment)
	err := c.call(ctx, map[string]any{
		"op": "attach", "run_id": t.RunID, "token": t.Token, "api_url": t.APIURL, "schema": t.Schema, "conf": conf,
	}, out)
	if err != nil {
		return nil, fmt.Errorf("attach to Spark: %w", err)
	}
	return out, nil
}

// Detach ends a task's session: its queries are cancelled and its lineage is
// reported before this returns. A session that is gone is no error.
func (c *Client) Detach(ctx context.Context, id string) error {
	if err := c.call(ctx, map[string]any{"op": "detach", "id": id}, nil); err != nil {
		return fmt.Errorf("detach from Spark: %w", err)
	}
	return nil
}

// Health is what a driver is doing.
type Health struct {
	Sessions int `json:"sessions"` // attached
	Jobs     int `json:"jobs"`     // Spark jobs that run now, of all sessions
}

// Health asks the driver whether it lives.
func (c *Client) Health(ctx context.Context) (Health, error) {
	var out Health
	if err := c.call(ctx, map[string]any{"op": "health"}, &out); err != nil {
		return Health{}, fmt.Errorf("ask the Spark driver: %w", err)
	}
	return out, nil
}

func (c *Client) call(ctx context.Context, request map[string]any, out any) error {
	secret, err := os.ReadFile(filepath.Join(c.dir, "secret"))
	if err != nil {
		return err
	}
	request["secret"] = string(secret)
	b, err := json.Marshal(request)
	if err != nil {
		return err
	}
	conn, err := dial(ctx, c.dir)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := conn.Write(append(b, '\n')); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadBytes('\n')
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("the Spark driver went away: %w", err)
	}
	var refusal struct {
		Error string `json:"error"`
	}
	if err := json.Unmarshal(line, &refusal); err != nil {
		return err
	}
	if refusal.Error != "" {
		return errors.New(refusal.Error)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(line, out)
}

// dial connects to the socket through its folder's descriptor: the address of
// a unix socket has 108 bytes at most, state directories' paths may have more.
func dial(ctx context.Context, dir string) (net.Conn, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	var dialer net.Dialer
	return dialer.DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d/control", d.Fd()))
}
