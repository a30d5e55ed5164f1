package scim_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/api/scim"
	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/storetest"
)

type document = map[string]any

// served returns a function that calls the API as the admin and checks the
// status.
func served(t *testing.T, db *store.DB) func(status int, method, path, body string) document {
	t.Helper()
	const token = "dapi-test"
	signIn := auth.New(db)
	if err := signIn.Bootstrap(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	mux := api.NewMux(signIn, scim.New(db).Routes()...)
	return func(status int, method, path, body string) document {
		t.Helper()
		if strings.HasPrefix(path, "/Users") || strings.HasPrefix(path, "/Serv") || strings.HasPrefix(path, "/Groups") || strings.HasPrefix(path, "/Me") || strings.HasPrefix(path, "/Bulk") {
			path = "/api/2.0/preview/scim/v2" + path
		}
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		if w.Code != status {
			t.Errorf("%s %s: got %d %s, want %d", method, path, w.Code, w.Body, status)
		}
		var doc document
		if w.Body.Len() > 0 {
			if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
				t.Errorf("%s %s: %v in %s", method, path, err, w.Body)
			}
		}
		return doc
	}
}

func TestUsers(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		call := served(t, db)
		ann := call(201, "POST", "/Users", `{"userName": "ann@example.com", "displayName": "Ann", "groups": [{"display": "admins"}]}`)
		id := ann["id"].(string)
		if ann["userName"] != "ann@example.com" || len(ann["groups"].([]any)) != 2 {
			t.Errorf("created %v", ann)
		}
		twice := call(409, "POST", "/Users", `{"userName": "ann@example.com"}`)
		if twice["scimType"] != "uniqueness" || twice["status"] != "409" || twice["detail"] == "" {
			t.Errorf("SCIM error: %v", twice)
		}
		call(400, "POST", "/Users", `{"userName": "a/b"}`)
		call(400, "POST", "/Users", `{"userName":`)
		got := call(200, "PATCH", "/Users/"+id, `{"schemas": ["x"], "Operations": [{"op": "Replace", "path": "active", "value": "false"}, {"op": "replace", "value": {"displayName": "Anna"}}]}`)
		if got["active"] != false || got["displayName"] != "Anna" {
			t.Errorf("patched %v", got)
		}
		call(501, "PATCH", "/Users/"+id, `{"Operations": [{"op": "add", "path": "roles", "value": [{"value": "x"}]}]}`)
		if got := call(200, "PUT", "/Users/"+id, `{"userName": "ann@example.com", "active": true, "groups": []}`); got["active"] != true || len(got["groups"].([]any)) != 1 {
			t.Errorf("replaced %v", got)
		}
		call(204, "DELETE", "/Users/"+id, "")
		call(404, "GET", "/Users/"+id, "")
		call(404, "GET", "/Users/nobody", "")
		call(400, "DELETE", "/Users/1", "")
		call(501, "POST", "/Bulk", `{}`)
	})
}

