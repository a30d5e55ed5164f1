package jvm

import (
	"os"
	"path/filepath"
	"testing"
)

// classPath is the jars of Spark and Delta.
func classPath(t *testing.T) (jars []string) {
	t.Helper()
	dirs := os.Getenv("WHERRY_TEST_JARS")
	if dirs == "" {
		t.Skip("WHERRY_TEST_JARS is not set")
	}
	for _, dir := range filepath.SplitList(dirs) {
		found, err := filepath.Glob(filepath.Join(dir, "*.jar"))
		if err != nil {
			t.Fatal(err)
		}
		jars = append(jars, found...)
	}
	return jars
}
