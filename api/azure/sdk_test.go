package azure_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/storage/armstorage"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azdatalake"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azdatalake/service"
	"github.com/databricks/databricks-sdk-go"
	"github.com/databricks/databricks-sdk-go/service/iam"

	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/egress"
	"github.com/wherry-ml/wherry/environment"
)

// TestGoSDK: azidentity signs in with a secret and with an assertion, armstorage
// manages an account, azdatalake writes to it with the key from there.
func TestGoSDK(t *testing.T) {
	s := newSite(t)
	s.group()
	ctx := t.Context()
	options := policy.ClientOptions{Transport: s.http}
	secret, err := azidentity.NewClientSecretCredential(tenant, s.admin.client, s.admin.secret, &azidentity.ClientSecretCredentialOptions{ClientOptions: options})
	must(t, err)
	client, err := armstorage.NewAccountsClient(strings.TrimPrefix(subscription, "/subscriptions/"), secret, &arm.ClientOptions{ClientOptions: options})
	must(t, err)
	free, err := client.CheckNameAvailability(ctx, armstorage.AccountCheckNameAvailabilityParameters{Name: to.Ptr("samlops123"), Type: to.Ptr("Microsoft.Storage/storageAccounts")}, nil)
	must(t, err)
	if !*free.NameAvailable {
		t.Errorf("a free name: %s", *free.Message)
	}
	creation, err := client.BeginCreate(ctx, "rg-mlops", "samlops123", armstorage.AccountCreateParameters{
		Kind: to.Ptr(armstorage.KindStorageV2), Location: to.Ptr("westeurope"), SKU: &armstorage.SKU{Name: to.Ptr(armstorage.SKUNameStandardLRS)},
		Properties: &armstorage.AccountPropertiesCreateParameters{IsHnsEnabled: to.Ptr(true)}, Tags: map[string]*string{"team": to.Ptr("mlops")},
	}, nil)
	must(t, err)
	made, err := creation.PollUntilDone(ctx, nil)
	must(t, err)
	if *made.Properties.ProvisioningState != armstorage.ProvisioningStateSucceeded || *made.Tags["team"] != "mlops" {
		t.Errorf("made %+v", made.Properties)
	}
	free, err = client.CheckNameAvailability(ctx, armstorage.AccountCheckNameAvailabilityParameters{Name: to.Ptr("samlops123"), Type: to.Ptr("Microsoft.Storage/storageAccounts")}, nil)
	must(t, err)
	if *free.NameAvailable {
		t.Error("a taken name is free")
	}
	_, err = client.Update(ctx, "rg-mlops", "samlops123", armstorage.AccountUpdateParameters{Tags: map[string]*string{"team": to.Ptr("data")}}, nil)
	must(t, err)
	keys, err := client.ListKeys(ctx, "rg-mlops", "samlops123", nil)
	must(t, err)
	for _, key := range keys.Keys { // both sign
		must(t, s.lists(ctx, *key.Value, options))
	}
	_, err = client.RegenerateKey(ctx, "rg-mlops", "samlops123", armstorage.AccountRegenerateKeyParameters{KeyName: to.Ptr("key2")}, nil)
	must(t, err)
	must(t, s.lists(ctx, *keys.Keys[0].Value, options))
	if err := s.lists(ctx, *keys.Keys[1].Value, options); status(err) != http.StatusForbidden {
		t.Errorf("the key from before: %v", err)
	}
	_, err = client.Update(ctx, "rg-mlops", "samlops123", armstorage.AccountUpdateParameters{Properties: &armstorage.AccountPropertiesUpdateParameters{AllowSharedKeyAccess: to.Ptr(false)}}, nil)
	must(t, err)
	if err := s.lists(ctx, *keys.Keys[0].Value, options); status(err) != http.StatusForbidden || !strings.Contains(err.Error(), "KeyBasedAuthenticationNotPermitted") {
		t.Errorf("a key where none are allowed: %v", err)
	}

	app, object := s.application("ci")
	s.federate(app, subject)
	s.assign(s.token(s.admin, management), group, "Reader", object)
	assertion, err := azidentity.NewClientAssertionCredential(tenant, str(app, "appId"), func(context.Context) (string, error) { return s.idToken(subject, auth.ExchangeAudience), nil }, &azidentity.ClientAssertionCredentialOptions{ClientOptions: options})
	must(t, err)
	reader, err := armstorage.NewAccountsClient(strings.TrimPrefix(subscription, "/subscriptions/"), assertion, &arm.ClientOptions{ClientOptions: options})
	must(t, err)
	got, err := reader.GetProperties(ctx, "rg-mlops", "samlops123", nil)
	must(t, err)
	if *got.Tags["team"] != "data" {
		t.Errorf("tags %v", got.Tags)
	}
	if _, err := reader.Delete(ctx, "rg-mlops", "samlops123", nil); status(err) != http.StatusForbidden {
		t.Errorf("a reader's deletion: %v", err)
	}
	_, err = client.Delete(ctx, "rg-mlops", "samlops123", nil)
	must(t, err)
	if _, err := client.GetProperties(ctx, "rg-mlops", "samlops123", nil); status(err) != http.StatusNotFound {
		t.Errorf("a deleted account: %v", err)
	}
}

