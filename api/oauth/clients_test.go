package oauth_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/databricks/databricks-sdk-go"
	"github.com/databricks/databricks-sdk-go/apierr"
	"github.com/databricks/databricks-sdk-go/service/iam"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/api/oauth"
	"github.com/wherry-ml/wherry/api/scim"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/egress"
	"github.com/wherry-ml/wherry/environment"
	"github.com/wherry-ml/wherry/sandbox"
	"github.com/wherry-ml/wherry/server/servertest"
	"github.com/wherry-ml/wherry/state"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/storetest"
)

func TestMain(m *testing.M) {
	sandbox.Main()
	os.Exit(m.Run())
}

// post sends JSON with the admin's token and reads the JSON answer.
func post(t *testing.T, s *servertest.Server, path, body string) map[string]any {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+s.Token)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var out map[string]any
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("POST %s: %s %v %v", path, res.Status, out, err)
	}
	return out
}

// principal makes a service principal as an admin would.
func principal(t *testing.T, s *servertest.Server) (client, secret string) {
	t.Helper()
	p := post(t, s, "/api/wherry/service-principals", `{"display_name": "ci"}`)
	return p["client_id"].(string), p["client_secret"].(string)
}

// environ is a plain environment with more variables.
func environ(more map[string]string) []string {
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "PYTHONDONTWRITEBYTECODE=1"}
	for k, v := range more {
		env = append(env, k+"="+v)
	}
	return env
}

func TestPythonOutsideSandbox(t *testing.T) {
	python := environment.ForTest(t).Python
	s := servertest.Start(t, nil)
	client, secret := principal(t, s)
	env := egress.Env(s.ProxyURL, egress.Directory(s.State))
	env["TEST_HOST"], env["TEST_TOKEN"], env["TEST_CLIENT"], env["TEST_SECRET"] = s.URL, s.Token, client, secret
	c := exec.Command(python, "testdata/clients.py", "entra", "workspace")
	c.Env = environ(env)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if want := "azure-identity\nrequests\ndatabricks-sdk azure\ndatabricks-sdk m2m\ndatabricks-sdk token\n"; string(out) != want {
		t.Errorf("got %s", out)
	}
}