// TestEntitlements shows that what a client asks for comes back: no more, no less.
func TestEntitlements(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		call := served(t, db)
		const app = "0a0b0c0d-0000-4000-8000-000000000000"
		made := call(201, "POST", "/ServicePrincipals", `{"displayName": "ci", "applicationId": "`+app+`", "externalId": "x-1", "entitlements": [{"value": "allow-cluster-create"}, {"value": "workspace-access"}]}`)
		where := "/ServicePrincipals/" + made["id"].(string)
		// As the provider databricks asks for it.
		got := call(200, "GET", where+"?attributes=userName,displayName,active,externalId,entitlements", "")
		if entitled(got) != "allow-cluster-create workspace-access" || got["applicationId"] != app || got["externalId"] != "x-1" {
			t.Errorf("made %v", got)
		}
		for _, c := range [][2]string{
			{`{"active": true}`, "allow-cluster-create workspace-access"},
			{`{"active": true, "entitlements": [{"value": ""}]}`, ""}, // what the provider sends for none
		} {
			if got := entitled(call(200, "PUT", where, c[0])); got != c[1] {
				t.Errorf("PUT %s: %s", c[0], got)
			}
		}
		for _, c := range [][2]string{
			{`{"op": "add", "path": "entitlements", "value": [{"value": "databricks-sql-access"}, {"value": "workspace-access"}]}`, "databricks-sql-access workspace-access"},
			{`{"op": "remove", "path": "entitlements[value eq \"databricks-sql-access\"]"}`, "workspace-access"},
			{`{"op": "replace", "path": "entitlements", "value": [{"value": "allow-cluster-create"}]}`, "allow-cluster-create"},
			{`{"op": "remove", "path": "entitlements"}`, ""},
		} {
			if got := entitled(call(200, "PATCH", where, `{"Operations": [`+c[0]+`]}`)); got != c[1] {
				t.Errorf("PATCH %s: %s", c[0], got)
			}
		}
		call(400, "PUT", where, `{"entitlements": [{"value": "two words"}]}`)
		gone := call(200, "PATCH", where, `{"Operations": [{"op": "remove", "path": "externalId"}, {"op": "add", "path": "Entitlements", "value": [{"value": "workspace-access"}]}]}`)
		if gone["externalId"] != nil || entitled(gone) != "workspace-access" {
			t.Errorf("patched %v", gone)
		}
		call(200, "PATCH", "/Users/1", `{"Operations": [{"op": "add", "path": "entitlements", "value": [{"value": "allow-cluster-create"}]}]}`)
		if me := call(200, "GET", "/Me", ""); entitled(me) != "allow-cluster-create" {
			t.Errorf("me: %v", me)
		}
		call(501, "PUT", where, `{"roles": [{"value": "x"}]}`)
	})
}

// entitled are the entitlements of a document, with a space between two.
func entitled(doc document) string {
	var list []string
	have, _ := doc["entitlements"].([]any) // left out where there are none
	for _, v := range have {
		list = append(list, v.(document)["value"].(string))
	}
	return strings.Join(list, " ")
}

func TestListing(t *testing.T) {
	db := storetest.SQLite(t)
	call := served(t, db)
	for _, name := range []string{"ann", "bob", "bea"} {
		call(201, "POST", "/Users", `{"userName": "`+name+`@example.com"}`)
	}
	for query, want := range map[string]string{
		"":                            "admin@localhost ann@example.com bob@example.com bea@example.com",
		"?startIndex=2&count=2":       "ann@example.com bob@example.com",
		"?startIndex=9":               "",
		"?count=0":                    "",
		"?filter=userName+sw+%22b%22": "bob@example.com bea@example.com",
		"?filter=userName+eq+%22ANN@example.com%22":                         "ann@example.com",
		"?filter=userName+co+%22example%22+AND+userName+ne+bob@example.com": "ann@example.com bea@example.com",
		"?filter=active+eq+true":                                            "admin@localhost ann@example.com bob@example.com bea@example.com",
	} {
		var names []string
		for _, r := range call(200, "GET", "/Users"+query, "")["Resources"].([]any) {
			names = append(names, r.(document)["userName"].(string))
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s: got %s, want %s", query, got, want)
		}
	}
	call(400, "GET", "/Users?filter=userName", "")
	call(400, "GET", "/Users?filter=userName+gt+a", "")
	call(400, "GET", "/Users?count=many", "")
	me := call(200, "GET", "/Me?excludedAttributes=entitlements,groups", "")
	if me["entitlements"] != nil || me["groups"] != nil || me["userName"] != "admin@localhost" {
		t.Errorf("me: %v", me)
	}
	few := call(200, "GET", "/Users/1?attributes=userName", "")
	if len(few) != 3 {
		t.Errorf("attributes: %v", few)
	}
	groups := call(200, "GET", "/Groups?filter=displayName+eq+admins", "")
	if groups["totalResults"] != 1.0 || len(call(200, "GET", "/Groups/1000000002", "")["members"].([]any)) != 4 {
		t.Errorf("groups: %v", groups)
	}
}

