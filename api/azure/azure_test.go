package azure_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/egress"
	"github.com/wherry-ml/wherry/server/servertest"
	"github.com/wherry-ml/wherry/store"
)

func TestMain(m *testing.M) { os.Exit(servertest.Main(m)) }

type doc = map[string]any

const (
	tenant       = "11111111-1111-1111-1111-111111111111"
	subscription = "/subscriptions/00000000-0000-0000-0000-0000000000aa"
	group        = subscription + "/resourceGroups/rg-mlops"
	account      = group + "/providers/Microsoft.Storage/storageAccounts/samlops123"
	management   = "https://management.azure.com"
	graph        = "https://graph.microsoft.com"
)

// site is a server with a client behind its proxy.
type site struct {
	*testing.T
	*servertest.Server
	http *http.Client
	// admin is a service principal of an admin's.
	admin principal
}

type principal struct{ client, secret, object string }

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{T: t, Server: servertest.Start(t, nil)}
	bundle, err := os.ReadFile(filepath.Join(egress.Directory(s.State), "bundle.pem"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(bundle)
	proxy, err := url.Parse(s.ProxyURL)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	s.http = &http.Client{Transport: transport}
	s.admin = s.principal("terraform", true)
	return s
}

// principal makes a service principal that is none of Graph's.
func (s *site) principal(name string, admin bool) (p principal) {
	s.Helper()
	s.write(func(tx *store.Tx) error {
		made, secret, err := auth.CreateServicePrincipal(tx, "", name, admin)
		p = principal{made.ApplicationID, secret, auth.ObjectID(made)}
		return err
	})
	return p
}

// write changes the database beside the server, as its own process would.
func (s *site) write(fn func(*store.Tx) error) {
	s.Helper()
	db, err := store.Open(s.Context(), "sqlite://"+s.State.Path("wherry.db"))
	if err != nil {
		s.Fatal(err)
	}
	defer db.Close()
	if err := db.Write(s.Context(), fn); err != nil {
		s.Fatal(err)
	}
}

// client is the one that reaches an address: the proxy leads to nothing on this
// machine.
func (s *site) client(where string) *http.Client {
	if strings.HasPrefix(where, s.URL) {
		return http.DefaultClient
	}
	return s.http
}

// form posts a form and returns the answer.
func (s *site) form(where string, form url.Values) (int, doc) {
	s.Helper()
	res, err := s.client(where).PostForm(where, form)
	if err != nil {
		s.Fatal(err)
	}
	defer res.Body.Close()
	var out doc
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
		s.Fatal(err)
	}
	return res.StatusCode, out
}

// token signs in at Entra.
func (s *site) token(p principal, resource string) string {
	s.Helper()
	status, out := s.form("https://login.microsoftonline.com/"+tenant+"/oauth2/v2.0/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {p.client}, "client_secret": {p.secret}, "scope": {resource + "/.default"},
	})
	if status != http.StatusOK {
		s.Fatalf("sign-in: %d %v", status, out)
	}
	return out["access_token"].(string)
}

