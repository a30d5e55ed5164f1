package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/wherry-ml/wherry/client"
	"github.com/wherry-ml/wherry/project"
	"github.com/wherry-ml/wherry/state"
	graph "github.com/wherry-ml/wherry/store/trace"
	"github.com/wherry-ml/wherry/store/verification"
	"github.com/wherry-ml/wherry/trace"
	"github.com/wherry-ml/wherry/workflow"
)

// Names of the demo's project.
const (
	projectName = "my-project"
	repository  = "wherry/" + projectName
)

// Delivery takes a new project from its first commit to production: the demo
// of workflows, infrastructure, promotion and drift.
type Delivery struct {
	State    state.Dir
	Client   *client.Client
	Server   client.Info
	Token    string // of the admin, for git
	Say      func(format string, args ...any)
	Messages *Receivers
	Program  string // wherry itself, for what people type
	// Dir is where the project is made.
	Dir string
}

// Step is one thing that the demo did.
type Step struct {
	Name string `json:"name"`
	// Tool is the real program that did it, with its version; Fallback says that
	// wherry stood in for a part.
	Tool     string  `json:"tool"`
	Fallback string  `json:"fallback,omitempty"`
	Detail   string  `json:"detail,omitempty"`
	Seconds  float64 `json:"seconds"`
	Done     bool    `json:"done"`
}

// DeliveryReport is what Run did.
type DeliveryReport struct {
	Steps   []Step      `json:"steps"`
	Trace   []graph.Ref `json:"trace"` // of a row of predictions in prod
	Seconds float64     `json:"seconds"`

	// Tree is the trace laid out for people.
	Tree *trace.Tree `json:"-"`
}

// delivery is one run of the demo.
type delivery struct {
	*Delivery
	cloud  *cloud
	report *DeliveryReport
	seen   map[int64]bool // the runs that were followed
}

