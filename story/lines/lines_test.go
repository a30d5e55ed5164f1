//go:build linux

package lines_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry/environment"
	"github.com/wherry-ml/wherry/story/site"
)

// source prints numbered lines in parts of a size, and waits after each for a
// file: a test that kills something in the middle must find it there.
const source = `
import os, sys, time
lines, part = map(int, sys.argv[1:])
for i in range(lines):
    print("line", i)
    if i % 5 == 0: time.sleep(0.001)
    while i % part == part - 1 and not os.path.exists(f"/Workspace/go{i // part}"): time.sleep(0.001)
`

// client is testdata/client.py while it runs.
type client struct {
	cmd    *exec.Cmd
	out    *bufio.Scanner
	stderr bytes.Buffer
}

func startClient(s *site.Site, args ...string) *client {
	s.T.Helper()
	token, err := os.ReadFile(s.Dir.Path("admin-token"))
	if err != nil {
		s.T.Fatal(err)
	}
	env, err := environment.Open()
	if err != nil {
		s.T.Fatal(err)
	}
	c := &client{cmd: exec.CommandContext(s.Ctx, env.Python, append([]string{"testdata/client.py"}, args...)...)}
	c.cmd.Env = append(os.Environ(), "DATABRICKS_HOST="+s.Info.URL, "DATABRICKS_TOKEN="+strings.TrimSpace(string(token)),
		"DATABRICKS_CONFIG_FILE=/dev/null", "DATABRICKS_AUTH_TYPE=pat")
	c.cmd.Stderr = &c.stderr
	out, err := c.cmd.StdoutPipe()
	if err == nil {
		err = c.cmd.Start()
	}
	if err != nil {
		s.T.Fatal(err)
	}
	s.T.Cleanup(func() { _ = c.cmd.Process.Kill() })
	c.out = bufio.NewScanner(out)
	c.out.Buffer(nil, 1<<20)
	return c
}

// next reads the client's next line.
func (c *client) next(t *testing.T, v any) {
	t.Helper()
	if !c.out.Scan() {
		_ = c.cmd.Wait()
		t.Fatalf("the client has ended: %v\n%s", c.out.Err(), &c.stderr)
	}
	if err := json.Unmarshal(c.out.Bytes(), v); err != nil {
		t.Fatalf("%v: %s", err, c.out.Text())
	}
}

// TestLines: the server is killed again and again while a job's task prints;
// the run goes on and ends well, each line is there once and in its order, and
// the SDK that waits for it notices nothing.
func TestLines(t *testing.T) {
	const lines, part, kills = 4000, 600, 4
	s := site.New(t, 0)
	server := s.Up()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(s.Dir.Workspace(1), name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(s.Dir.Workspace(1), 0o700); err != nil {
		t.Fatal(err)
	}
	write("lines.py", source)
	c := startClient(s, strconv.Itoa(lines), strconv.Itoa(part))
	var started struct {
		ID int64 `json:"run_id"`
	}
	c.next(t, &started)
	size := int64(0)
	for k := range lines/part + 1 {
		if k < kills {
			s.Until("more is printed", func() bool {
				files, err := filepath.Glob(s.Dir.Path("runs", "*", "out"))
				if err != nil || len(files) == 0 {
					return false
				}
				info, err := os.Stat(files[0])
				if err != nil || info.Size() <= size {
					return false
				}
				size = info.Size()
				return true
			})
			s.Kill(server)
		}
		write(fmt.Sprintf("go%d", k), "")
		if k < kills {
			server = s.Up()
		}
	}
	var end struct {
		State     string  `json:"state"`
		Attempts  []int64 `json:"attempts"`
		Logs      string  `json:"logs"`
		Truncated bool    `json:"truncated"`
		Error     string  `json:"error"`
	}
	c.next(t, &end)
	if err := c.cmd.Wait(); err != nil {
		t.Errorf("the client: %v\n%s", err, &c.stderr)
	}
	if end.State != "SUCCESS" || len(end.Attempts) != 1 || end.Truncated || end.Error != "" {
		t.Errorf("state %s, attempts %v, truncated %v, error %q", end.State, end.Attempts, end.Truncated, end.Error)
	}
	var want strings.Builder
	for i := range lines {
		fmt.Fprintf(&want, "line %d\n", i)
	}
	if end.Logs != want.String() {
		t.Errorf("the SDK got %d bytes of output, want %d", len(end.Logs), want.Len())
	}
}
