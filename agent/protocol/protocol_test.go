//go:build linux

package protocol_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry/agent/protocol"
)

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// pair connects over the socket of a folder whose path is longer than a unix
// socket's may be.
func pair(t *testing.T) (server, agent *protocol.Conn) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), strings.Repeat("long/", 40))
	ok(t, os.MkdirAll(dir, 0o700))
	l, err := protocol.Listen(dir)
	ok(t, err)
	t.Cleanup(func() { l.Close() })
	server, err = protocol.Dial(dir)
	ok(t, err)
	c, err := l.AcceptUnix()
	ok(t, err)
	agent = protocol.NewConn(c)
	t.Cleanup(func() { server.Close(); agent.Close() })
	return server, agent
}

func TestMessages(t *testing.T) {
	server, agent := pair(t)
	uid, err := agent.PeerUID()
	ok(t, err)
	if int(uid) != os.Getuid() {
		t.Errorf("peer %d, we are %d", uid, os.Getuid())
	}
	large := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // several reads
	name := filepath.Join(t.TempDir(), "file")
	ok(t, os.WriteFile(name, []byte("content"), 0o600))
	sent := make(chan error, 1)
	go func() {
		f, err := os.Open(name)
		if err != nil {
			sent <- err
			return
		}
		defer f.Close()
		for i := range 20 {
			err = errors.Join(err, server.Send(protocol.Message{Type: protocol.Data, Offset: int64(i), Data: large}))
			err = errors.Join(err, server.Send(protocol.Message{Type: protocol.Listeners, Names: []string{"a"}}, f))
		}
		sent <- errors.Join(err, server.Close())
	}()
	for i := range 20 {
		m, files, err := agent.Receive()
		ok(t, err)
		if m.Type != protocol.Data || m.Offset != int64(i) || !bytes.Equal(m.Data, large) || len(files) != 0 {
			t.Fatalf("message %d: %s at %d, %d bytes, %d files", i, m.Type, m.Offset, len(m.Data), len(files))
		}
		m, files, err = agent.Receive()
		ok(t, err)
		if m.Type != protocol.Listeners || len(files) != 1 {
			t.Fatalf("message %d: %s with %d files", i, m.Type, len(files))
		}
		info, err := files[0].Stat()
		ok(t, errors.Join(err, files[0].Close()))
		if info.Size() != 7 {
			t.Errorf("another file came: %d bytes", info.Size())
		}
	}
	if _, _, err := agent.Receive(); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
	ok(t, <-sent)
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	first, err := protocol.Lock(dir)
	ok(t, err)
	if second, err := protocol.Lock(dir); err != nil || second != nil {
		t.Errorf("two have the lock: %v", err)
	}
	ok(t, first.Close())
	second, err := protocol.Lock(dir)
	ok(t, err)
	ok(t, second.Close())
}
