package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/wherry-ml/wherry/state"
)

// TestLocalOfANewServer: a server that starts takes the port of the last one,
// and may be asked by who has read the last one's server.json.
func TestLocalOfANewServer(t *testing.T) {
	dir := state.Dir(t.TempDir())
	write := func(info Info) {
		b, err := json.Marshal(info)
		if err == nil {
			err = state.WriteFile(dir.Path("server.json"), b, 0o600)
		}
		if err != nil {
			t.Error(err)
		}
	}
	if err := os.WriteFile(dir.Path("admin-token"), []byte("token"), 0o600); err != nil {
		t.Fatal(err)
	}
	var s *httptest.Server
	s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		write(Info{URL: s.URL, StorageURL: "http://new", PID: 2})
		_, _ = w.Write([]byte("{}"))
	}))
	defer s.Close()
	write(Info{URL: s.URL, StorageURL: "http://old", PID: 1})
	_, info, err := Local(context.Background(), dir)
	if err != nil || info.PID != 2 || info.StorageURL != "http://new" {
		t.Errorf("%+v, %v", info, err)
	}
}
