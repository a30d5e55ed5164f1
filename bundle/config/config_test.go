package config_test

import (
	"encoding/json"
	"testing"

	"github.com/wherry-ml/wherry/bundle/config"
)

func TestParsePositionsAnchorsAndMergeKeys(t *testing.T) {
	src := "a: &base\n  x: 1\n  y: [1, two]\nb:\n  <<: *base\n  x: 2\nc: |\n  text\nd: !!str 12\ne: 1.5\nf:\ng: *base\n"
	var ps config.Problems
	v := config.Parse("f.yml", []byte(src), &ps)
	b, _ := json.Marshal(v.Plain())
	want := `{"a":{"x":1,"y":[1,"two"]},"b":{"x":2,"y":[1,"two"]},"c":"text\n","d":"12","e":1.5,"f":null,"g":{"x":1,"y":[1,"two"]}}`
	if string(b) != want {
		t.Errorf("got  %s\nwant %s", b, want)
	}
	for path, at := range map[string]string{"a": "f.yml:2:3", "a.y[1]": "f.yml:3:10", "b.x": "f.yml:6:6", "f": "f.yml:11:1"} {
		if got := v.Lookup(path).At.String(); got != at {
			t.Errorf("%s is at %s, want %s", path, got, at)
		}
	}
	if len(ps.List()) > 0 {
		t.Error(ps.List())
	}
}

func TestParseTellsEveryProblem(t *testing.T) {
	for src, want := range map[string]string{
		"a: 1\na: 2\n":      "f.yml:2:1: error: the key \"a\" is here twice\n  2 | a: 2\n    | ^\n  the first one is in line 1\n",
		"a: *no\n":          "f.yml:1:4: error: *no names no anchor: &no must stand before it in the same file\n  1 | a: *no\n    |    ^\n",
		"a: 1\n---\nb: 2\n": "f.yml:3:1: error: the file holds more than one YAML document: write one per file\n  3 | b: 2\n    | ^\n",
	} {
		var ps config.Problems
		config.Parse("f.yml", []byte(src), &ps)
		got := ""
		for _, p := range ps.List() {
			got += ps.Format(p)
		}
		if got != want {
			t.Errorf("%q:\n got %q\nwant %q", src, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("a: &x [1, {b: *x}]\n<<: {c: d}\n? e\n: f\n"))
	f.Add([]byte("a: !!str 1\n---\n- |\n  x\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		var ps config.Problems
		v := config.Parse("f.yml", src, &ps)
		if v != nil {
			_, _ = json.Marshal(v.Plain())
		}
		for _, p := range ps.List() {
			ps.Format(p)
		}
	})
}
