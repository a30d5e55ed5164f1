package demo

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/egress"
)

// The names of Azure that the project's workflows get as variables. Any
// subscription and any tenant will do here.
const (
	cloudTenant  = "72f988bf-86f1-41af-91ab-2d7cd011db47"
	subscription = "00000000-0000-0000-0000-0000000000aa"
	management   = "https://management.azure.com"
	graphAPI     = "https://graph.microsoft.com"
	// databricksResource is the application id of Azure Databricks, which tokens
	// for workspaces are for.
	databricksResource = "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d"
)

// cloud calls Azure's own host names, as an administrator of the subscription.
type cloud struct {
	http   *http.Client
	id     servicePrincipal
	tokens map[string]string // by audience
}

// newCloud signs in with a service principal that is made for it.
func (d *Delivery) newCloud(ctx context.Context) (*cloud, error) {
	c := &cloud{tokens: map[string]string{}}
	pem, err := os.ReadFile(filepath.Join(egress.Directory(d.State), "bundle.pem"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	proxy, err := url.Parse(d.Server.ProxyURL)
	if err != nil {
		return nil, err
	}
	c.http = &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: pool}}}
	err = d.Client.Do(ctx, "POST", "/api/wherry/service-principals", map[string]any{"display_name": "cloud administrator", "admin": true}, &c.id)
	return c, err
}

func (c *cloud) token(ctx context.Context, audience string) (string, error) {
	if t := c.tokens[audience]; t != "" {
		return t, nil
	}
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {c.id.ClientID}, "client_secret": {c.id.ClientSecret}, "scope": {audience + "/.default"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://login.microsoftonline.com/"+cloudTenant+"/oauth2/v2.0/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	var answer struct {
		Token string `json:"access_token"`
	}
	if err := c.send(req, &answer); err != nil {
		return "", err
	}
	c.tokens[audience] = answer.Token
	return answer.Token, nil
}

// do calls an API of Azure; out may be nil.
func (c *cloud) do(ctx context.Context, method, address string, in, out any) error {
	token, err := c.token(ctx, address[:strings.Index(address[8:], "/")+8])
	if err != nil {
		return err
	}
	b, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(b))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	return c.send(req, out)
}

func (c *cloud) send(req *http.Request, out any) error {
	res, err := c.http.Do(req)
	if err != nil {
		return err
	}
	b, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return err
	}
	if res.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %.300s", req.Method, req.URL, res.Status, b)
	}
	if out == nil || len(b) == 0 {
		return nil
	}
	return json.Unmarshal(b, out)
}

// deployer makes the application that the infrastructure's workflow signs in
// as: without a secret, by the identity of the repository's environments. Its
// client id is returned.
func (c *cloud) deployer(ctx context.Context, d *Delivery) (clientID string, err error) {
	var app, principal struct {
		ID    string `json:"id"`
		AppID string `json:"appId"`
	}
	if err := c.do(ctx, "POST", graphAPI+"/v1.0/applications", map[string]any{"displayName": "sp-" + projectName + "-infra"}, &app); err != nil {
		return "", err
	}
	if err := c.do(ctx, "POST", graphAPI+"/v1.0/servicePrincipals", map[string]any{"appId": app.AppID}, &principal); err != nil {
		return "", err
	}
	for _, environment := range []string{"staging", "prod"} {
		credential := map[string]any{
			"name": "github-" + environment, "issuer": auth.ActionsIssuer, "audiences": []string{auth.ExchangeAudience},
			"subject": "repo:" + repository + ":environment:" + environment,
		}
		if err := c.do(ctx, "POST", graphAPI+"/v1.0/applications/"+app.ID+"/federatedIdentityCredentials", credential, nil); err != nil {
			return "", err
		}
	}
	return app.AppID, c.promote(ctx, d, app.AppID)
}

// promote makes the application's principal an admin: it makes catalogs, and
// lets other principals in.
func (c *cloud) promote(ctx context.Context, d *Delivery, clientID string) error {
	const path = "/api/2.0/preview/scim/v2/ServicePrincipals"
	var found struct {
		Resources []map[string]any `json:"Resources"`
	}
	filter := url.Values{"filter": {fmt.Sprintf("applicationId eq %q", clientID)}}
	if err := d.Client.Do(ctx, "GET", path+"?"+filter.Encode(), nil, &found); err != nil {
		return err
	}
	if len(found.Resources) != 1 {
		return fmt.Errorf("the service principal %s is not to be found", clientID)
	}
	sp := found.Resources[0]
	sp["groups"] = []map[string]any{{"display": "admins"}}
	return d.Client.Do(ctx, "PUT", path+"/"+fmt.Sprint(sp["id"]), sp, nil)
}

// stateAccount makes where Terraform keeps its state: README of the project.
func (c *cloud) stateAccount(ctx context.Context, account string) error {
	group := management + "/subscriptions/" + subscription + "/resourceGroups/rg-" + projectName + "-tfstate"
	storage := group + "/providers/Microsoft.Storage/storageAccounts/" + account
	for _, made := range []struct {
		address string
		body    any
	}{
		{group, map[string]any{"location": "westeurope"}},
		{storage, map[string]any{"location": "westeurope", "sku": map[string]any{"name": "Standard_LRS"}, "kind": "StorageV2"}},
		{storage + "/blobServices/default/containers/tfstate", map[string]any{}},
	} {
		if err := c.do(ctx, "PUT", made.address+"?api-version=2023-05-01", made.body, nil); err != nil {
			return err
		}
	}
	return nil
}