// Run does all steps, and stops at the first that fails.
func (d *Delivery) Run(ctx context.Context) (*DeliveryReport, error) {
	started := time.Now()
	v := &delivery{Delivery: d, report: &DeliveryReport{}, seen: map[int64]bool{}}
	defer func() { v.report.Seconds = time.Since(started).Seconds() }()
	for _, step := range []struct {
		name string
		do   func(context.Context, *Step) error
	}{
		{"a new project, committed and pushed", v.start},
		{"Azure as the project's README asks for it", v.prepareCloud},
		{"infrastructure of staging: cd-deploy-infra", func(ctx context.Context, s *Step) error { return v.infrastructure(ctx, s, "staging") }},
		{"a good commit turns green: ci-build-test", v.good},
		{"staging deployed and verified: cd-deploy-databricks", v.staging},
		{"a pull request that is not formatted turns red, and is not merged", v.broken},
		{"infrastructure of prod, approved", func(ctx context.Context, s *Step) error { return v.infrastructure(ctx, s, "prod") }},
		{"a release: tag v1.2.0, approved, deployed, verified", v.release},
		{"a row of predictions in prod, traced back to its commit", v.traced},
		{"changes by hand in prod are drift: one is reverted, one adopted", v.drift},
		{"what is deleted behind Terraform's back is drift until the next apply", v.behind},
		{"who was told", v.told},
	} {
		v.report.Steps = append(v.report.Steps, Step{Name: step.name})
		s := &v.report.Steps[len(v.report.Steps)-1]
		d.Say("\n── %s", step.name)
		begun := time.Now()
		err := step.do(ctx, s)
		s.Seconds, s.Done = time.Since(begun).Seconds(), err == nil
		if err != nil {
			s.Detail = strings.TrimSpace(s.Detail + " " + err.Error())
			return v.report, fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return v.report, nil
}

func (v *delivery) start(ctx context.Context, s *Step) error {
	s.Tool = version(ctx, "git", "--version")
	if err := os.RemoveAll(v.Dir); err != nil {
		return err
	}
	o := project.Options{Name: projectName, Region: "westeurope", Catalog: "my_project", Repository: repository, Email: "ada@example.com"}
	files, err := project.Write(v.Dir, o)
	if err != nil {
		return err
	}
	s.Detail = fmt.Sprintf("%d files in %s", len(files), v.Dir)
	if err := v.Client.Do(ctx, "POST", "/api/wherry/repos", map[string]any{"name": projectName, "default_branch": "main"}, nil); err != nil {
		return err
	}
	remote := strings.Replace(v.Client.URL, "://", "://token:"+v.Token+"@", 1) + "/git/" + projectName + ".git"
	return v.git(ctx,
		[]string{"init", "--quiet", "--initial-branch", "main"},
		[]string{"remote", "add", "origin", remote},
		[]string{"add", "--all"},
		[]string{"commit", "--quiet", "--message", "The project, as wherry init wrote it [skip ci]"},
		[]string{"push", "--quiet", "origin", "main"},
	)
}

// git runs commands of git in the project, one after the other.
func (v *delivery) git(ctx context.Context, commands ...[]string) error {
	for _, args := range commands {
		if err := git(ctx, v.Dir, args...); err != nil {
			return err
		}
	}
	return nil
}

func (v *delivery) prepareCloud(ctx context.Context, s *Step) (err error) {
	s.Tool = "wherry's ARM, Graph and Entra APIs"
	if v.cloud, err = v.newCloud(ctx); err != nil {
		return err
	}
	clientID, err := v.cloud.deployer(ctx, v.Delivery)
	if err != nil {
		return err
	}
	backend, err := os.ReadFile(filepath.Join(v.Dir, "infra", "environments", "staging.backend.hcl"))
	if err != nil {
		return err
	}
	account := regexp.MustCompile(`storage_account_name\s*=\s*"(.*)"`).FindSubmatch(backend)
	if account == nil {
		return errors.New("the project names no account for Terraform's state")
	}
	if err := v.cloud.stateAccount(ctx, string(account[1])); err != nil {
		return err
	}
	for name, value := range map[string]string{
		"AZURE_CLIENT_ID": clientID, "AZURE_TENANT_ID": cloudTenant, "AZURE_SUBSCRIPTION_ID": subscription,
		"SMTP_SERVER": mailHost, "SMTP_PORT": "25", "MAIL_FROM": "ci@example.com", "MAIL_TO": "team@example.com",
	} {
		if err := v.set(ctx, "repo", projectName, name, value, false); err != nil {
			return err
		}
	}
	if err := v.set(ctx, "repo", projectName, "SLACK_WEBHOOK_URL", "http://"+slackHost+"/services/demo", true); err != nil {
		return err
	}
	for _, e := range []map[string]any{
		{"name": "staging", "verify_job": "smoke_test", "gate": true},
		{"name": "prod", "verify_job": "smoke_test", "gate": true, "reviewers": []string{"admin@localhost"}},
	} {
		if err := v.Client.Do(ctx, "PUT", "/api/wherry/environments/"+e["name"].(string), e, nil); err != nil {
			return err
		}
	}
	return nil
}

// set gives workflows a variable or a secret; scope is repo or environment.
func (v *delivery) set(ctx context.Context, scope, of, name, value string, secret bool) error {
	return v.Client.Do(ctx, "PUT", "/api/wherry/ci/values", map[string]any{scope: of, "name": name, "value": value, "secret": secret}, nil)
}

// infrastructure applies Terraform by the project's own workflow, and keeps the
// outputs that the other workflow needs, as its README says.
func (v *delivery) infrastructure(ctx context.Context, s *Step, environment string) error {
	s.Tool = version(ctx, "terraform", "version")
	var r ciRun
	in := map[string]any{"repo": projectName, "workflow": "cd-deploy-infra", "inputs": map[string]string{"environment": environment}}
	if err := v.Client.Do(ctx, "POST", "/api/wherry/ci/dispatch", in, &r); err != nil {
		return err
	}
	if err := v.follow(ctx, &r, workflow.Success); err != nil {
		return err
	}
	log, err := v.log(ctx, &r)
	if err != nil {
		return err
	}
	own, fallback, err := providers(log)
	if err != nil {
		return err
	}
	if s.Fallback = fallback; own != "" {
		s.Tool += ", real " + own
	}
	outputs := regexp.MustCompile(`(?m)^(workspace_url|deployer_client_id) = "(.*)"`).FindAllStringSubmatch(r.summaries(), -1)
	names := map[string]string{"workspace_url": "DATABRICKS_HOST", "deployer_client_id": "DEPLOYER_CLIENT_ID"}
	for _, o := range outputs {
		if err := v.set(ctx, "environment", environment, names[o[1]], o[2], false); err != nil {
			return err
		}
		s.Detail += o[2] + " "
	}
	if len(outputs) != 2 {
		return errors.New("Terraform's outputs are not in the run's summary")
	}
	return nil
}

// good merges a change that passes.
func (v *delivery) good(ctx context.Context, s *Step) error {
	if err := v.ignore(ctx); err != nil {
		return err
	}
	if err := v.git(ctx, []string{"commit", "--quiet", "--allow-empty", "--message", "A change worth a release"}, []string{"push", "--quiet", "origin", "main"}); err != nil {
		return err
	}
	r, err := v.await(ctx, "ci-build-test", "refs/heads/main")
	if err != nil {
		return err
	}
	if err := v.follow(ctx, r, workflow.Success); err != nil {
		return err
	}
	log, err := v.log(ctx, r)
	if err != nil {
		return err
	}
	s.Tool, err = installed(log, "black", "flake8", "pytest", "pyspark", "papermill")
	return err
}

func (v *delivery) staging(ctx context.Context, s *Step) (err error) {
	if s.Tool, err = engines(ctx); err != nil {
		return err
	}
	r, err := v.await(ctx, "cd-deploy-databricks", "refs/heads/main")
	if err != nil {
		return err
	}
	if err := v.follow(ctx, r, workflow.Success); err != nil {
		return err
	}
	return v.verified(ctx, s, "staging")
}

// verified tells what an environment has, once it is known to work.
func (v *delivery) verified(ctx context.Context, s *Step, environment string) error {
	var e struct {
		Deployed []struct {
			Version      int64  `json:"version"`
			Commit       string `json:"commit"`
			Verification string `json:"verification"`
		} `json:"deployed"`
	}
	for {
		if err := v.Client.Do(ctx, "GET", "/api/wherry/environments/"+environment, nil, &e); err != nil {
			return err
		}
		if len(e.Deployed) > 0 && slices.Contains([]string{verification.Verified, verification.Failed}, e.Deployed[0].Verification) {
			d := e.Deployed[0]
			s.Detail += fmt.Sprintf("version %d, commit %.8s: %s", d.Version, d.Commit, d.Verification)
			return errIf(d.Verification == verification.Failed, "what works is not what is deployed")
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// told wants what the workflows sent to have arrived: their steps go on whatever
// Slack answers.
func (v *delivery) told(_ context.Context, s *Step) (err error) {
	s.Tool = "HTTP and SMTP receivers of the demo"
	s.Detail, err = v.Messages.arrived()
	return err
}
