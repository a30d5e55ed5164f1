package notify

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

func TestPublic(t *testing.T) {
	for text, want := range map[string]bool{
		"8.8.8.8": true, "2606:4700::1111": true, "::ffff:8.8.8.8": true,
		"127.0.0.1": false, "127.9.9.9": false, "::1": false, "0.0.0.0": false, "::": false, "10.1.2.3": false, "172.16.0.1": false, "192.168.1.1": false,
		"169.254.169.254": false, "168.63.129.16": false, "100.64.0.1": false, "fd00::1": false, "fe80::1": false, "fe80::1%eth0": false, "ff02::1": false,
		"224.0.0.1": false, "255.255.255.255": false, "::ffff:127.0.0.1": false, "::ffff:169.254.169.254": false, "::127.0.0.1": false,
		"64:ff9b::7f00:1": false, "2002:7f00:1::": false, "198.18.0.1": false, "fec0::1": false, "192.0.0.192": false,
	} {
		if got := public(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s is public: %t, want %t", text, got, want)
		}
	}
}

// TestRedirects: each hop is looked at where it connects to, whatever name it
// goes by, and a notice is not lost on the way.
func TestRedirects(t *testing.T) {
	var reached []string
	inside := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		reached = append(reached, r.Method+" "+r.Header.Get("Idempotency-Key"))
	}))
	defer inside.Close()
	port := inside.URL[strings.LastIndex(inside.URL, ":"):]
	var status int
	var location string
	outside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", location)
		w.WriteHeader(status)
	}))
	defer outside.Close()
	allowed := strings.TrimPrefix(outside.URL, "http://") // this port, not the other

	post := func(client *http.Client, to string) error {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, to, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Idempotency-Key", "k")
		res, err := client.Do(r)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		return answered(res)
	}
	for _, test := range []struct {
		allow    []string
		to       string
		status   int
		location string
		want     string // the error, "" for one that arrives
	}{
		{nil, inside.URL, 0, "", "is no public address"},
		{nil, "http://localhost" + port, 0, "", "--allow-webhook-host localhost"},
		{nil, "http://[::ffff:127.0.0.1]" + port, 0, "", "is no public address"},
		{nil, "http://2130706433" + port, 0, "", "2130706433"}, // 127.0.0.1 as one number
		{[]string{"LOCALHOST"}, "http://localhost" + port, 0, "", ""},
		{[]string{allowed}, outside.URL, 307, inside.URL, "is no public address"},
		{[]string{allowed}, outside.URL, 308, "http://localhost" + port, "is no public address"},
		{[]string{"127.0.0.1"}, outside.URL, 307, inside.URL, ""},
		{[]string{"127.0.0.1"}, outside.URL, 302, inside.URL, "loses the notice"},
		{[]string{"127.0.0.1"}, outside.URL, 307, outside.URL, "redirects more than"},
		{[]string{"127.0.0.1"}, outside.URL, 307, "file:///etc/passwd", "unsupported protocol scheme"},
	} {
		reached, status, location = nil, test.status, test.location
		err := post(guarded(test.allow), test.to)
		if test.want == "" {
			if err != nil || len(reached) != 1 || reached[0] != "POST k" {
				t.Errorf("%s → %s: %v, arrived %v", test.to, test.location, err, reached)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), test.want) || len(reached) != 0 {
			t.Errorf("%s → %s: %v, want %q; arrived %v", test.to, test.location, err, test.want, reached)
		}
	}
}

func TestDelay(t *testing.T) {
	for attempts := 1; attempts < 100; attempts++ {
		if d := delay(attempts); d < shortest/2 || d > longest {
			t.Errorf("after %d attempts it waits %s", attempts, d)
		}
	}
}
