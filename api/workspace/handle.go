package workspace

import (
	"crypto/rand"
	"encoding/binary"
	"sync"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/blob"
)

// handle is a DBFS file being written by create, add-block and close. It does
// not survive the server: its client sees an unknown handle and begins again,
// and nothing half-written is ever seen.
type handle struct {
	mu        sync.Mutex
	staged    *blob.Staged
	at        *place
	path      string
	overwrite bool
	owner     int64
	used      time.Time
}

// handleLife is how long a handle lives without use.
const handleLife = time.Hour

// maxHandles bounds how many files may be open at once.
const maxHandles = 200

type handles struct {
	mu   sync.Mutex
	open map[int64]*handle
}

func (hs *handles) add(h *handle) int64 {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if hs.open == nil {
		hs.open = map[int64]*handle{}
	}
	h.used = time.Now()
	hs.expire()
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	// 53 bits, so that clients that read numbers as floats keep it.
	id := int64(binary.LittleEndian.Uint64(b[:])&(1<<53-1)) | 1
	hs.open[id] = h
	return id
}

// expire drops handles that nobody used for long, and the oldest of too many.
func (hs *handles) expire() {
	for id, h := range hs.open {
		h.mu.Lock()
		old := time.Since(h.used) > handleLife
		h.mu.Unlock()
		if old || len(hs.open) >= maxHandles {
			delete(hs.open, id)
			h.discard()
		}
	}
}

func (hs *handles) get(id, owner int64) (*handle, error) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	h := hs.open[id]
	if h == nil || h.owner != owner {
		return nil, wherry.Errorf(wherry.CodeDoesNotExist, "No open stream for handle %d: create the file again", id)
	}
	return h, nil
}

func (hs *handles) take(id, owner int64) (*handle, error) {
	h, err := hs.get(id, owner)
	if err != nil {
		return nil, err
	}
	hs.mu.Lock()
	defer hs.mu.Unlock()
	delete(hs.open, id)
	return h, nil
}

func (h *handle) write(b []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.used = time.Now()
	_, err := h.staged.Write(b)
	return blob.Error(err, h.path)
}

func (h *handle) commit() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	defer h.at.Close()
	return blob.Error(h.staged.Commit(h.at.name, h.overwrite), h.path)
}

func (h *handle) discard() {
	h.mu.Lock()
	defer h.mu.Unlock()
	_ = h.staged.Discard()
	_ = h.at.Close()
}
