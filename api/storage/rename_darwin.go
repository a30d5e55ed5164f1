package storage

import (
	"os"

	"golang.org/x/sys/unix"
)

// renameNew moves from in folder src to to in folder dst; an existing target is
// left alone, with EEXIST.
func renameNew(src *os.File, from string, dst *os.File, to string) error {
	return unix.RenameatxNp(int(src.Fd()), from, int(dst.Fd()), to, unix.RENAME_EXCL)
}
