package jvm

import (
	"path/filepath"
	"testing"

	"github.com/wherry-ml/wherry/environment"
)

// classPath is the jars of Spark and Delta.
func classPath(t *testing.T) []string {
	t.Helper()
	env := environment.ForTest(t)
	jars, err := filepath.Glob(filepath.Join(env.SparkHome, "jars", "*.jar"))
	if err != nil {
		t.Fatal(err)
	}
	return append(jars, env.Jars...)
}
