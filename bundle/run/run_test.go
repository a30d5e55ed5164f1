package run_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/bundle/run"
	"github.com/wherry-ml/wherry/client"
)

// TestFollowWaits: a server that drops connections, as one that is killed and
// started again does, is waited for; one that says no is not.
func TestFollowWaits(t *testing.T) {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.FormValue("run_id") != "7" {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"error_code":"INVALID_PARAMETER_VALUE","message":"no such run"}`)
			return
		}
		switch asked++; asked {
		case 1:
			fmt.Fprint(w, `{"run_id":7,"state":{"life_cycle_state":"RUNNING"}}`)
		case 2: // no answer
			panic(http.ErrAbortHandler)
		case 3: // half an answer
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, `{"run_id"`)
		default:
			fmt.Fprint(w, `{"run_id":7,"state":{"life_cycle_state":"TERMINATED","result_state":"SUCCESS"}}`)
		}
	}))
	defer server.Close()
	c := client.New(server.URL, "token")
	r, err := run.Follow(t.Context(), c, 7, func(*run.Result) {})
	if err != nil || !r.Succeeded() {
		t.Errorf("%+v, %v", r, err)
	}
	started := time.Now()
	_, err = run.Follow(t.Context(), c, 8, func(*run.Result) {})
	if wherry.CodeOf(err) != wherry.CodeInvalidParameter || time.Since(started) > 30*time.Second {
		t.Errorf("%v after %s", err, time.Since(started))
	}
}
