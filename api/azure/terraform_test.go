package azure_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/wherry-ml/wherry/auth"
	"github.com/wherry-ml/wherry/egress"
)

const backend = `terraform {
  backend "azurerm" {
    storage_account_name = "samlops123"
    container_name       = "tfstate"
    key                  = "prod.tfstate"
  }
}

variable "commit" { default = "first" }

resource "terraform_data" "deployed" {
  input = var.commit
}

output "commit" { value = terraform_data.deployed.output }
`

// terraform is the real binary, or tofu's, in a folder of its own.
type terraform struct {
	*site
	program string
	dir     string
	env     []string
}

// run returns what terraform printed and whether it succeeded.
func (tf *terraform) run(args ...string) (string, bool) {
	tf.Helper()
	ctx, cancel := context.WithTimeout(tf.Context(), 2*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, tf.program, append([]string{"-chdir=" + tf.dir}, args...)...)
	c.Env = tf.env
	out, err := c.CombinedOutput()
	return string(out), err == nil
}

func (tf *terraform) must(args ...string) string {
	tf.Helper()
	out, ok := tf.run(args...)
	if !ok {
		tf.Fatalf("%s %s:\n%s", tf.program, strings.Join(args, " "), out)
	}
	return out
}

func (s *site) terraform(program string, env map[string]string) *terraform {
	s.Helper()
	if _, err := exec.LookPath(program); err != nil {
		s.Skipf("%s is not installed: its azurerm backend is tested where it is", program)
	}
	tf := &terraform{site: s, program: program, dir: s.TempDir()}
	all := egress.Env(s.ProxyURL, egress.Directory(s.State))
	all["PATH"], all["HOME"], all["CHECKPOINT_DISABLE"], all["TF_IN_AUTOMATION"] = os.Getenv("PATH"), tf.dir, "1", "1"
	for name, value := range env {
		all[name] = value
	}
	for name, value := range all {
		tf.env = append(tf.env, name+"="+value)
	}
	if err := os.WriteFile(filepath.Join(tf.dir, "main.tf"), []byte(backend), 0o600); err != nil {
		s.Fatal(err)
	}
	return tf
}

var lockID = regexp.MustCompile(`ID:\s+([0-9a-f-]{36})`)

// TestTerraformBackend: the real terraform keeps its state and lock in an account
// that was made through the management API, signed in each way it knows; tofu too.
func TestTerraformBackend(t *testing.T) {
	for _, program := range []string{"terraform", "tofu"} {
		for _, way := range []string{"access key", "entra", "management API", "oidc"} {
			t.Run(program+" "+way, func(t *testing.T) { testBackend(t, program, way) })
		}
	}
}

func testBackend(t *testing.T, program, way string) {
	s := newSite(t)
	admin := s.group()
	s.account(admin, "samlops123")
	s.want(http.StatusCreated, admin, "PUT", management+account+"/blobServices/default/containers/tfstate?api-version=2025-08-01", `{"properties":{}}`)
	tf := s.terraform(program, s.backendSignIn(way, admin))
	tf.must("init", "-input=false", "-no-color")
	if out := tf.must("apply", "-auto-approve", "-input=false", "-no-color"); !strings.Contains(out, `commit = "first"`) {
		t.Fatalf("%s", out)
	}
	tf.lockedOut(admin)
	if out := tf.must("plan", "-detailed-exitcode", "-input=false", "-no-color"); !strings.Contains(out, "No changes") {
		t.Errorf("the state did not survive: %s", out)
	}
	if out := tf.must("state", "list"); out != "terraform_data.deployed\n" {
		t.Errorf("state list: %s", out)
	}
	tf.must("workspace", "new", "other")
	if out := tf.must("workspace", "list"); !strings.Contains(out, "* other") {
		t.Errorf("workspaces: %s", out)
	}
}

// lockedOut holds the state's lease as a terraform does that was killed: others
// are told who has it until the lock is taken away by force.
func (tf *terraform) lockedOut(admin string) {
	tf.Helper()
	data := tf.token(tf.site.admin, auth.AudienceStorage)
	const state = "https://samlops123.blob.core.windows.net/tfstate/prod.tfstate"
	lock := tf.lease(data, state, map[string]string{"x-ms-lease-action": "acquire", "x-ms-lease-duration": "-1"})
	info := fmt.Sprintf(`{"ID":%q,"Operation":"OperationTypeApply","Who":"ci@runner","Version":"1.11.4","Created":"2026-11-29T00:00:00Z","Path":"tfstate/prod.tfstate"}`, lock)
	tf.metadata(data, state, lock, info)
	out, ok := tf.run("apply", "-auto-approve", "-input=false", "-no-color", "-var=commit=second")
	m := lockID.FindStringSubmatch(out)
	if ok || m == nil || m[1] != lock || !strings.Contains(out, "ci@runner") {
		tf.Fatalf("an apply beside another: %v\n%s", ok, out)
	}
	tf.must("force-unlock", "-force", lock)
	if out := tf.must("apply", "-auto-approve", "-input=false", "-no-color", "-var=commit=first"); !strings.Contains(out, `commit = "first"`) {
		tf.Fatalf("%s", out)
	}
}

// lease asks for a lease and returns its id.
func (s *site) lease(token, where string, headers map[string]string) string {
	s.Helper()
	return s.blobCall(token, where+"?comp=lease", headers).Get("x-ms-lease-id")
}

func (s *site) metadata(token, where, lease, lock string) {
	s.Helper()
	s.blobCall(token, where+"?comp=metadata", map[string]string{"x-ms-lease-id": lease, "x-ms-meta-terraformlockid": encoded(lock)})
}

func (s *site) blobCall(token, where string, headers map[string]string) http.Header {
	s.Helper()
	r, err := http.NewRequestWithContext(s.Context(), http.MethodPut, where, nil)
	if err != nil {
		s.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	for name, value := range headers {
		r.Header.Set(name, value)
	}
	res, err := s.http.Do(r)
	if err != nil {
		s.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode >= 300 {
		s.Fatalf("%s: %d %s", where, res.StatusCode, res.Header.Get("x-ms-error-code"))
	}
	return res.Header
}

// backendSignIn are the variables that sign terraform's backend in.
func (s *site) backendSignIn(way, admin string) map[string]string {
	s.Helper()
	client := map[string]string{"ARM_TENANT_ID": tenant, "ARM_CLIENT_ID": s.admin.client, "ARM_CLIENT_SECRET": s.admin.secret, "ARM_SUBSCRIPTION_ID": strings.TrimPrefix(subscription, "/subscriptions/")}
	switch way {
	case "access key":
		keys := s.want(http.StatusOK, admin, "POST", management+account+"/listKeys?api-version=2025-08-01", "")
		return map[string]string{"ARM_ACCESS_KEY": str(keys, "keys", "value")}
	case "management API": // it asks for the key by itself
		client["TF_CLI_ARGS_init"] = "-backend-config=resource_group_name=rg-mlops"
	case "entra":
		client["ARM_USE_AZUREAD"] = "true"
	case "oidc":
		client = s.workload(client)
	}
	return client
}
