package azure_test

import (
	"fmt"
	"net/http"
	"testing"
)

// A tag, or the access tier, that another principal changes through the
// management API is drift of what Terraform applied; what Terraform's own
// principal changes is none.
func TestChangesBehindTerraform(t *testing.T) {
	s := newSite(t)
	token := s.group()
	s.account(token, "samlops123")
	s.want(http.StatusOK, s.Token, "POST", s.URL+"/api/wherry/infra", `{"workspace":"infra","plan_digest":"p","serial":1,"resources":[
		{"address":"azurerm_storage_account.lake","type":"azurerm_storage_account","id":"`+account+`"},
		{"address":"azurerm_resource_group.main","type":"azurerm_resource_group","id":"`+group+`"}]}`)
	drifted := func() string {
		text := ""
		list, _ := s.want(http.StatusOK, s.Token, "GET", s.URL+"/api/wherry/drift", "")["infra"].([]any)
		for _, d := range list {
			text += fmt.Sprint(at(d, "resource"), " ", at(d, "kind"), " ", at(d, "fields"), "; ")
		}
		return text
	}
	s.want(http.StatusOK, token, "PATCH", management+account+"?api-version=2025-08-01", `{"tags":{"team":"ml"}}`)
	if got := drifted(); got != "" {
		t.Errorf("Terraform's own change: %s", got)
	}
	eve := s.token(s.principal("eve", true), management)
	for _, tc := range []struct{ where, body, want string }{
		{account, `{"tags":{"team":"bi"}}`, "azurerm_storage_account.lake changed [map[after:bi before:ml path:tags.team]]; "},
		{account, `{"tags":{"team":"ml"}}`, ""},
		{account, `{"properties":{"accessTier":"Cool"}}`, "azurerm_storage_account.lake changed [map[after:Cool before:Hot path:properties.accessTier]]; "},
		{account, `{"properties":{"accessTier":"Hot"}}`, ""},
		{group, `{"tags":{"cost":"9"}}`, "azurerm_resource_group.main changed [map[after:9 before:<nil> path:tags.cost]]; "},
	} {
		s.want(http.StatusOK, eve, "PATCH", management+tc.where+"?api-version=2023-07-01", tc.body)
		if got := drifted(); got != tc.want {
			t.Errorf("%s %s: %q, want %q", tc.where, tc.body, got, tc.want)
		}
	}
}
