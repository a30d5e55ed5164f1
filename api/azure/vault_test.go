package azure_test

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry/auth"
)

// TestVault: secrets are kept sealed, have versions, and are for those whom a
// role or an access policy lets in.
func TestVault(t *testing.T) {
	s := newSite(t)
	admin := s.group()
	const host, v = "https://kv-mlops.vault.azure.net", "?api-version=7.4"
	vault := group + "/providers/Microsoft.KeyVault/vaults/kv-mlops"
	put := func(status int, more string) {
		t.Helper()
		s.want(status, admin, "PUT", management+vault+"?api-version=2023-02-01", `{"location":"westeurope","properties":{"tenantId":"`+tenant+`","sku":{"family":"A","name":"standard"}`+more+`}}`)
	}
	s.refused(http.StatusNotFound, "VaultNotFound", s.token(s.admin, auth.AudienceVault), "GET", host+"/secrets"+v, "")
	put(http.StatusCreated, "")
	_, _, header := s.call("", "GET", host+"/secrets/db"+v, "")
	if c := header.Get("WWW-Authenticate"); !strings.Contains(c, `resource="https://vault.azure.net"`) || !strings.Contains(c, `authorization="https://login.microsoftonline.com/`) {
		t.Errorf("challenge %q", c)
	}
	token := s.token(s.admin, auth.AudienceVault)
	s.refused(http.StatusNotFound, "SecretNotFound", token, "GET", host+"/secrets/db"+v, "")
	first := s.want(http.StatusOK, token, "PUT", host+"/secrets/db"+v, `{"value":"correct-horse-1","contentType":"text/plain","tags":{"a":"b"}}`)
	s.want(http.StatusOK, token, "PUT", host+"/secrets/db"+v, `{"value":"correct-horse-2"}`)
	if got := s.want(http.StatusOK, token, "GET", host+"/secrets/db"+v, ""); str(got, "value") != "correct-horse-2" || at(got, "attributes", "enabled") != true {
		t.Errorf("newest: %v", got)
	}
	if got := s.want(http.StatusOK, token, "GET", str(first, "id")+v, ""); str(got, "value") != "correct-horse-1" || str(got, "contentType") != "text/plain" || str(got, "tags", "a") != "b" {
		t.Errorf("first: %v", got)
	}
	if got := s.want(http.StatusOK, token, "GET", host+"/secrets/db/versions"+v, ""); len(at(got, "value").([]any)) != 2 || at(got, "value", "value") != nil {
		t.Errorf("versions: %v", got)
	}
	for _, name := range []string{"wherry.db", "wherry.db-wal"} {
		if b, err := os.ReadFile(s.State.Path(name)); err == nil && strings.Contains(string(b), "correct-horse") {
			t.Errorf("%s holds a secret in clear", name)
		}
	}

	robot := s.principal("robot", false)
	theirs := s.token(robot, auth.AudienceVault)
	s.refused(http.StatusForbidden, "Forbidden", theirs, "GET", host+"/secrets/db"+v, "")
	put(http.StatusOK, `,"accessPolicies":[{"tenantId":"`+tenant+`","objectId":"`+robot.object+`","permissions":{"secrets":["get"]}}]`)
	s.want(http.StatusOK, theirs, "GET", host+"/secrets/db"+v, "")
	s.refused(http.StatusForbidden, "Forbidden", theirs, "PUT", host+"/secrets/db"+v, `{"value":"x"}`)
	put(http.StatusOK, `,"enableRbacAuthorization":true`)
	s.refused(http.StatusForbidden, "Forbidden", theirs, "GET", host+"/secrets/db"+v, "")
	s.assign(admin, vault, "Key Vault Secrets User", robot.object)
	s.want(http.StatusOK, theirs, "GET", host+"/secrets/db"+v, "")
	s.refused(http.StatusForbidden, "Forbidden", theirs, "DELETE", host+"/secrets/db"+v, "")

	s.want(http.StatusOK, token, "DELETE", host+"/secrets/db"+v, "")
	s.refused(http.StatusNotFound, "SecretNotFound", token, "GET", host+"/secrets/db"+v, "")
	s.refused(http.StatusConflict, "Conflict", token, "PUT", host+"/secrets/db"+v, `{"value":"x"}`)
	s.want(http.StatusOK, token, "POST", host+"/deletedsecrets/db/recover"+v, "")
	if got := s.want(http.StatusOK, token, "GET", host+"/secrets/db"+v, ""); str(got, "value") != "correct-horse-2" {
		t.Errorf("recovered: %v", got)
	}
	s.want(http.StatusOK, token, "DELETE", host+"/secrets/db"+v, "")
	s.want(http.StatusNoContent, token, "DELETE", host+"/deletedsecrets/db"+v, "")
	s.refused(http.StatusNotFound, "SecretNotFound", token, "GET", host+"/deletedsecrets/db"+v, "")
	s.refused(http.StatusNotImplemented, "NotImplemented", token, "GET", host+"/keys/k"+v, "")
	purge := management + subscription + "/providers/Microsoft.KeyVault/locations/westeurope/deletedVaults/kv-mlops/purge?api-version=2023-07-01"
	s.refused(http.StatusNotFound, "DeletedVaultNotFound", admin, "POST", purge, "")
	s.want(http.StatusOK, admin, "DELETE", management+vault+"?api-version=2023-02-01", "")
	s.refused(http.StatusForbidden, "AuthorizationFailed", s.token(robot, management), "POST", purge, "")
	status, _, header := s.call(admin, "POST", purge, "")
	if status != http.StatusAccepted {
		t.Fatalf("purge: %d", status)
	}
	end := header.Get("Location")
	s.refused(http.StatusForbidden, "AuthorizationFailed", s.token(robot, management), "GET", end, "")
	s.refused(http.StatusMethodNotAllowed, "HttpMethodNotSupported", admin, "DELETE", end, "")
	s.refused(http.StatusNotFound, "NotFound", admin, "GET", strings.Replace(end, "/purge?", "/other?", 1), "")
	s.refused(http.StatusNotFound, "DeletedVaultNotFound", admin, "POST", strings.Replace(purge, "kv-mlops", "kv-never", 1), "")
	if status, _, header := s.call(admin, "GET", end, ""); status != http.StatusOK || header.Get("Content-Length") != "0" {
		t.Errorf("the end of a purge: %d %v", status, header)
	}
	s.refused(http.StatusNotFound, "VaultNotFound", token, "GET", host+"/secrets"+v, "")
}

