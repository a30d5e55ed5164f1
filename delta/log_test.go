package delta

import (
	"fmt"
	"testing"
	"testing/fstest"
)

func commit(version int64, lines string) (string, *fstest.MapFile) {
	return fmt.Sprintf("_delta_log/%020d.json", version), &fstest.MapFile{Data: []byte(lines)}
}

func table() fstest.MapFS {
	t := fstest.MapFS{"_delta_log/_last_checkpoint": {Data: []byte("{}")}}
	for v, lines := range []string{
		`{"commitInfo":{"timestamp":1,"operation":"WRITE","userMetadata":"{\"wherry\":{\"run_id\":7}}"}}` + "\n" + `{"add":{"path":"a%20b.parquet","dataChange":true}}`,
		`{"commitInfo":{"timestamp":2,"operation":"WRITE"}}` + "\n" + `{"add":{"path":"c.parquet","dataChange":true}}`,
		`{"commitInfo":{"timestamp":3,"operation":"OPTIMIZE"}}` + "\n" + `{"add":{"path":"d.parquet","dataChange":false}}` + "\n" +
			`{"remove":{"path":"a%20b.parquet","dataChange":false}}` + "\n" + `{"remove":{"path":"c.parquet","dataChange":false}}`,
		`{"commitInfo":{"timestamp":4,"operation":"WRITE"}}` + "\n" + `{"add":{"path":"e.parquet","dataChange":true}}`,
	} {
		name, file := commit(int64(v), lines)
		t[name] = file
	}
	return t
}

func TestOrigins(t *testing.T) {
	for _, c := range []struct {
		file     string
		versions []int64
		exact    bool
	}{
		{"a b.parquet", []int64{0}, true},
		{"e.parquet", []int64{3}, true},
		{"d.parquet", []int64{0, 1}, false}, // after OPTIMIZE only candidates are known
		{"gone.parquet", nil, false},
	} {
		commits, exact, err := Origins(table(), c.file)
		if err != nil {
			t.Fatal(err)
		}
		var got []int64
		for _, commit := range commits {
			got = append(got, commit.Version)
		}
		if fmt.Sprint(got) != fmt.Sprint(c.versions) || exact != c.exact {
			t.Errorf("%s: versions %v exact %v, want %v %v", c.file, got, exact, c.versions, c.exact)
		}
	}
}

// TestCarriedRows: files that hold rows of the files which their commit removed.
// Each case is a commit after one that wrote old.parquet; the parameters and
// metrics are as Spark writes them.
func TestCarriedRows(t *testing.T) {
	const swap = `{"remove":{"path":"old.parquet","dataChange":true}}` + "\n" + `{"add":{"path":"new.parquet","dataChange":true}}`
	for _, c := range []struct {
		info, actions, file, versions string
		exact                         bool
	}{
		{`"operation":"DELETE","operationMetrics":{"numCopiedRows":"9"}`, swap, "new.parquet", "[0]", true},
		{`"operation":"UPDATE","operationMetrics":{"numCopiedRows":"9"}`, swap, "new.parquet", "[0 1]", false},
		{`"operation":"UPDATE","operationMetrics":{"numCopiedRows":"0"}`, swap, "new.parquet", "[1]", true},
		{`"operation":"MERGE","operationMetrics":{"numTargetRowsCopied":"9"}`, swap, "new.parquet", "[0 1]", false},
		{`"operation":"MERGE","operationMetrics":{"numTargetRowsCopied":"0"}`, swap, "new.parquet", "[1]", true},
		{`"operation":"MERGE"`, swap, "new.parquet", "[0 1]", false},
		{`"operation":"WRITE","operationParameters":{"mode":"Overwrite","partitionBy":"[]"}`, swap, "new.parquet", "[1]", true},
		{`"operation":"WRITE","operationParameters":{"mode":"Overwrite","predicate":"(id = 1)"}`, swap, "new.parquet", "[0 1]", false},
		{`"operation":"CREATE OR REPLACE TABLE AS SELECT"`, swap, "new.parquet", "[1]", true},
		{`"operation":"STREAMING UPDATE","operationParameters":{"outputMode":"Complete"}`, swap, "new.parquet", "[1]", true},
		{`"operation":"SOMETHING NEW"`, swap, "new.parquet", "[0 1]", false},
		// With deletion vectors the file stays, and is added with one.
		{`"operation":"DELETE"`, `{"remove":{"path":"old.parquet"}}` + "\n" + `{"add":{"path":"old.parquet"}}`, "old.parquet", "[0]", true},
		{`"operation":"RESTORE"`, `{"add":{"path":"old.parquet"}}`, "old.parquet", "[0]", true},
		{`"operation":"RESTORE"`, `{"add":{"path":"older.parquet"}}`, "older.parquet", "[]", false},
	} {
		log := fstest.MapFS{}
		for v, lines := range []string{`{"add":{"path":"old.parquet","dataChange":true}}`, `{"commitInfo":{` + c.info + "}}\n" + c.actions} {
			name, file := commit(int64(v), lines)
			log[name] = file
		}
		commits, exact, err := Origins(log, c.file)
		got := []int64{}
		for _, commit := range commits {
			got = append(got, commit.Version)
		}
		if fmt.Sprint(got) != c.versions || exact != c.exact || err != nil {
			t.Errorf("%s: versions %v, exact %v, %v; want %s, %v", c.info, got, exact, err, c.versions, c.exact)
		}
	}
}

func TestRead(t *testing.T) {
	c, err := Read(table(), 0)
	if err != nil || c.RunID != 7 || c.Operation != "WRITE" || c.Added[0] != "a b.parquet" {
		t.Errorf("%+v, %v", c, err)
	}
	if v, err := Versions(table(), 2); err != nil || fmt.Sprint(v) != "[2 3]" {
		t.Errorf("%v, %v", v, err)
	}
	if v, err := Versions(fstest.MapFS{}, 0); err != nil || v != nil {
		t.Errorf("a table without a log: %v, %v", v, err)
	}
	broken := fstest.MapFS{"_delta_log/00000000000000000000.json": {Data: []byte("{")}}
	if _, err := Read(broken, 0); err == nil {
		t.Error("a broken commit was read")
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"add":{"path":"a"}}`))
	f.Fuzz(func(_ *testing.T, data []byte) {
		_, _ = Read(fstest.MapFS{"_delta_log/00000000000000000000.json": {Data: data}}, 0)
	})
}

func TestWriter(t *testing.T) {
	for info, want := range map[string]int64{
		`"userMetadata":"{\"wherry\":{\"run_id\":7}}"`:                       7,
		`"userMetadata":"{\"wherry\":{\"run_id\":\"8\"}}"`:                   8,
		`"wherry":{"run_id":9},"userMetadata":"by hand"`:                     9,
		`"wherry":{"run_id":9},"userMetadata":"{\"wherry\":{\"run_id\":7}}"`: 9,
		`"userMetadata":"by hand"`:                                           0,
		`"userMetadata":"{}"`:                                                0,
		`"operation":"WRITE"`:                                                0,
	} {
		name, file := commit(0, `{"commitInfo":{`+info+`}}`)
		if c, err := Read(fstest.MapFS{name: file}, 0); err != nil || c.RunID != want {
			t.Errorf("%s: %+v, %v, want %d", info, c, err, want)
		}
	}
}
