package mlflow_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/environment"
	"github.com/wherry-ml/wherry/store"
)

// python runs a script of testdata with the real clients and returns what it
// printed last.
func (c *client) python(script string, args ...string) string {
	c.Helper()
	e := environment.ForTest(c)
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, e.Python, append([]string{"-W", "ignore", "testdata/" + script}, args...)...)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + c.TempDir(),
		"DATABRICKS_HOST=" + c.URL, "DATABRICKS_TOKEN=" + c.Token, "MLFLOW_TRACKING_TOKEN=" + c.Token,
		"MLFLOW_HTTP_REQUEST_MAX_RETRIES=0", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR=false", "MLFLOW_DISABLE_TELEMETRY=true",
		"MLFLOW_REQUIREMENTS_INFERENCE_TIMEOUT=1", "PYTHONDONTWRITEBYTECODE=1",
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		c.Fatalf("%s: %v\n%s", script, err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}

// catalog makes a catalog with a schema.
func (c *client) catalog(catalog, schema string) {
	c.Helper()
	c.must("POST", "/api/2.1/unity-catalog/catalogs", m{"name": catalog})
	c.must("POST", "/api/2.1/unity-catalog/schemas", m{"catalog_name": catalog, "name": schema})
}

func TestPlainClient(t *testing.T) {
	c := newClient(t)
	c.python("plain.py", c.URL)
}

func TestDatabricksClient(t *testing.T) {
	c := newClient(t)
	c.catalog("shop", "ml")
	run := strings.TrimPrefix(c.python("databricks_mode.py"), "run ")
	kinds := map[string]int{}
	db, err := store.Open(context.Background(), "sqlite://"+c.State.Path("wherry.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Read(context.Background(), func(tx *store.Tx) error {
		return tx.Each(`SELECT kind FROM event WHERE subject = $1 OR subject LIKE 'shop.ml.churn%' OR payload LIKE $2`, []any{run, "%" + run + "%"}, func(scan func(...any) error) error {
			var kind string
			err := scan(&kind)
			kinds[kind]++
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	if kinds[wherry.EventMLflowRun] != 1 || kinds[wherry.EventModelVersion] != 3 || kinds[wherry.EventModelAlias] != 2 {
		t.Errorf("events are %v", kinds)
	}
}
