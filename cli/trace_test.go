package cli_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/wherry-ml/wherry/client"
	"github.com/wherry-ml/wherry/environment"
	"github.com/wherry-ml/wherry/server/servertest"
)

// TestSpark runs the scripts that need a driver, on one server and so one
// driver.
func TestSpark(t *testing.T) {
	environment.ForTest(t)
	environment.LockJVM(t, 1)
	s := servertest.Start(t, nil)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/spark", UpdateScripts: *update, Setup: scriptEnv(s),
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"json": queryJSON, "keep": keepJSON, "api": callServer(s), "outsider": outsider(s), "commit": traceCommit,
		},
	})
}

// traceCommit traces the commit whose sha is in a file: commit FILE FLAG....
func traceCommit(ts *testscript.TestScript, _ bool, args []string) {
	sha := strings.TrimSpace(ts.ReadFile(args[0]))
	ts.Check(ts.Exec("wherry", append([]string{"trace", "commit", sha[:10], "--state", ts.Getenv("STATE")}, args[1:]...)...))
}

// outsider appends a copy of a table's first file to it, as a writer does that
// knows nothing of wherry: outsider TABLE.
func outsider(s *servertest.Server) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, args []string) {
		var table struct {
			ID string `json:"table_id"`
		}
		c := client.New(s.URL, s.Token)
		ts.Check(c.Do(context.Background(), "GET", "/api/2.1/unity-catalog/tables/"+args[0], nil, &table))
		dir := filepath.Join(s.State.Managed(), "tables", table.ID)
		files, err := filepath.Glob(filepath.Join(dir, "*.parquet"))
		ts.Check(err)
		data, err := os.ReadFile(files[0])
		ts.Check(err)
		ts.Check(os.WriteFile(filepath.Join(dir, "outside.parquet"), data, 0o644))
		add, err := json.Marshal(map[string]any{"add": map[string]any{
			"path": "outside.parquet", "partitionValues": map[string]string{}, "size": len(data), "modificationTime": 1, "dataChange": true,
		}})
		ts.Check(err)
		log := `{"commitInfo":{"timestamp":1,"operation":"WRITE"}}` + "\n" + string(add) + "\n"
		ts.Check(os.WriteFile(filepath.Join(dir, "_delta_log", fmt.Sprintf("%020d.json", 1)), []byte(log), 0o644))
	}
}
