package protocol

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
)

// Outcome names the file beside a run's streams that holds its wherry.Result
// as JSON: it is there once the task has ended and all output is spooled.
const Outcome = "result"

// SpoolFile is the file of a run's stream, or its Outcome, in a spool.
func SpoolFile(spoolDir string, runID int64, stream string) string {
	return filepath.Join(spoolDir, strconv.FormatInt(runID, 10)+"."+stream)
}

// RemoveSpool deletes the files of a run.
func RemoveSpool(spoolDir string, runID int64) (err error) {
	for _, stream := range []string{Out, Events, Outcome} {
		if rerr := os.Remove(SpoolFile(spoolDir, runID, stream)); !errors.Is(rerr, os.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
	}
	return err
}
