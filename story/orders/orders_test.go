//go:build linux

package orders_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/wherry-ml/wherry/bundle/run"
	"github.com/wherry-ml/wherry/story/site"
)

// TestOrders runs examples/orders unchanged: a wheel on serverless compute, a
// stream into a table, nested %run, MERGE, a SQL notebook and notebook.run.
// The second batch changes rows of the first.
func TestOrders(t *testing.T) {
	s := site.New(t, 1)
	s.Work = filepath.Join(t.TempDir(), "orders")
	if err := os.CopyFS(s.Work, os.DirFS("../../examples/orders")); err != nil {
		t.Fatal(err)
	}
	s.Up()
	for _, want := range []struct {
		batch, revenue    string
		orders, cancelled int
	}{{"1", "127711.30", 480, 7}, {"2", "252627.60", 880, 44}} {
		var result run.Result
		s.JSON(s.Start("run", "--state", string(s.Dir), "-o", "json", "--params", "batch="+want.batch), &result)
		if result.State != "SUCCESS" || len(result.Tasks) != 5 {
			t.Fatalf("batch %s: %+v", want.batch, result)
		}
		var report struct {
			Orders    int    `json:"orders"`
			Cancelled int    `json:"cancelled"`
			Revenue   string `json:"revenue"`
		}
		for _, task := range result.Tasks {
			if task.Key == "report" {
				if err := json.Unmarshal([]byte(task.Output), &report); err != nil {
					t.Fatalf("batch %s: %v: %q", want.batch, err, task.Output)
				}
			}
		}
		if report.Orders != want.orders || report.Cancelled != want.cancelled || report.Revenue != want.revenue {
			t.Errorf("batch %s: %+v, want %+v", want.batch, report, want)
		}
	}
}
