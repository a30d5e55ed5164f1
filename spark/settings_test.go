package spark

import (
	"slices"
	"strings"
	"testing"
)

func TestProperties(t *testing.T) {
	got := properties(map[string]string{
		"spark.a":   `C:\x`,
		"b key:=#!": "line\nbreak",
		"c":         " leading",
		"d":         "Zürich 🛶",
	})
	want := `b\ key\:\=\#\!=line\nbreak` + "\n" + `c=\ leading` + "\n" + `d=Z\u00fcrich \ud83d\udef6` + "\n" + `spark.a=C:\\x` + "\n"
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestParseMB(t *testing.T) {
	for size, want := range map[string]int{
		"4g": 4096, "512m": 512, "2048k": 2, "1t": 1 << 20, " 2GB ": 2048, "1073741824": 1024, "1.5g": 1536,
		"": 0, "x": 0, "-1g": 0, "g": 0,
	} {
		if got := parseMB(size); got != want {
			t.Errorf("parseMB(%q) = %d, want %d", size, got, want)
		}
	}
}

// What the user sets wins over our defaults, not over what makes it wherry's.
func TestSettings(t *testing.T) {
	c := Config{Dir: "/d", Cores: 4, Conf: map[string]string{
		"spark.sql.shuffle.partitions":  "7",
		"spark.master":                  "local[*, 4]",
		"spark.sql.extensions":          "io.delta.sql.DeltaSparkSessionExtension, com.example.Mine",
		"spark.hadoop.fs.defaultFS":     "file:///",
		"spark.driver.memory":           "2g",
		"spark.driver.extraJavaOptions": "-Xmx9g -Da=b",
		"wherry.control":                "/elsewhere",
	}}
	c.complete()
	s := c.settings()
	for k, want := range map[string]string{
		"spark.sql.shuffle.partitions":  "7",
		"spark.master":                  "local[4]",
		"spark.sql.extensions":          "io.delta.sql.DeltaSparkSessionExtension,com.example.Mine,wherry.Extensions",
		"spark.hadoop.fs.defaultFS":     "dbfs:///",
		"spark.driver.memory":           "",
		"wherry.control":                "/d/control",
		"spark.hadoop.wherry.root.dbfs": "/dbfs",
	} {
		if s[k] != want {
			t.Errorf("%s = %q, want %q", k, s[k], want)
		}
	}
	o := c.options()
	if !slices.Contains(o, "-Da=b") || slices.Contains(o, "-Xmx9g") || !slices.ContainsFunc(o, func(s string) bool { return strings.HasPrefix(s, "-Xmx") }) {
		t.Errorf("options: %q", o)
	}
}

func TestReady(t *testing.T) {
	var log strings.Builder
	out := strings.NewReader("WARNING: x\n{\"no\":1}\n{\"ready\":true,\"pid\":7,\"ms\":5}\nmore")
	info, rest, err := Ready(out, &log)
	if err != nil || info != (Info{PID: 7, MS: 5}) || log.String() != "WARNING: x\n{\"no\":1}\n" {
		t.Fatalf("Ready: %+v, %v, log %q", info, err, log.String())
	}
	b := make([]byte, 10)
	if n, _ := rest.Read(b); string(b[:n]) != "more" {
		t.Errorf("the rest is %q", b[:n])
	}
	if _, _, err := Ready(strings.NewReader("Error: no heap\n"), &log); err == nil {
		t.Error("a driver that ended is taken for ready")
	}
}
