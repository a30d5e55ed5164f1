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

func TestRead(t *testing.T) {
	c, err := Read(table(), 0)
	if err != nil || c.UserMetadata != `{"wherry":{"run_id":7}}` || c.Operation != "WRITE" || c.Added[0] != "a b.parquet" {
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
