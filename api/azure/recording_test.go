package azure_test

import (
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/store"
)

// sent are the bodies of the recorded requests, by method and the end of the
// path. SELF is the caller's object id, CONNECTOR the access connector's, APP the
// application's client id.
var sent = []struct{ method, suffix, body string }{
	{"PUT", "/resourceGroups/rg-mlops", `{"location":"westeurope","tags":{}}`},
	{"PUT", "/workspaces/dbw-mlops", `{"location":"westeurope","properties":{"computeMode":"Hybrid","managedResourceGroupId":"` + subscription + `/resourceGroups/databricks-rg-rg-mlops","parameters":{"prepareEncryption":{"value":false},"requireInfrastructureEncryption":{"value":false}},"publicNetworkAccess":"Enabled"},"sku":{"name":"premium"},"tags":{}}`},
	{"PUT", "/accessConnectors/ac", `{"identity":{"type":"SystemAssigned","userAssignedIdentities":null},"location":"westeurope","name":"ac","tags":null}`},
	{"PUT", "/storageAccounts/samlops123", `{"identity":{"type":"None","userAssignedIdentities":null},"kind":"StorageV2","location":"westeurope","properties":{"accessTier":"Hot","allowBlobPublicAccess":false,"allowCrossTenantReplication":false,"allowSharedKeyAccess":true,"defaultToOAuthAuthentication":false,"dnsEndpointType":"Standard","encryption":{"keySource":"Microsoft.Storage","services":{"queue":{"keyType":"Service"},"table":{"keyType":"Service"}}},"isHnsEnabled":true,"isLocalUserEnabled":true,"isNfsV3Enabled":false,"isSftpEnabled":false,"minimumTlsVersion":"TLS1_2","networkAcls":null,"publicNetworkAccess":"Enabled","supportsHttpsTrafficOnly":true},"sku":{"name":"Standard_LRS","tier":"Standard"},"tags":{}}`},
	{"PUT", "/containers/bronze", `{"properties":{"metadata":{},"publicAccess":"None"}}`},
	{"PUT", "/roleAssignments/5f9df2fe-1727-9a18-5c06-eb015419d78a", `{"properties":{"description":"","principalId":"CONNECTOR","roleDefinitionId":"/providers/Microsoft.Authorization/roleDefinitions/ba92f5b4-2d11-453d-a403-e96b0029c9fe"}}`},
	{"POST", "/applications", `{"@odata.type":"#microsoft.graph.application","api":{"acceptMappedClaims":false,"knownClientApplications":[],"oauth2PermissionScopes":[],"requestedAccessTokenVersion":1},"appRoles":[],"description":null,"displayName":"mlops-sp","groupMembershipClaims":null,"identifierUris":[],"owners@odata.bind":["https://graph.microsoft.com/v1.0/directoryObjects/SELF"]}`},
	{"PATCH", "/applications/1", `{"@odata.type":"#microsoft.graph.application","displayName":"TERRAFORM_UPDATE_876d2d57-7633-1192-51c2-802d0c2e90ec"}`},
	{"PATCH", "/applications/2", `{"@odata.type":"#microsoft.graph.application","displayName":"mlops-sp"}`},
	{"POST", "/servicePrincipals", `{"@odata.type":"#microsoft.graph.servicePrincipal","accountEnabled":true,"alternativeNames":[],"appId":"APP","appRoleAssignmentRequired":false,"description":"TERRAFORM_UPDATE_1ebe717d-e91e-0d83-2575-321a7b66b44d","loginUrl":null,"notes":null,"notificationEmailAddresses":[],"owners@odata.bind":["https://graph.microsoft.com/v1.0/directoryObjects/SELF"]}`},
	{"PATCH", "/servicePrincipals/1", `{"@odata.type":"#microsoft.graph.servicePrincipal","description":null}`},
	{"POST", "/addPassword", `{"passwordCredential":{}}`},
}

