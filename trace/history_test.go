package trace

import (
	"fmt"
	"io/fs"
	"math"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/storetest"
)

// TestHistory: the versions of a table, the newest first, with who wrote and
// who read each; a read that is told before its version's commit is read, or
// after it, takes nothing from what the commit says.
func TestHistory(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		files, other := fstest.MapFS{}, fstest.MapFS{}
		for v := range 12 {
			name, file := commitBy(v, "f.parquet", int64(v%2*7)) // odd ones by run 7, even ones by nobody known
			files[name], other[name] = file, file
		}
		s := New(db, tables(map[string]fs.FS{"t": files, "t2": other}))
		at := int64(0)
		read := func(version int, run int64) {
			e := event(wherry.EventTableRead, fmt.Sprintf("id-t@%d", version), run, map[string]any{"table": "main.s.t", "table_id": "id-t", "version": version})
			at += 100
			e.At = time.UnixMilli(at)
			emit(t, db, e)
		}
		read(11, 5)
		history(t, s, math.MaxInt64, "11 by 7 read by 5, 10 by nobody, 9 by 7; readers 5")
		read(10, 6)
		read(10, 5)
		history(t, s, math.MaxInt64, "11 by 7 read by 5, 10 by nobody read by 6 5, 9 by 7; readers 5 6")
		history(t, s, 2, "1 by 7, 0 by nobody; readers 5 6")
		history(t, s, 0, "; readers 5 6")
	})
}

func history(t *testing.T, s *Service, below int64, want string) {
	t.Helper()
	h, err := s.History(t.Context(), wherry.DefaultWorkspace, "main.s.T", below, 3)
	if err != nil {
		t.Fatal(err)
	}
	var versions []string
	for _, v := range h.Versions {
		text := fmt.Sprint(v.Number, " by nobody")
		for _, n := range v.Writers {
			text = fmt.Sprint(v.Number, " by ", n.Key)
		}
		for i, n := range v.Readers {
			if i == 0 {
				text += " read by"
			}
			text += " " + n.Key
		}
		if v.At.UnixMilli() != 5 || !strings.Contains(string(v.Payload), `"WRITE"`) {
			t.Errorf("version %d: %v %s", v.Number, v.At, v.Payload)
		}
		versions = append(versions, text)
	}
	got := strings.Join(versions, ", ") + "; readers"
	for _, n := range h.Readers {
		got += " " + n.Key
	}
	if got != want {
		t.Errorf("below %d: %s, want %s", below, got, want)
	}
}
