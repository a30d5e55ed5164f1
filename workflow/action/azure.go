package action

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
)

// azureLogin signs in at Entra with a secret, or with the token that this
// run's identity is told by, and leaves nothing behind but the proof that it
// works: later steps sign in for themselves, with their own ARM_ variables. The
// az command is not here.
func azureLogin(ctx context.Context, c *call) error {
	client, tenant, subscription, secret := c.input("client-id"), c.input("tenant-id"), c.input("subscription-id"), ""
	if creds := c.input("creds"); creds != "" && client == "" && tenant == "" && subscription == "" { // one of those three, and creds is not looked at
		var given struct {
			ClientID     string `json:"clientId"`
			ClientSecret string `json:"clientSecret"`
			TenantID     string `json:"tenantId"`
			Subscription string `json:"subscriptionId"`
		}
		if err := json.Unmarshal([]byte(creds), &given); err != nil {
			return errors.New("creds is not the JSON that azure/login asks for")
		}
		client, tenant, subscription, secret = given.ClientID, given.TenantID, given.Subscription, given.ClientSecret
	}
	if client == "" || tenant == "" {
		return errors.New("client-id and tenant-id, or creds, are needed: are the secrets or variables set for this repository or environment?")
	}
	if subscription == "" && !c.flag("allow-no-subscriptions") {
		return errors.New("subscription-id is needed, or allow-no-subscriptions: true")
	}
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {client}, "scope": {"https://management.azure.com/.default"}}
	if secret != "" {
		form.Set("client_secret", secret)
	} else {
		token, err := idToken(ctx, c.input("audience"))
		if err != nil {
			return err
		}
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		form.Set("client_assertion", token)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://login.microsoftonline.com/"+url.PathEscape(tenant)+"/oauth2/v2.0/token", strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	var answer struct {
		AccessToken string `json:"access_token"`
		Description string `json:"error_description"`
	}
	status, err := askJSON(req, &answer)
	if err != nil {
		return err
	}
	if answer.AccessToken == "" {
		return fmt.Errorf("Entra answers %s: %s", status, answer.Description)
	}
	c.say("Signed in as %s", client)
	if subscription != "" {
		c.say("Subscription %s", subscription)
	}
	return nil
}

// idToken asks for a token that tells who the run is. GitHub's runners offer
// it to jobs with permissions: id-token: write.
func idToken(ctx context.Context, audience string) (string, error) {
	address := os.Getenv("ACTIONS_ID_TOKEN_REQUEST_URL")
	if address == "" {
		return "", errors.New("this job may not have an OIDC token: give it permissions: id-token: write")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"&audience="+url.QueryEscape(audience), nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+os.Getenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN"))
	var answer struct {
		Value string `json:"value"`
	}
	status, err := askJSON(req, &answer)
	if err == nil && answer.Value == "" {
		err = fmt.Errorf("no OIDC token came: %s", status)
	}
	return answer.Value, err
}

func askJSON(req *http.Request, into any) (status string, err error) {
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return res.Status, err
	}
	if err := json.Unmarshal(b, into); err != nil {
		return res.Status, fmt.Errorf("%s answers %s, and no JSON", req.URL.Host, res.Status)
	}
	return res.Status, nil
}