// call makes a request with a token for the host, "" for none.
func (s *site) call(token, method, where, body string) (int, doc, http.Header) {
	s.Helper()
	r, err := http.NewRequestWithContext(s.Context(), method, where, strings.NewReader(body))
	if err != nil {
		s.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	r.Header.Set("Content-Type", "application/json")
	res, err := s.client(where).Do(r)
	if err != nil {
		s.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		s.Fatal(err)
	}
	var out doc
	if len(bytes.TrimSpace(b)) > 0 {
		if err := json.Unmarshal(b, &out); err != nil {
			s.Fatalf("%s %s: %d %s: %v", method, where, res.StatusCode, b, err)
		}
	}
	return res.StatusCode, out, res.Header
}

// want makes a request and fails unless the status is the one wanted.
func (s *site) want(status int, token, method, where, body string) doc {
	s.Helper()
	got, out, _ := s.call(token, method, where, body)
	if got != status {
		s.Fatalf("%s %s: %d %v, want %d", method, where, got, out, status)
	}
	return out
}

// refused makes a request and fails unless it is answered with status and code.
func (s *site) refused(status int, code, token, method, where, body string) {
	s.Helper()
	got, out, _ := s.call(token, method, where, body)
	have, _ := out["error"].(map[string]any)
	if got != status || have["code"] != code || have["message"] == "" {
		s.Errorf("%s %s: %d %v, want %d %s", method, where, got, out, status, code)
	}
}

// at returns the value at a path of a document.
func at(v any, path ...string) any {
	for _, name := range path {
		switch x := v.(type) {
		case map[string]any:
			v = x[name]
		case []any:
			if len(x) == 0 {
				return nil
			}
			v = x[0]
			if name != "0" {
				v = at(v, name)
			}
		default:
			return nil
		}
	}
	return v
}

func str(v any, path ...string) string {
	s, _ := at(v, path...).(string)
	return s
}

// group makes the resource group of the tests.
func (s *site) group() (token string) {
	s.Helper()
	token = s.token(s.admin, management)
	s.want(http.StatusCreated, token, "PUT", management+group+"?api-version=2023-07-01", `{"location":"West Europe","tags":{}}`)
	return token
}

func (s *site) account(token, name string) {
	s.Helper()
	s.want(http.StatusOK, token, "PUT", management+group+"/providers/Microsoft.Storage/storageAccounts/"+name+"?api-version=2025-08-01",
		`{"location":"westeurope","kind":"StorageV2","sku":{"name":"Standard_LRS"},"properties":{"isHnsEnabled":true}}`)
}

// assign gives a principal a role by name.
func (s *site) assign(token, scope, role, object string) (id string) {
	s.Helper()
	found := s.want(http.StatusOK, token, "GET", management+scope+"/providers/Microsoft.Authorization/roleDefinitions?api-version=2022-05-01-preview&$filter="+url.QueryEscape("roleName eq '"+role+"'"), "")
	id = scope + "/providers/Microsoft.Authorization/roleAssignments/" + auth.NewGUID()
	body, err := json.Marshal(doc{"properties": doc{"principalId": object, "roleDefinitionId": str(found, "value", "id")}})
	if err != nil {
		s.Fatal(err)
	}
	s.want(http.StatusCreated, token, "PUT", management+id+"?api-version=2022-04-01", string(body))
	return id
}

// file reads or writes a file of an account, and returns the status.
func (s *site) file(token, method, where string) int {
	s.Helper()
	r, err := http.NewRequestWithContext(s.Context(), method, where, strings.NewReader("text"))
	if err != nil {
		s.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("x-ms-blob-type", "BlockBlob")
	res, err := s.http.Do(r)
	if err != nil {
		s.Fatal(err)
	}
	res.Body.Close()
	return res.StatusCode
}

// TestRoles: who is no admin may do what a role allows, where it was given, and
// no longer once it was taken away; the storage endpoint goes by the same.
func TestRoles(t *testing.T) {
	s := newSite(t)
	admin := s.group()
	s.account(admin, "samlops123")
	s.account(admin, "other1")
	s.want(http.StatusCreated, admin, "PUT", management+account+"/blobServices/default/containers/bronze?api-version=2025-08-01", `{"properties":{"metadata":{"a":"b"},"publicAccess":"None"}}`)
	robot := s.principal("robot", false)
	mine, data := s.token(robot, management), s.token(robot, auth.AudienceStorage)
	s.refused(http.StatusForbidden, "AuthorizationFailed", mine, "GET", management+group+"?api-version=2023-07-01", "")
	s.refused(http.StatusForbidden, "AuthorizationFailed", mine, "GET", management+subscription+"/resourceGroups?api-version=2023-07-01", "")
	const blob = "https://samlops123.blob.core.windows.net/bronze/x"
	if got := s.file(data, "PUT", blob); got != http.StatusForbidden {
		t.Fatalf("a write without a role: %d", got)
	}

	reader := s.assign(admin, account, "Storage Blob Data Reader", robot.object)
	if put, get := s.file(data, "PUT", blob), s.file(data, "GET", blob); put != http.StatusForbidden || get != http.StatusNotFound {
		t.Fatalf("a reader's write and read: %d %d", put, get)
	}
	writer := s.assign(admin, account+"/blobServices/default/containers/bronze", "Storage Blob Data Contributor", robot.object)
	if put, get := s.file(data, "PUT", blob), s.file(data, "GET", blob); put != http.StatusCreated || get != http.StatusOK {
		t.Fatalf("a contributor's write and read: %d %d", put, get)
	}
	if put := s.file(data, "PUT", "https://samlops123.blob.core.windows.net/silver?restype=container"); put != http.StatusForbidden {
		t.Errorf("a container beside the one that the role is on: %d", put)
	}
	if get := s.file(data, "GET", "https://other1.blob.core.windows.net/bronze/x"); get != http.StatusForbidden {
		t.Errorf("another account: %d", get)
	}
	for _, id := range []string{reader, writer} {
		s.want(http.StatusOK, admin, "DELETE", management+id+"?api-version=2022-04-01", "")
		s.want(http.StatusNoContent, admin, "DELETE", management+id+"?api-version=2022-04-01", "")
	}
	if get := s.file(data, "GET", blob); get != http.StatusForbidden {
		t.Errorf("after the roles were taken away: %d", get)
	}

	s.assign(admin, group, "Contributor", robot.object)
	s.want(http.StatusOK, mine, "GET", management+account+"?api-version=2025-08-01", "")
	s.want(http.StatusOK, mine, "POST", management+account+"/listKeys?api-version=2025-08-01", "")
	s.refused(http.StatusForbidden, "AuthorizationFailed", mine, "PUT", management+group+"/providers/Microsoft.Authorization/roleAssignments/"+auth.NewGUID()+"?api-version=2022-04-01", `{}`)
	s.refused(http.StatusForbidden, "AuthorizationFailed", mine, "PUT", management+subscription+"/resourceGroups/another?api-version=2023-07-01", `{"location":"westeurope"}`)

	// A role of a group is one of its members'.
	member := s.principal("member", false)
	directory := s.token(s.admin, graph)
	made := s.want(http.StatusCreated, directory, "POST", graph+"/v1.0/groups", `{"displayName":"readers","mailNickname":"readers","mailEnabled":false,"securityEnabled":true}`)
	s.want(http.StatusNoContent, directory, "POST", graph+"/v1.0/groups/"+str(made, "id")+"/members/$ref", `{"@odata.id":"https://graph.microsoft.com/v1.0/directoryObjects/`+member.object+`"}`)
	theirs := s.token(member, management)
	s.refused(http.StatusForbidden, "AuthorizationFailed", theirs, "GET", management+account+"?api-version=2025-08-01", "")
	s.assign(admin, subscription, "Reader", str(made, "id"))
	s.want(http.StatusOK, theirs, "GET", management+account+"?api-version=2025-08-01", "")
	s.refused(http.StatusForbidden, "AuthorizationFailed", theirs, "POST", management+account+"/listKeys?api-version=2025-08-01", "")
	if list := s.want(http.StatusOK, theirs, "GET", management+"/subscriptions?api-version=2022-12-01", ""); str(list, "value", "subscriptionId") != "00000000-0000-0000-0000-0000000000aa" {
		t.Errorf("subscriptions: %v", list)
	}
}

// TestErrors: what is wrong is told as Azure tells it.
func TestErrors(t *testing.T) {
	s := newSite(t)
	token := s.group()
	s.account(token, "samlops123")
	v := "?api-version=2023-07-01"
	for _, c := range []struct {
		status             int
		code, method, path string
		body               string
	}{
		{404, "ResourceGroupNotFound", "GET", subscription + "/resourceGroups/none" + v, ""},
		{404, "ResourceGroupNotFound", "DELETE", subscription + "/resourceGroups/none" + v, ""},
		{404, "ResourceGroupNotFound", "GET", subscription + "/resourceGroups/none/resources" + v, ""},
		{404, "ResourceNotFound", "GET", group + "/providers/Microsoft.Storage/storageAccounts/none" + v, ""},
		{404, "ParentResourceNotFound", "GET", group + "/providers/Microsoft.Storage/storageAccounts/none/blobServices/default/containers/x" + v, ""},
		{404, "ContainerNotFound", "GET", account + "/blobServices/default/containers/none" + v, ""},
		{404, "InvalidResourceType", "PUT", group + "/providers/Microsoft.Network/virtualNetworks/vnet" + v, "{}"},
		{404, "InvalidResourceNamespace", "GET", group + "/providers/Contoso.Web/sites/x" + v, ""},
		{400, "MissingApiVersionParameter", "GET", group, ""},
		{400, "MissingApiVersionParameter", "GET", account, ""},
		{400, "InvalidApiVersionParameter", "GET", group + "?api-version=1999-01-01", ""},
		{400, "NoRegisteredProviderFound", "GET", account + "?api-version=2014-01-01", ""},
		{400, "NoRegisteredProviderFound", "GET", account + "?api-version=latest", ""},
		{400, "InvalidSubscriptionId", "GET", "/subscriptions/mine/resourceGroups" + v, ""},
		{400, "LocationRequired", "PUT", subscription + "/resourceGroups/new" + v, "{}"},
		{409, "InvalidResourceGroupLocation", "PUT", group + v, `{"location":"eastus"}`},
		{400, "InvalidRequestContent", "PUT", group + v, `[`},
		{400, "AccountNameInvalid", "PUT", group + "/providers/Microsoft.Storage/storageAccounts/Not_Valid" + v, `{"location":"westeurope"}`},
		{409, "InvalidResourceLocation", "PUT", account + v, `{"location":"eastus"}`},
		{400, "InvalidResourceName", "PUT", group + "/providers/Microsoft.Databricks/workspaces/a%20b" + v, `{"location":"westeurope"}`},
		{400, "InvalidScope", "PUT", group + "/../other/providers/Microsoft.Authorization/roleAssignments/" + auth.NewGUID() + v, `{"properties":{"principalId":"` + s.admin.object + `","roleDefinitionId":"/x/acdd72a7-3385-48ef-bd42-f606fba81ae7"}}`},
		{501, "NotImplemented", "POST", account + "/failover" + v, ""},
		{404, "RoleDefinitionDoesNotExist", "PUT", group + "/providers/Microsoft.Authorization/roleAssignments/" + auth.NewGUID() + v, `{"properties":{"principalId":"` + s.admin.object + `","roleDefinitionId":"x"}}`},
		{400, "PrincipalNotFound", "PUT", group + "/providers/Microsoft.Authorization/roleAssignments/" + auth.NewGUID() + v, `{"properties":{"principalId":"` + s.admin.client + `","roleDefinitionId":"/x/acdd72a7-3385-48ef-bd42-f606fba81ae7"}}`},
		{404, "RoleAssignmentNotFound", "GET", group + "/providers/Microsoft.Authorization/roleAssignments/" + auth.NewGUID() + v, ""},
	} {
		s.refused(c.status, c.code, token, c.method, management+c.path, c.body)
	}
	s.refused(http.StatusUnauthorized, "AuthenticationFailed", "", "GET", management+group+v, "")
	s.refused(http.StatusUnauthorized, "InvalidAuthenticationToken", s.token(s.admin, graph), "GET", management+group+v, "")
	s.refused(http.StatusUnauthorized, "InvalidAuthenticationToken", s.Token, "GET", management+group+v, "")
	s.refused(http.StatusNotFound, "Request_ResourceNotFound", s.token(s.admin, graph), "GET", graph+"/v1.0/applications/"+auth.NewGUID(), "")
	s.refused(http.StatusNotImplemented, "NotImplemented", s.token(s.admin, graph), "GET", graph+"/v1.0/identity/conditionalAccess/policies", "")
}