// replay sends a recording's requests in their order and checks each status. It
// returns the last answer to each path.
func (s *site) replay(file string) map[string]doc {
	s.Helper()
	b, err := os.ReadFile("testdata/" + file)
	if err != nil {
		s.Fatal(err)
	}
	answers, patched := map[string]doc{}, map[string]int{}
	names := strings.NewReplacer("00000000-0000-0000-0000-00000000000a", s.admin.object)
	bodies := strings.NewReplacer("SELF", s.admin.object)
	tokens := map[string]string{management: s.token(s.admin, management), graph: s.token(s.admin, graph)}
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		method, path, status := fields[0], names.Replace(fields[1]), fields[2]
		host, bare := management, strings.Split(path, "?")[0]
		switch {
		case strings.HasSuffix(path, "/token"):
			s.token(s.admin, host) // the form is another, the call the same
			continue
		case strings.HasPrefix(path, "/v1.0/"), strings.HasPrefix(path, "/beta/"):
			host = graph
		}
		body := ""
		for _, one := range sent {
			at := bare
			if method == "PATCH" {
				kind := strings.Split(bare, "/")[2]
				at = "/" + kind + "/" + string(rune('1'+patched[kind]))
			}
			if one.method == method && strings.HasSuffix(at, one.suffix) {
				body = bodies.Replace(one.body)
			}
		}
		if method == "PATCH" {
			patched[strings.Split(bare, "/")[2]]++
		}
		got, out, _ := s.call(tokens[host], method, host+path, body)
		if have := http.StatusText(got); got/100 != int(status[0]-'0') || status == "404" && got != 404 {
			s.Fatalf("%s %s: %d %s %v, recorded %s", method, path, got, have, out, status)
		}
		answers[method+" "+bare] = out
		switch { // what the recording's ids are here
		case method == "POST" && strings.HasSuffix(path, "/applications"):
			names = strings.NewReplacer("00000000-0000-0000-0000-00000000000a", s.admin.object, "00000000-0000-0000-0000-000000000100", str(out, "id"), "00000000-0000-0000-1111-000000000100", str(out, "appId"))
			bodies = strings.NewReplacer("SELF", s.admin.object, "APP", str(out, "appId"))
		case method == "POST" && strings.HasSuffix(path, "/servicePrincipals"):
			app := answers["POST /v1.0/applications"]
			names = strings.NewReplacer("00000000-0000-0000-0000-00000000000a", s.admin.object, "00000000-0000-0000-0000-000000000100", str(app, "id"), "00000000-0000-0000-1111-000000000100", str(app, "appId"), "00000000-0000-0000-0000-000000000101", str(out, "id"))
		case method == "PUT" && strings.HasSuffix(bare, "/accessConnectors/ac"):
			bodies = strings.NewReplacer("CONNECTOR", str(out, "identity", "principalId"))
		}
	}
	return answers
}

// TestAzurermRecording: what azurerm sends is answered as it expects, and what
// it made is there: the account stores, the workspace serves.
func TestAzurermRecording(t *testing.T) {
	s := newSite(t)
	answers := s.replay("azurerm.txt")
	made := answers["GET "+account]
	if str(made, "properties", "primaryEndpoints", "dfs") != "https://samlops123.dfs.core.windows.net/" || str(made, "properties", "provisioningState") != "Succeeded" || str(made, "sku", "tier") != "Standard" {
		t.Errorf("account: %v", made)
	}
	if at(made, "identity") != nil || at(made, "properties", "isHnsEnabled") != true {
		t.Errorf("account: %v", made)
	}
	ac := answers["GET "+group+"/providers/Microsoft.Databricks/accessConnectors/ac"]
	assigned := answers["GET "+account+"/providers/Microsoft.Authorization/roleAssignments/5f9df2fe-1727-9a18-5c06-eb015419d78a"]
	if id := str(ac, "identity", "principalId"); id == "" || str(assigned, "properties", "principalId") != id || str(assigned, "properties", "principalType") != "ServicePrincipal" || str(assigned, "properties", "scope") != account {
		t.Errorf("connector %v, assignment %v", ac, assigned)
	}
	keys := answers["POST "+account+"/listKeys"]
	if len(str(keys, "keys", "value")) < 80 {
		t.Errorf("keys: %v", keys)
	}

	host := "https://" + str(answers["GET "+group+"/providers/Microsoft.Databricks/workspaces/dbw-mlops"], "properties", "workspaceUrl")
	token := s.token(s.admin, auth.AudienceWorkspace)
	if me := s.want(http.StatusOK, token, "GET", host+"/api/2.0/preview/scim/v2/Me", ""); str(me, "userName") != s.admin.client {
		t.Errorf("me: %v", me)
	}
	// A storage credential of Unity Catalog names the connector.
	s.want(http.StatusOK, token, "POST", host+"/api/2.1/unity-catalog/storage-credentials", `{"name":"lake","azure_managed_identity":{"access_connector_id":"`+str(ac, "id")+`"},"skip_validation":true}`)
	got := s.want(http.StatusOK, token, "GET", host+"/api/2.1/unity-catalog/storage-credentials/lake", "")
	if str(got, "azure_managed_identity", "access_connector_id") != str(ac, "id") {
		t.Errorf("credential: %v", got)
	}
	s.groupDeleted(host, token, str(ac, "identity", "principalId"))
}