func TestSecrets(t *testing.T) {
	db := storetest.SQLite(t)
	call := served(t, db)
	p := call(200, "POST", "/api/wherry/service-principals", `{"display_name": "ci", "application_id": "0A0B0C0D-0000-4000-8000-000000000000"}`)
	again := call(200, "POST", "/api/wherry/service-principals", `{"application_id": "0a0b0c0d-0000-4000-8000-000000000000"}`)
	if p["id"] != again["id"] || p["client_secret"] == again["client_secret"] || p["client_id"] != "0a0b0c0d-0000-4000-8000-000000000000" {
		t.Errorf("made %v, then %v", p, again)
	}
	for _, secret := range []any{p["client_secret"], again["client_secret"]} {
		if err := db.Read(t.Context(), func(tx *store.Tx) error {
			_, err := auth.CheckSecret(tx, p["client_id"].(string), secret.(string))
			return err
		}); err != nil {
			t.Error(err)
		}
	}
	base := "/api/2.0/accounts/x/servicePrincipals/2/credentials/secrets"
	s := call(200, "POST", base, `{"lifetime": "3600s"}`)
	if s["secret"] == "" || s["status"] != "ACTIVE" || s["expire_time"] == "" {
		t.Errorf("secret %v", s)
	}
	if list := call(200, "GET", base, "")["secrets"].([]any); len(list) != 3 || list[0].(document)["secret"] != nil {
		t.Errorf("secrets %v", list)
	}
	call(200, "DELETE", base+"/"+s["id"].(string), "")
	call(404, "DELETE", base+"/"+s["id"].(string), "")
	call(400, "POST", base, `{"lifetime": "soon"}`)
	call(404, "POST", "/api/2.0/accounts/x/servicePrincipals/1/credentials/secrets", "")
	call(400, "POST", "/api/wherry/service-principals", `{"application_id": "no guid"}`)
	token := call(200, "POST", "/api/wherry/tokens", `{"principal": "0a0b0c0d-0000-4000-8000-000000000000"}`)
	if id, err := auth.New(db).Token(t.Context(), token["token_value"].(string)); err != nil || id.Kind != wherry.KindServicePrincipal {
		t.Errorf("token: %+v %v", id, err)
	}
	call(404, "POST", "/api/wherry/tokens", `{"principal": "nobody"}`)
}

// Others than admins see only themselves.
func TestPermissions(t *testing.T) {
	db := storetest.SQLite(t)
	signIn := auth.New(db)
	if err := signIn.Bootstrap(t.Context(), "admin"); err != nil {
		t.Fatal(err)
	}
	var token string
	if err := db.Write(t.Context(), func(tx *store.Tx) error {
		p, err := auth.CreateUser(tx, "ann@example.com", "", false)
		if err != nil {
			return err
		}
		_, token, err = auth.IssueToken(tx, wherry.DefaultWorkspace, p.ID, 0, "", 0)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	mux := api.NewMux(signIn, scim.New(db).Routes()...)
	for _, route := range mux.Routes() {
		method := route.Method
		if method == "" {
			method = http.MethodGet
		}
		r := httptest.NewRequest(method, strings.NewReplacer("{id}", "1", "{account}", "a", "{secret_id}", "s", "{workspace_id}", "1", "{principal_id}", "2", "{rest...}", "Bulk").Replace(route.Path), strings.NewReader("{}"))
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		want := http.StatusForbidden
		if strings.HasSuffix(route.Path, "/Me") {
			want = http.StatusOK
		}
		if w.Code != want {
			t.Errorf("%s %s: got %d, want %d", method, route.Path, w.Code, want)
		}
	}
}
