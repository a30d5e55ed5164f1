package api

import (
	"net"
	"net/http"
	"strings"
)

// OwnHosts refuses requests for a host name that is not ours: a page of another
// site whose name was bound to 127.0.0.1 must not reach us (as in MLflow's
// CVE-2025-14279). Over TLS the certificate has settled that.
func OwnHosts(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		ip := net.ParseIP(strings.Trim(host, "[]"))
		if r.TLS == nil && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			http.Error(w, `{"error_code":"PERMISSION_DENIED","message":"this host name is not served here"}`, http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}
