package examples

import (
	"os"
	"os/exec"
	"testing"

	"github.com/wherry-ml/wherry/environment"
)

// TestOwnTests runs the projects' own tests, as their users would: without
// wherry.
func TestOwnTests(t *testing.T) {
	env := environment.ForTest(t)
	for _, project := range []string{"flights", "orders"} {
		t.Run(project, func(t *testing.T) {
			c := exec.CommandContext(t.Context(), env.Python, "-m", "pytest", "-q", "-p", "no:cacheprovider")
			c.Dir = project
			c.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "JAVA_HOME="+env.JavaHome, "SPARK_LOCAL_IP=127.0.0.1")
			if out, err := c.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		})
	}
}