// TestGraphPermissions: who is no admin reads and changes only what an app role
// of Microsoft Graph allows, and never becomes one.
func TestGraphPermissions(t *testing.T) {
	s := newSite(t)
	robot := s.principal("robot", false)
	admin, mine := s.token(s.admin, graph), s.token(robot, graph)
	if me := s.want(http.StatusOK, mine, "GET", graph+"/v1.0/servicePrincipals/"+robot.object, ""); str(me, "appId") != robot.client {
		t.Errorf("me: %v", me)
	}
	for _, path := range []string{"/v1.0/applications", "/v1.0/users", "/v1.0/groups", "/v1.0/servicePrincipals/" + s.admin.object} {
		s.refused(http.StatusForbidden, "Authorization_RequestDenied", mine, "GET", graph+path, "")
	}
	s.refused(http.StatusForbidden, "Authorization_RequestDenied", mine, "POST", graph+"/v1.0/applications", `{"displayName":"mine"}`)
	msgraph := s.want(http.StatusOK, admin, "GET", graph+"/v1.0/servicePrincipals?$filter=appId%20eq%20'00000003-0000-0000-c000-000000000000'", "")
	grant := func(role string) {
		t.Helper()
		s.want(http.StatusCreated, admin, "POST", graph+"/v1.0/servicePrincipals/"+robot.object+"/appRoleAssignments", `{"principalId":"`+robot.object+`","resourceId":"`+str(msgraph, "value", "id")+`","appRoleId":"`+role+`"}`)
	}
	s.refused(http.StatusForbidden, "Authorization_RequestDenied", mine, "POST", graph+"/v1.0/servicePrincipals/"+robot.object+"/appRoleAssignments", `{}`)
	theirs, _ := s.application("theirs")
	grant("18a4783c-866b-4cc7-a460-3d5e5662c884") // Application.ReadWrite.OwnedBy
	own := s.want(http.StatusCreated, mine, "POST", graph+"/v1.0/applications", `{"displayName":"mine"}`)
	s.want(http.StatusOK, mine, "POST", graph+"/v1.0/applications/"+str(own, "id")+"/addPassword", `{"passwordCredential":{"displayName":"ci"}}`)
	s.refused(http.StatusForbidden, "Authorization_RequestDenied", mine, "POST", graph+"/v1.0/applications/"+str(theirs, "id")+"/addPassword", `{}`)
	grant("1bfefb4e-e0b5-418b-a88f-73c46d2cc8e9") // Application.ReadWrite.All
	s.want(http.StatusOK, mine, "POST", graph+"/v1.0/applications/"+str(theirs, "id")+"/addPassword", `{}`)
	s.refused(http.StatusForbidden, "Authorization_RequestDenied", mine, "POST", graph+"/v1.0/servicePrincipals/"+s.admin.object+"/addPassword", `{}`)
	s.refused(http.StatusForbidden, "Authorization_RequestDenied", mine, "GET", graph+"/v1.0/users", "")

	ids := s.want(http.StatusOK, admin, "POST", graph+"/v1.0/directoryObjects/getByIds", `{"ids":["`+robot.object+`","`+str(own, "id")+`","`+auth.NewGUID()+`"]}`)
	if n := len(at(ids, "value").([]any)); n != 2 {
		t.Errorf("%d of two objects: %v", n, ids)
	}
	user := s.want(http.StatusCreated, admin, "POST", graph+"/v1.0/users", `{"accountEnabled":true,"displayName":"Ann","mailNickname":"ann","userPrincipalName":"ann@example.com","passwordProfile":{"password":"x"}}`)
	if got := s.want(http.StatusOK, admin, "GET", graph+"/v1.0/users/ann@example.com?$select=id,displayName", ""); str(got, "id") != str(user, "id") || len(got) != 3 { // and its type
		t.Errorf("user: %v", got)
	}
}
