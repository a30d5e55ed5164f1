package storage

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// lake is the tree of files: account/container/path. Names reach the disk only
// through os.Root, so no path and no symbolic link leads out of it.
type lake struct {
	root *os.Root
	// mu orders writers of metadata and of staged bytes; readers need none.
	mu sync.Mutex
}

// meta is what a file cannot say of itself. It is kept in an extended
// attribute, so that it moves with a rename, atomically.
type meta struct {
	Changes     int64             `json:"n,omitempty"` // raised by property, ACL and data writes: part of the ETag
	Metadata    map[string]string `json:"m,omitempty"` // x-ms-meta-* of Blob, x-ms-properties of DFS
	Owner       string            `json:"o,omitempty"`
	Group       string            `json:"g,omitempty"`
	Permissions string            `json:"r,omitempty"` // symbolic, rwxr-x---
	ACL         string            `json:"a,omitempty"`
	Headers     map[string]string `json:"h,omitempty"` // Content-Type, Content-Encoding, …
	Lease       *lease            `json:"l,omitempty"`
}

const xattr = "user.wherry"

// entry is a file or directory with its metadata.
type entry struct {
	fs.FileInfo
	meta
}

// ETag is f(inode, size, mtime, change counter): it survives a rename (ABFS
// compares it to recover a retried one) and sees what was written to the disk
// without us.
func (e *entry) ETag() string {
	st, _ := e.Sys().(*syscall.Stat_t)
	var inode uint64
	if st != nil {
		inode = st.Ino
	}
	return fmt.Sprintf(`"0x%X%X%X%X"`, inode, e.Size(), e.ModTime().UnixNano(), e.Changes)
}

func (l *lake) name(q *request, p string) string { return path.Join(q.account, q.container, p) }

// stat returns the entry at p, or fs.ErrNotExist.
func (l *lake) stat(name string) (*entry, error) {
	f, err := l.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return statFile(f)
}

func statFile(f *os.File) (*entry, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	e := &entry{FileInfo: info}
	buf := make([]byte, 4096)
	n, err := unix.Fgetxattr(int(f.Fd()), xattr, buf)
	if err == nil {
		err = json.Unmarshal(buf[:n], &e.meta)
	} else if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) {
		err = nil
	}
	return e, err
}

// allow is a request's conditions on what is there, nil for nothing. It is asked
// with mu held, so that nobody changes it before the write.
type allow func(*entry) error

// anything is no condition.
func anything(*entry) error { return nil }

// now returns what is at name, or nil, if it is allowed to be there.
func (l *lake) now(name string, ok allow) (*entry, error) {
	e, err := l.stat(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return e, ok(e)
}

// change edits the metadata of an entry and raises its counter.
func (l *lake) change(name string, ok allow, edit func(*meta)) (*entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.edit(name, ok, edit)
}

func (l *lake) edit(name string, ok allow, edit func(*meta)) (*entry, error) {
	f, err := l.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	e, err := statFile(f)
	if err == nil {
		err = ok(e)
	}
	if err != nil {
		return nil, err
	}
	e.Changes++
	edit(&e.meta)
	return e, setMeta(f, e.meta)
}

// makeDir makes a directory, or changes the one that is there.
func (l *lake) makeDir(name string, ok allow, edit func(*meta)) (*entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.now(name, ok); err != nil {
		return nil, err
	}
	if err := l.root.MkdirAll(name, 0o755); err != nil {
		return nil, err
	}
	return l.edit(name, anything, edit)
}

// remove removes a file, or a directory with all in it if recursive, and what
// was appended to it.
func (l *lake) remove(name string, recursive bool, ok allow) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, err := l.stat(name)
	if err == nil {
		err = ok(e)
	}
	switch {
	case err != nil:
		return err
	case recursive:
		err = l.root.RemoveAll(name)
	default:
		err = l.root.Remove(name)
	}
	if err != nil {
		return err
	}
	return l.dropStaged(name)
}