// TestDatabricksSDK: the SDK finds a workspace by its resource id, and signs in to
// it as a service principal that has Contributor on it.
func TestDatabricksSDK(t *testing.T) {
	s := newSite(t)
	admin := s.group()
	host, id := s.workspace(admin, "blue")
	robot := s.principal("robot", false)
	resource := group + "/providers/Microsoft.Databricks/workspaces/blue"
	s.assign(admin, resource, "Contributor", robot.object)
	w, err := databricks.NewWorkspaceClient(&databricks.Config{
		AzureResourceID: resource, AzureTenantID: tenant, AzureClientID: robot.client, AzureClientSecret: robot.secret, AuthType: "azure-client-secret", HTTPTransport: s.http.Transport, HTTPTimeoutSeconds: 60,
	})
	must(t, err)
	me, err := w.CurrentUser.Me(t.Context(), iam.MeRequest{})
	must(t, err)
	if me.UserName != robot.client || w.Config.Host != host {
		t.Errorf("%s at %s", me.UserName, w.Config.Host)
	}
	number, err := w.CurrentWorkspaceID(t.Context())
	must(t, err)
	if strconv.FormatInt(number, 10) != id {
		t.Errorf("workspace %d, made %s", number, id)
	}
	must(t, w.Workspace.MkdirsByPath(t.Context(), "/Shared/made"))
}

// lists makes a request that a key signs.
func (s *site) lists(ctx context.Context, key string, options policy.ClientOptions) error {
	cred, err := azdatalake.NewSharedKeyCredential("samlops123", key)
	if err != nil {
		return err
	}
	c, err := service.NewClientWithSharedKeyCredential("https://samlops123.dfs.core.windows.net", cred, &service.ClientOptions{ClientOptions: options})
	if err != nil {
		return err
	}
	_, err = c.NewListFileSystemsPager(nil).NextPage(ctx)
	return err
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func status(err error) int {
	if e, ok := errors.AsType[*azcore.ResponseError](err); ok {
		return e.StatusCode
	}
	return 0
}

// TestPython: azure-identity's WorkloadIdentityCredential and
// ClientAssertionCredential sign in with a workflow's token, and write to an
// account that a role assignment opens to them.
func TestPython(t *testing.T) {
	env := environment.ForTest(t)
	s := newSite(t)
	admin := s.group()
	s.account(admin, "samlops123")
	app, object := s.application("ci")
	s.federate(app, subject)
	s.assign(admin, account, "Storage Blob Data Contributor", object)
	s.assign(admin, group, "Reader", object)
	file := filepath.Join(t.TempDir(), "token")
	must(t, os.WriteFile(file, []byte(s.idToken(subject, auth.ExchangeAudience)), 0o600))
	vars := egress.Env(s.ProxyURL, egress.Directory(s.State))
	vars["AZURE_TENANT_ID"], vars["AZURE_CLIENT_ID"], vars["AZURE_FEDERATED_TOKEN_FILE"], vars["TEST_ACCOUNT"] = tenant, str(app, "appId"), file, account
	c := exec.CommandContext(t.Context(), env.Python, "testdata/workload.py")
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "PYTHONDONTWRITEBYTECODE=1"}
	for name, value := range vars {
		c.Env = append(c.Env, name+"="+value)
	}
	out, err := c.CombinedOutput()
	if err != nil || string(out) != "workload identity\nclient assertion\n" {
		t.Fatalf("%v\n%s", err, out)
	}
}

// databricks-sdk-go signs in to the account at its production name with a client
// id and secret, and finds there what the workspace has.
func TestAccountClient(t *testing.T) {
	s := newSite(t)
	a, err := databricks.NewAccountClient(&databricks.Config{
		Host: "https://accounts.azuredatabricks.net", AccountID: "00000000-0000-4000-8000-000000000001", ClientID: s.admin.client, ClientSecret: s.admin.secret,
		AuthType: "oauth-m2m", HTTPTransport: s.http.Transport,
	})
	if err != nil {
		t.Fatal(err)
	}
	about := s.want(http.StatusOK, "", "GET", "https://accounts.azuredatabricks.net/.well-known/databricks-config", "")
	if str(about, "host_type") != "ACCOUNT_HOST" || str(about, "workspace_id") != "" {
		t.Errorf("the host says %v", about)
	}
	group, err := a.GroupsV2.Create(t.Context(), iam.CreateAccountGroupRequest{DisplayName: "team"})
	if err != nil {
		t.Fatal(err)
	}
	s.want(http.StatusOK, s.Token, "GET", s.URL+"/api/2.0/preview/scim/v2/Groups/"+group.Id, "")
}
