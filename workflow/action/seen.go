package action

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// SeenMark begins what a step's process writes last before it fails, to learn
// that all before it was read: the engine closes the terminal of a step that has
// failed, whatever is still in it. A number follows, and the end of the line.
const SeenMark = "\x1fwherry-seen "

// patienceSeen is how long the answer is awaited.
const patienceSeen = 5 * time.Second

// Seen waits until the job has read all that the process wrote to out. tools is
// the job's tools file.
func Seen(out io.Writer, tools string) {
	number := make([]byte, 16)
	_, _ = rand.Read(number) // never fails
	name := hex.EncodeToString(number)
	if _, err := fmt.Fprintf(out, "%s%s\n", SeenMark, name); err != nil {
		return
	}
	answer := filepath.Join(seenDir(filepath.Dir(tools)), name)
	for end := time.Now().Add(patienceSeen); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if os.Remove(answer) == nil {
			return
		}
	}
}

func seenDir(job string) string { return filepath.Join(job, "seen") }

// Answer tells a process that waits in Seen that its mark was read. job is the
// job's folder; a name that is none of Seen's is left alone.
func Answer(job, name string) {
	if number, err := hex.DecodeString(name); err != nil || len(number) != 16 {
		return
	}
	_ = os.MkdirAll(seenDir(job), 0o700)
	_ = os.WriteFile(filepath.Join(seenDir(job), name), nil, 0o600) // without it the process waits for its patience
}