// In a box there is no proxy variable to follow: the names themselves lead here.
func TestPythonInSandbox(t *testing.T) {
	python := environment.ForTest(t)
	dir := state.Dir(t.TempDir())
	if err := dir.Create(); err != nil {
		t.Fatal(err)
	}
	proxy, client, secret := assembled(t, dir)
	script, err := filepath.Abs("testdata/clients.py")
	if err != nil {
		t.Fatal(err)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	box, err := sandbox.Start(t.Context(), sandbox.Spec{
		View: sandbox.View{
			Binds: []sandbox.Bind{{Src: egress.Directory(dir), Dst: "/run/wherry/ca", ReadOnly: true}, {Src: script, Dst: "/run/wherry/clients.py", ReadOnly: true}},
			Hide:  []string{home}, Keep: python.Paths(),
		},
		Hosts: egress.Hosts(nil, "adb-1.1.azuredatabricks.net"), Listen: []string{"127.0.0.1:443"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = box.Close() })
	if !box.Isolated() {
		t.Skipf("no namespaces here: %v", box.Layers())
	}
	l, err := net.FileListener(box.Listeners()[0])
	if err != nil {
		t.Fatal(err)
	}
	proxy.Serve("443", l)
	env := egress.Env("", "/run/wherry/ca")
	for name := range env {
		if strings.HasSuffix(strings.ToLower(name), "_proxy") {
			delete(env, name)
		}
	}
	env["TEST_HOST"], env["TEST_CLIENT"], env["TEST_SECRET"] = "https://adb-1.1.azuredatabricks.net", client, secret
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p, err := box.Exec(sandbox.Command{Argv: []string{python.Python, "/run/wherry/clients.py", "entra", "workspace"}, Env: environ(env), Files: []*os.File{nil, w, w}})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if code, err := p.Wait(); code != 0 || err != nil {
		t.Errorf("code %d, %v\n%s", code, err, out)
	}
	if want := "azure-identity\nrequests\ndatabricks-sdk azure\ndatabricks-sdk m2m\n"; string(out) != want {
		t.Errorf("got %s", out)
	}
}

// assembled is sign-in behind a running proxy, without a whole server.
func assembled(t *testing.T, dir state.Dir) (proxy *egress.Proxy, client, secret string) {
	t.Helper()
	db := storetest.SQLite(t)
	signIn := auth.New(db).Keys(dir.Keys())
	if err := signIn.Bootstrap(t.Context(), "token"); err != nil {
		t.Fatal(err)
	}
	if err := db.Write(t.Context(), func(tx *store.Tx) error {
		p, s, err := auth.CreateServicePrincipal(tx, "", "ci", false)
		client, secret = p.ApplicationID, s
		return err
	}); err != nil {
		t.Fatal(err)
	}
	issuer := oauth.New(db, signIn)
	proxy, err := egress.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	web := issuer.Around(api.NewMux(signIn, append(issuer.Routes(), scim.New(db).Routes()...)...))
	proxy.Handle(egress.Handlers{Web: web, Workspace: web, SignIn: issuer.Entra()})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- proxy.Run(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return proxy, client, secret
}

func TestGoSDK(t *testing.T) {
	s := servertest.Start(t, nil)
	client, secret := principal(t, s)
	w, err := databricks.NewWorkspaceClient(&databricks.Config{Host: s.URL, ClientID: client, ClientSecret: secret, HTTPTimeoutSeconds: 120})
	if err != nil {
		t.Fatal(err)
	}
	me, err := w.CurrentUser.Me(t.Context(), iam.MeRequest{})
	if err != nil || me.UserName != client || w.Config.AuthType != "oauth-m2m" {
		t.Fatalf("me: %+v %v, signed in by %s", me, err, w.Config.AuthType)
	}
	// Until grants are enforced others than admins read only what is their own.
	_, err = w.UsersV2.ListAll(t.Context(), iam.ListUsersRequest{})
	if e, ok := errors.AsType[*apierr.APIError](err); !ok || e.StatusCode != http.StatusForbidden {
		t.Errorf("users: %v", err)
	}
	wrong, err := databricks.NewWorkspaceClient(&databricks.Config{Host: s.URL, ClientID: client, ClientSecret: "wrong", HTTPTimeoutSeconds: 120})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wrong.CurrentUser.Me(t.Context(), iam.MeRequest{}); err == nil {
		t.Error("a wrong secret was accepted") // the client hides our answer
	}
	admin, err := databricks.NewWorkspaceClient(&databricks.Config{Host: s.URL, Token: s.Token, HTTPTimeoutSeconds: 120})
	if err != nil {
		t.Fatal(err)
	}
	if me, err := admin.CurrentUser.Me(t.Context(), iam.MeRequest{}); err != nil || me.UserName != "admin@localhost" {
		t.Errorf("admin: %+v %v", me, err)
	}
	_, err = admin.GroupsV2.Create(t.Context(), iam.CreateGroupRequest{DisplayName: "team", Roles: []iam.ComplexValue{{Value: "arn"}}})
	if e, ok := errors.AsType[*apierr.APIError](err); !ok || e.StatusCode != http.StatusNotImplemented {
		t.Errorf("groups: %v", err)
	}
	_, err = admin.UsersV2.Get(t.Context(), iam.GetUserRequest{Id: "99"})
	if !apierr.IsMissing(err) {
		t.Errorf("missing user: %v", err)
	}
}

// TestOAuthErrors: clients read error and error_description.
func TestOAuthErrors(t *testing.T) {
	s := servertest.Start(t, nil)
	client, secret := principal(t, s)
	for _, c := range []struct {
		path   string
		form   url.Values
		status int
		code   string
	}{
		{"/oidc/v1/token", url.Values{}, 400, "unsupported_grant_type"},
		{"/oidc/v1/token", url.Values{"grant_type": {"client_credentials"}}, 401, "invalid_client"},
		{"/oidc/v1/token", url.Values{"grant_type": {"client_credentials"}, "client_id": {client}, "client_secret": {secret}, "scope": {"sql"}}, 400, "invalid_scope"},
		{"/t/oauth2/v2.0/token", url.Values{"grant_type": {"client_credentials"}, "client_id": {client}, "client_secret": {secret}}, 400, "invalid_scope"},
		{"/t/oauth2/token", url.Values{"grant_type": {"client_credentials"}, "client_id": {client}, "client_secret": {secret}}, 400, "invalid_request"},
		{"/t/oauth2/v2.0/token", url.Values{"grant_type": {"client_credentials"}, "client_id": {client}, "client_secret": {"x"}, "scope": {"https://storage.azure.com/.default"}}, 401, "invalid_client"},
		{"/t/oauth2/v2.0/token", url.Values{"grant_type": {"client_credentials"}, "client_id": {client}, "client_secret": {secret}, "scope": {"https://storage.azure.com/.default"}}, 200, ""},
		{"/t/oauth2/v2.0/devicecode", url.Values{}, 404, ""},
	} {
		res, err := http.PostForm(s.URL+c.path, c.form)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		var doc struct{ Error string }
		_ = json.Unmarshal(body, &doc)
		if res.StatusCode != c.status || doc.Error != c.code || c.status == 200 && res.ContentLength <= 0 {
			t.Errorf("%s %v: got %d %s, want %d %s", c.path, c.form, res.StatusCode, body, c.status, c.code)
		}
	}
}

// A task may not make itself a token that outlives it.
func TestTaskMakesNoToken(t *testing.T) {
	db := storetest.SQLite(t)
	signIn := auth.New(db)
	if err := signIn.Bootstrap(t.Context(), "token"); err != nil {
		t.Fatal(err)
	}
	var token string
	if err := db.Write(t.Context(), func(tx *store.Tx) (err error) {
		_, token, err = auth.IssueToken(tx, wherry.DefaultWorkspace, 1, 7, "", 0)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/api/2.0/token/create", bytes.NewReader([]byte("{}")))
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	api.NewMux(signIn, oauth.New(db, signIn).Routes()...).ServeHTTP(w, r)
	if w.Code != http.StatusForbidden {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}
