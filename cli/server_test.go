package cli_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/wherry-ml/wherry/server/servertest"
)

// callServer is a call of the server's API as the admin, with the answer on
// stdout: api METHOD PATH [BODY]. With ! it must be refused.
func callServer(s *servertest.Server) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		req, err := http.NewRequest(args[0], s.URL+args[1], strings.NewReader(strings.Join(args[2:], " ")))
		ts.Check(err)
		req.Header.Set("Authorization", "Bearer "+s.Token)
		resp, err := http.DefaultClient.Do(req)
		ts.Check(err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		ts.Check(err)
		_, err = ts.Stdout().Write(body)
		ts.Check(err)
		if refused := resp.StatusCode/100 != 2; refused != neg {
			ts.Fatalf("%s: %s: %s", strings.Join(args, " "), resp.Status, body)
		}
	}
}

// keepJSON sets a variable to a field of the JSON on stdout: keep NAME KEY.
func keepJSON(ts *testscript.TestScript, _ bool, args []string) {
	var doc any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &doc))
	value := lookup(doc, args[1])
	if value == "" {
		ts.Fatalf("there is no %s", args[1])
	}
	ts.Setenv(args[0], value)
}