// move renames if ok allows what is at both names, and returns what was moved.
func (l *lake) move(from, to string, noReplace bool, ok func(src, dst *entry) error) (*entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	src, err := l.stat(from)
	if err != nil {
		return nil, err
	}
	if _, err := l.now(to, func(dst *entry) error { return ok(src, dst) }); err != nil {
		return nil, err
	}
	return src, l.rename(from, to, noReplace)
}

func setMeta(f *os.File, m meta) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if len(b) > 3500 {
		return badRequest("MetadataTooLarge", "The metadata specified exceeds the maximum size permitted.")
	}
	err = unix.Fsetxattr(int(f.Fd()), xattr, b, 0)
	if errors.Is(err, unix.ENOTSUP) {
		return &Error{Status: 501, Code: "NotImplemented", Message: "the file system of the state directory has no extended attributes: properties and ACLs cannot be kept there"}
	}
	return err
}

// create makes a new, empty file under a temporary name for fill to write, and
// gives it its name when it is whole and ok allows what is there. With noReplace
// an existing target is an fs.ErrExist and stays.
func (l *lake) create(name string, noReplace bool, ok allow, fill func(*os.File) (meta, error)) (*entry, error) {
	temp, e, err := l.write(name, fill)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	had, err := l.now(name, ok)
	if err == nil && had != nil && had.Lease.locks() { // who holds it goes on holding it
		e.Lease = had.Lease
		err = l.keep(temp, e.meta)
	}
	if err == nil {
		err = l.rename(temp, name, noReplace)
	}
	if err != nil {
		_ = l.root.Remove(temp)
		return nil, err
	}
	return e, nil
}

// keep sets all metadata of a file.
func (l *lake) keep(name string, m meta) error {
	f, err := l.root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return setMeta(f, m)
}

// hold changes the lease of an entry: that is no change of the entry itself,
// whose ETag stays.
func (l *lake) hold(name string, next func(*entry) (*lease, error)) (*entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, err := l.stat(name)
	if err != nil {
		return nil, err
	}
	if e.Lease, err = next(e); err != nil {
		return nil, err
	}
	return e, l.keep(name, e.meta)
}

// write writes a file that is to be at name, and returns where it is till then.
func (l *lake) write(name string, fill func(*os.File) (meta, error)) (temp string, e *entry, err error) {
	if err := l.root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return "", nil, err
	}
	if err := l.root.MkdirAll(".staging", 0o700); err != nil {
		return "", nil, err
	}
	temp = path.Join(".staging", requestID())
	f, err := l.root.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o644)
	if err != nil {
		return "", nil, err
	}
	defer f.Close()
	m, err := fill(f)
	if err == nil {
		err = errors.Join(ignoreUnsupported(setMeta(f, m)), f.Sync())
	}
	if err == nil {
		e, err = statFile(f)
	}
	if err != nil {
		_ = l.root.Remove(temp)
	}
	return temp, e, err
}

func ignoreUnsupported(err error) error {
	if e, ok := errors.AsType[*Error](err); ok && e.Status == 501 {
		return nil
	}
	return err
}

// rename moves atomically. With noReplace the kernel refuses an existing
// target: Delta's commits rest on it.
func (l *lake) rename(from, to string, noReplace bool) error {
	if !noReplace {
		return l.root.Rename(from, to)
	}
	src, err := l.root.Open(path.Dir(from))
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := l.root.Open(path.Dir(to))
	if err != nil {
		return err
	}
	defer dst.Close()
	err = renameNew(src, path.Base(from), dst, path.Base(to))
	if errors.Is(err, unix.EEXIST) {
		return fs.ErrExist
	}
	return err
}

// Appended bytes wait beside the tree, a file per append named by position,
// until a flush joins them: ABFS appends arrive out of order, and none may be
// lost when the server is killed between them.

// stagingDir keeps names short: the path's digest.
func (l *lake) stagingDir(name string) string { return path.Join(".staging", "append", digest(name)) }

