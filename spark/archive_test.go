package spark_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry/environment"
	"github.com/wherry-ml/wherry/spark"
)

// The class archive is made once, and every later start uses it.
func TestMakeArchive(t *testing.T) {
	if os.Getenv("WHERRY_TEST_ARCHIVE") == "" {
		t.Skip("making the class archive takes a minute: set WHERRY_TEST_ARCHIVE=1 to test it")
	}
	env := environment.ForTest(t)
	environment.LockJVM(t, 1)
	for range 2 {
		if err := spark.MakeArchive(t.Context(), env); err != nil {
			t.Fatal(err)
		}
	}
	launch, err := spark.Start(spark.Config{Env: env, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(launch.Argv, func(s string) bool { return strings.HasPrefix(s, "-XX:SharedArchiveFile=") }) {
		t.Errorf("the archive is not used: %q", launch.Argv)
	}
}
