package egress_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry/egress"
	"github.com/wherry-ml/wherry/sandbox"
	"github.com/wherry-ml/wherry/state"
)

func TestMain(m *testing.M) {
	sandbox.Main()
	if os.Args[0] == "/run/wherry/fetch" { // inside a box: the environment says how
		for _, u := range os.Args[1:] {
			fmt.Println(fetch(http.DefaultClient, u))
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// fetch gets u and returns its status and body, or the error.
func fetch(c *http.Client, u string) string {
	res, err := c.Get(u)
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d %s %s", res.StatusCode, res.Proto, strings.TrimSpace(string(body)))
}

func named(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%s: %s %s", name, r.Host, r.URL.Path) })
}

// running starts a proxy and returns it with its address.
func running(t *testing.T) (*egress.Proxy, state.Dir, string) {
	t.Helper()
	dir := state.Dir(t.TempDir())
	if err := dir.Create(); err != nil {
		t.Fatal(err)
	}
	p, err := egress.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	p.Handle(egress.Handlers{Web: named("web"), Workspace: named("workspace"), Storage: named("storage"), SignIn: named("sign-in"), Azure: named("azure"), Actions: named("actions")})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return p, dir, "http://" + l.Addr().String()
}

func client(t *testing.T, dir state.Dir, proxy string) *http.Client {
	t.Helper()
	bundle, err := os.ReadFile(filepath.Join(egress.Directory(dir), "bundle.pem"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(bundle)
	u, err := url.Parse(proxy)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{Proxy: http.ProxyURL(u), TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// owned is what each owned name answers, in a box and through the proxy.
var owned = map[string]string{
	"https://acct.dfs.core.windows.net/c/a%2Fb":                    "200 HTTP/1.1 storage: acct.dfs.core.windows.net /c/a/b",
	"https://acct.dfs.core.windows.net:443/c":                      "200 HTTP/1.1 storage: acct.dfs.core.windows.net /c",
	"https://acct.blob.core.windows.net/c":                         "200 HTTP/1.1 storage: acct.blob.core.windows.net /c",
	"https://login.microsoftonline.com/common":                     "200 HTTP/1.1 sign-in: login.microsoftonline.com /common",
	"https://adb-1.2.azuredatabricks.net/api":                      "200 HTTP/2.0 workspace: adb-1.2.azuredatabricks.net /api",
	"https://management.azure.com/subscriptions":                   "200 HTTP/2.0 azure: management.azure.com /subscriptions",
	"https://graph.microsoft.com/v1.0/me":                          "200 HTTP/2.0 azure: graph.microsoft.com /v1.0/me",
	"https://kv.vault.azure.net/secrets":                           "200 HTTP/2.0 azure: kv.vault.azure.net /secrets",
	"https://token.actions.githubusercontent.com/.well-known/jwks": "200 HTTP/2.0 actions: token.actions.githubusercontent.com /.well-known/jwks",
	"http://acct.dfs.core.windows.net/c":                           "200 HTTP/1.1 storage: acct.dfs.core.windows.net /c",
	"https://ACCT.dfs.core.windows.net/c":                          "200 HTTP/1.1 storage: acct.dfs.core.windows.net /c",
}

func TestProxyOwned(t *testing.T) {
	_, dir, proxy := running(t)
	c := client(t, dir, proxy)
	for u, want := range owned {
		if got := fetch(c, u); !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %s, want %s", u, got, want)
		}
	}
}

func TestProxyRefuses(t *testing.T) {
	inside, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	_, dir, proxy := running(t)
	c := client(t, dir, proxy)
	refused := []string{
		"https://x.servicebus.windows.net/secrets", "https://x.database.windows.net/", "https://acct.queue.core.windows.net/q",
		"http://x.servicebus.windows.net/secrets", "http://" + inside.Addr().String() + "/", "https://" + inside.Addr().String() + "/",
		"http://169.254.169.254/metadata/identity/oauth2/token", "http://localhost:1/", "http://[::1]:1/", "http://[::ffff:127.0.0.1]:1/",
		"https://login.microsoftonline.us/common", "https://acct.blob.core.usgovcloudapi.net/c", "https://management.usgovcloudapi.net/", "https://adb-1.2.databricks.azure.us/",
		"https://login.partner.microsoftonline.cn/common", "https://login.chinacloudapi.cn/common", "https://acct.dfs.core.chinacloudapi.cn/c", "https://x.vault.azure.cn/secrets",
		"https://acct.z01.blob.storage.azure.net/c", "https://acct.blob.core.cloudapi.de/c", "https://ACCT.blob.core.usgovcloudapi.net./c",
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range own { // what listens on 0.0.0.0 is there too
		if n, ok := a.(*net.IPNet); ok {
			refused = append(refused, "http://"+net.JoinHostPort(n.IP.String(), "1")+"/", "https://"+net.JoinHostPort(n.IP.String(), "1")+"/")
		}
	}
	for _, u := range refused {
		if got := fetch(c, u); !strings.Contains(got, "403") && !strings.Contains(got, "Forbidden") {
			t.Errorf("%s: got %s", u, got)
		}
	}
}

// A host that is not ours goes through the environment's own proxy.
func TestUpstreamProxy(t *testing.T) {
	asked := make(chan string, 4)
	far := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Method + " " + r.Host
		if r.Method == http.MethodConnect {
			http.Error(w, "no", http.StatusTeapot)
			return
		}
		fmt.Fprint(w, "from far")
	})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = far.Serve(l) }()
	t.Cleanup(func() { _ = far.Close() })
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
		t.Setenv(name, "http://"+l.Addr().String())
	}
	t.Setenv("NO_PROXY", "")
	t.Setenv("no_proxy", "")
	_, dir, proxy := running(t)
	c := client(t, dir, proxy)
	if got := fetch(c, "http://pypi.example.com/simple"); got != "200 HTTP/1.1 from far" || <-asked != "GET pypi.example.com" {
		t.Error(got)
	}
	if got := fetch(c, "https://pypi.example.com/simple"); !strings.Contains(got, "Bad Gateway") || <-asked != "CONNECT pypi.example.com:443" {
		t.Error(got)
	}
	if got := fetch(c, "https://acct.dfs.core.windows.net/c"); !strings.HasPrefix(got, "200 HTTP/1.1 storage") || len(asked) != 0 {
		t.Errorf("an owned name left the machine: %s", got)
	}
}

func TestBox(t *testing.T) {
	p, dir, _ := running(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const proxy, web = "127.0.0.1:8789", "127.0.0.1:8787"
	box, err := sandbox.Start(t.Context(), sandbox.Spec{
		View: sandbox.View{Binds: []sandbox.Bind{
			{Src: exe, Dst: "/run/wherry/fetch", ReadOnly: true},
			{Src: egress.Directory(dir), Dst: "/run/wherry/ca", ReadOnly: true},
		}},
		Hosts:  egress.Hosts([]string{"acct"}, "adb-1.2.azuredatabricks.net", "kv.vault.azure.net", "pypi.org"),
		Listen: []string{"127.0.0.1:443", proxy, web},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = box.Close() })
	if !box.Isolated() {
		t.Skipf("no namespaces here: %v", box.Layers())
	}
	first := serveBox(t, p, box)
	direct := []string{"SSL_CERT_FILE=/run/wherry/ca/bundle.pem"}
	for _, env := range [][]string{direct, pairs(egress.Env("http://"+proxy, "/run/wherry/ca"))} {
		for u, want := range owned {
			if strings.HasPrefix(u, "http:") && len(env) == 1 {
				continue // nobody listens on port 80
			}
			if got := inBox(t, box, env, u); !strings.HasPrefix(got, want) {
				t.Errorf("%s: got %s, want %s", u, got, want)
			}
		}
		if got := inBox(t, box, env, "http://"+web+"/health"); got != "200 HTTP/1.1 web: "+web+" /health" {
			t.Errorf("our own address: %s", got)
		}
	}
	if got := inBox(t, box, direct, "https://pypi.org/"); !strings.Contains(got, "lookup") && !strings.Contains(got, "dial") {
		t.Errorf("there is a way around the proxy: %s", got)
	}
	// Another server takes over the same listeners.
	for _, l := range first {
		_ = l.Close()
	}
	serveBox(t, p, box)
	if got := inBox(t, box, direct, "https://acct.dfs.core.windows.net/c"); !strings.HasPrefix(got, "200") {
		t.Error(got)
	}
}

func serveBox(t *testing.T, p *egress.Proxy, box *sandbox.Box) (all []net.Listener) {
	t.Helper()
	for _, f := range box.Listeners() {
		l, err := net.FileListener(f)
		if err != nil {
			t.Fatal(err)
		}
		p.Serve(f.Name(), l)
		all = append(all, l)
	}
	return all
}

func pairs(env map[string]string) (list []string) {
	for name, value := range env {
		list = append(list, name+"="+value)
	}
	return list
}

// inBox fetches u with this program inside the box.
func inBox(t *testing.T, box *sandbox.Box, env []string, u string) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	program, err := box.Exec(sandbox.Command{Argv: []string{"/run/wherry/fetch", u}, Env: env, Files: []*os.File{nil, w, w}})
	_ = w.Close()
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := program.Wait(); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// TestTrust: a second start leaves the trust stores alone.
func TestTrust(t *testing.T) {
	_, dir, _ := running(t)
	store := filepath.Join(egress.Directory(dir), "truststore.p12")
	before, err := os.Stat(store)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := egress.New(dir); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(store)
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(before, after) {
		t.Error("the trust store was written again")
	}
	info, err := os.Stat(dir.Path("keys", "authority.pem"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the authority's key: %v %v", info.Mode(), err)
	}
}