func (l *lake) append(name string, position int64, body io.Reader) (int64, error) {
	dir := l.stagingDir(name)
	if err := l.root.MkdirAll(dir, 0o700); err != nil {
		return 0, err
	}
	temp := path.Join(dir, requestID()+".tmp")
	f, err := l.root.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(f, body)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil && n > 0 {
		err = l.root.Rename(temp, path.Join(dir, fmt.Sprintf("%020d", position)))
	}
	if err != nil || n == 0 {
		_ = l.root.Remove(temp)
	}
	return n, err
}

// dropStaged forgets appended bytes that were not flushed.
func (l *lake) dropStaged(name string) error { return l.root.RemoveAll(l.stagingDir(name)) }

// flush joins the staged bytes up to position to the file at name. What is
// staged beyond it stays only if retain says so.
func (l *lake) flush(name string, position int64, retain bool, ok allow, edit func(*meta)) (*entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, err := l.stat(name)
	if err == nil {
		err = ok(e)
	}
	if err != nil {
		return nil, err
	}
	if e.IsDir() {
		return nil, unix.EISDIR
	}
	pieces, err := l.pieces(name, e.Size(), position)
	if err != nil {
		return nil, err
	}
	e.Changes++
	edit(&e.meta)
	if e.Size() == 0 && len(pieces) > 0 { // the usual case: appears whole, in one rename
		e, err = l.replace(name, e.meta, pieces)
	} else {
		e, err = l.extend(name, e, pieces)
	}
	if err != nil {
		return nil, err
	}
	if retain {
		return e, l.dropBefore(name, position)
	}
	return e, l.dropStaged(name)
}

func (l *lake) replace(name string, m meta, pieces []string) (*entry, error) {
	temp, e, err := l.write(name, func(f *os.File) (meta, error) { return m, l.join(f, pieces) })
	if err != nil {
		return nil, err
	}
	return e, l.rename(temp, name, false)
}

// dropBefore forgets the appended bytes that are in the file by now.
func (l *lake) dropBefore(name string, position int64) error {
	dir := l.stagingDir(name)
	staged, err := fs.ReadDir(l.root.FS(), dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, s := range staged {
		if from, err := strconv.ParseInt(s.Name(), 10, 64); err == nil && from < position {
			if err := l.root.Remove(path.Join(dir, s.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *lake) extend(name string, e *entry, pieces []string) (*entry, error) {
	f, err := l.root.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := f.Seek(e.Size(), io.SeekStart); err != nil {
		return nil, err
	}
	if err := errors.Join(l.join(f, pieces), ignoreUnsupported(setMeta(f, e.meta)), f.Sync()); err != nil {
		return nil, err
	}
	return statFile(f)
}

func (l *lake) join(f *os.File, pieces []string) error {
	for _, p := range pieces {
		piece, err := l.root.Open(p)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, piece)
		if err = errors.Join(err, piece.Close()); err != nil {
			return err
		}
	}
	return nil
}

// pieces lists the staged files that lead without a gap from size to position.
func (l *lake) pieces(name string, size, position int64) (names []string, err error) {
	dir := l.stagingDir(name)
	staged, err := fs.ReadDir(l.root.FS(), dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	at := size
	for _, s := range staged { // sorted by name, that is by position
		from, err := strconv.ParseInt(s.Name(), 10, 64)
		if err != nil || from < at {
			continue
		}
		info, err := s.Info()
		if err != nil {
			return nil, err
		}
		if from > at || at >= position {
			break
		}
		names, at = append(names, path.Join(dir, s.Name())), at+info.Size()
	}
	if at != position {
		return nil, badRequest("InvalidFlushPosition", fmt.Sprintf("The uploaded data is not contiguous or the position %d is not the length of the file after the flush (%d).", position, at))
	}
	return names, nil
}

func digest(name string) string {
	h := sha256.Sum256([]byte(name))
	return hex.EncodeToString(h[:])
}
