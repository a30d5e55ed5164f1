package wherry

import "testing"

func TestLocationURL(t *testing.T) {
	for url, want := range map[string]string{
		"abfss://c@a.dfs.core.windows.net":     "abfss://c@a.dfs.core.windows.net/",
		"abfss://c@a.dfs.core.windows.net//":   "abfss://c@a.dfs.core.windows.net/",
		"abfss://c@a.dfs.core.windows.net/x/":  "abfss://c@a.dfs.core.windows.net/x",
		"abfss://c@a.dfs.core.windows.net/x/y": "abfss://c@a.dfs.core.windows.net/x/y",
		"s3://bucket":                          "s3://bucket/",
		"dbfs:/x":                              "dbfs:/x",
		"":                                     "",
	} {
		if got := LocationURL(url); got != want {
			t.Errorf("%q is kept as %q, want %q", url, got, want)
		}
	}
}