// groupDeleted deletes the resource group, and with it all that was in it.
func (s *site) groupDeleted(host, token, connector string) {
	s.Helper()
	admin, data := s.token(s.admin, management), s.token(s.admin, auth.AudienceStorage)
	const blob = "https://samlops123.blob.core.windows.net/bronze/x"
	if got := s.file(data, "PUT", blob); got != http.StatusCreated {
		s.Fatalf("write: %d", got)
	}
	list := s.want(http.StatusOK, admin, "GET", management+group+"/resources?api-version=2021-04-01", "")
	if n := len(at(list, "value").([]any)); n != 3 {
		s.Errorf("%d resources: %v", n, list)
	}
	s.want(http.StatusOK, admin, "DELETE", management+group+"?api-version=2023-07-01", "")
	s.refused(http.StatusNotFound, "ResourceGroupNotFound", admin, "GET", management+account+"?api-version=2025-08-01", "")
	s.refused(http.StatusNotFound, "ResourceGroupNotFound", admin, "GET", management+subscription+"/resourceGroups/databricks-rg-rg-mlops?api-version=2023-07-01", "")
	if got := s.file(data, "GET", blob); got != http.StatusNotFound {
		s.Errorf("a file of a deleted account: %d", got)
	}
	if _, err := os.Stat(s.State.Path("lake", "samlops123")); !os.IsNotExist(err) {
		s.Errorf("the files of a deleted account: %v", err)
	}
	if status, out, _ := s.call(token, "GET", host+"/api/2.0/preview/scim/v2/Me", ""); status != http.StatusNotFound {
		s.Errorf("a deleted workspace: %d %v", status, out)
	}
	s.refused(http.StatusNotFound, "Request_ResourceNotFound", s.token(s.admin, graph), "GET", graph+"/v1.0/servicePrincipals/"+connector, "")
	// The name is free again, and nothing of the former account is there.
	s.group()
	s.account(admin, "samlops123")
	if got := s.file(data, "GET", blob); got != http.StatusNotFound {
		s.Errorf("a file of the former account: %d", got)
	}
}

// TestAzureadRecording: what azuread sends is answered as it expects, and the
// service principal that it made signs in everywhere until it is deleted.
func TestAzureadRecording(t *testing.T) {
	s := newSite(t)
	answers := s.replay("azuread.txt")
	app := answers["POST /v1.0/applications"]
	object := str(answers["POST /v1.0/servicePrincipals"], "id")
	path := "/v1.0/servicePrincipals/" + object
	sp, password := answers["GET "+path], answers["POST "+path+"/addPassword"]
	if str(sp, "displayName") != "mlops-sp" || at(sp, "description") != nil || str(sp, "passwordCredentials", "keyId") != str(password, "keyId") || at(sp, "passwordCredentials", "secretText") != nil {
		t.Errorf("service principal: %v", sp)
	}
	if owners := answers["GET "+path+"/owners"]; len(at(owners, "value").([]any)) != 0 {
		t.Errorf("owners: %v", owners)
	}
	p := principal{str(app, "appId"), str(password, "secretText"), object}
	claims := s.claims(s.token(p, management))
	if str(claims, "oid") != object || str(claims, "appid") != p.client || str(claims, "tid") != tenant {
		t.Errorf("claims: %v", claims)
	}
	status, out := s.form(s.URL+"/oidc/v1/token", url.Values{"grant_type": {"client_credentials"}, "client_id": {p.client}, "client_secret": {p.secret}, "scope": {"all-apis"}})
	if status != http.StatusOK {
		t.Fatalf("%d %v", status, out)
	}
	me := s.want(http.StatusOK, str(out, "access_token"), "GET", s.URL+"/api/2.0/preview/scim/v2/Me", "")
	found := s.want(http.StatusOK, s.Token, "GET", s.URL+"/api/2.0/preview/scim/v2/ServicePrincipals?filter="+url.QueryEscape(`applicationId eq "`+p.client+`"`), "")
	if str(found, "Resources", "id") != str(me, "id") || str(found, "Resources", "displayName") != "mlops-sp" {
		t.Errorf("SCIM has %v, signed in as %v", found, me)
	}

	token := s.token(s.admin, graph)
	s.want(http.StatusNoContent, token, "DELETE", graph+path, "")
	s.want(http.StatusNotFound, token, "GET", graph+path, "")
	s.noSignIn(p)
	s.want(http.StatusNoContent, token, "DELETE", graph+"/v1.0/applications/"+str(app, "id"), "")
	s.want(http.StatusNotFound, token, "GET", graph+"/v1.0/applications/"+str(app, "id"), "")
	s.write(func(tx *store.Tx) error {
		if _, err := auth.PrincipalByClient(tx, p.client); err == nil {
			t.Error("the principal of a deleted application is there")
		}
		return nil
	})
}

func (s *site) noSignIn(p principal) {
	s.Helper()
	status, out := s.form("https://login.microsoftonline.com/"+tenant+"/oauth2/v2.0/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {p.client}, "client_secret": {p.secret}, "scope": {management + "/.default"},
	})
	if status == http.StatusOK {
		s.Errorf("a deleted service principal signed in: %v", out)
	}
}
