// Package task is one task inside an agent: a process forked by the zygote,
// its streams on disk, and how it ended.
package task

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/agent/protocol"
)

// Spool keeps what a task wrote until a server has all of it. It is not
// synced: it survives the death of agent and server, not of the machine.
type Spool struct {
	dir   string
	runID int64
	files map[string]*os.File

	mu      sync.Mutex
	offsets protocol.Offsets
	running int64 // when user code began, milliseconds since 1970; 0 before
	note    string
	result  *wherry.Result
	changed chan struct{} // closed at the next change
}

// Progress is what a Spool holds at one moment.
type Progress struct {
	Offsets protocol.Offsets
	Running int64
	Note    string
	Result  *wherry.Result // nil while the task runs
}

// NewSpool makes the files of a run in dir; it fails if they exist.
func NewSpool(dir string, runID int64) (*Spool, error) {
	s := &Spool{dir: dir, runID: runID, files: map[string]*os.File{}, changed: make(chan struct{})}
	for _, stream := range []string{protocol.Out, protocol.Events} {
		f, err := os.OpenFile(protocol.SpoolFile(dir, runID, stream), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
		if err != nil {
			for _, made := range s.files {
				_ = os.Remove(made.Name())
			}
			s.close()
			return nil, fmt.Errorf("spool: %w", err)
		}
		s.files[stream] = f
	}
	return s, nil
}

// Append adds to a stream.
func (s *Spool) Append(stream string, b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := &s.offsets.Out
	if stream == protocol.Events {
		at = &s.offsets.Events
	}
	n, err := s.files[stream].WriteAt(b, *at)
	*at += int64(n)
	s.wake()
	return err
}

// ReadAt reads a stream at off.
func (s *Spool) ReadAt(stream string, b []byte, off int64) (int, error) {
	return s.files[stream].ReadAt(b, off)
}

// Progress returns what there is now and a channel that is closed when there
// is more.
func (s *Spool) Progress() (Progress, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Progress{Offsets: s.offsets, Running: s.running, Note: s.note, Result: s.result}, s.changed
}

// SetRunning says that user code began at ms; later calls change nothing.
func (s *Spool) SetRunning(ms int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == 0 {
		s.running = ms
		s.wake()
	}
}

// SetNote says what is being done for the task.
func (s *Spool) SetNote(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note = text
	s.wake()
}

// End keeps the result on disk, for a server that comes when the agent is
// gone, and tells of it. Nothing is appended afterwards.
func (s *Spool) End(r wherry.Result) error {
	err := s.writeResult(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.result = &r
	s.wake()
	return err
}

func (s *Spool) writeResult(r wherry.Result) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	name := protocol.SpoolFile(s.dir, s.runID, protocol.Outcome)
	if err := os.WriteFile(name+".tmp", b, 0o600); err != nil {
		return err
	}
	return os.Rename(name+".tmp", name)
}

// wake is called with mu held.
func (s *Spool) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Remove deletes the files.
func (s *Spool) Remove() error {
	s.close()
	return protocol.RemoveSpool(s.dir, s.runID)
}

func (s *Spool) close() {
	for _, f := range s.files {
		_ = f.Close()
	}
}
