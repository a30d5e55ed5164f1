package terraform_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry/egress"
	"github.com/wherry-ml/wherry/server/servertest"
	"github.com/wherry-ml/wherry/terraform"
)

func TestMain(m *testing.M) {
	if name, ok := terraform.Provider(os.Args[0]); ok { // the test's binary is also the providers
		if err := terraform.Serve(name); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(servertest.Main(m))
}

// project is a folder with Terraform files, and how terraform runs in it.
type project struct {
	t *testing.T
	setup
	dir    string
	config string
	env    []string
}

// setup is an engine of this machine and where providers come from.
type setup struct {
	engine string // its path
	source terraform.Source
}

var standIns = terraform.Source{StandIns: terraform.StandIns, Reason: "the test says so"}

// eachEngine runs a test with terraform and with tofu, where they are found,
// and our stand-ins.
func eachEngine(t *testing.T, test func(t *testing.T, on setup)) {
	t.Helper()
	found := 0
	for _, name := range []string{"terraform", "tofu"} {
		engine, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		found++
		t.Run(name, func(t *testing.T) { test(t, setup{engine: engine, source: standIns}) })
	}
	if found == 0 {
		t.Skip("neither terraform nor tofu is in PATH")
	}
}

// eachSource runs a test with each engine and the stand-ins, and with what a
// mirror has of the real providers, where one is named.
func eachSource(t *testing.T, test func(t *testing.T, on setup)) {
	t.Helper()
	eachEngine(t, func(t *testing.T, on setup) {
		t.Run("stand-ins", func(t *testing.T) { test(t, on) })
		t.Run("real", func(t *testing.T) {
			if os.Getenv(terraform.MirrorVariable) == "" {
				t.Skipf("real provider not run: %s names no mirror; CONTRIBUTING.md says how to build one", terraform.MirrorVariable)
			}
			on.source = terraform.Locate(t.Context(), on.engine)
			if len(on.source.Mirrored) == 0 {
				t.Fatal(on.source.Reason)
			}
			test(t, on)
		})
	})
}

func newProject(t *testing.T, s *servertest.Server, on setup, text string) *project {
	t.Helper()
	p := &project{t: t, setup: on, dir: t.TempDir()}
	p.write(text)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if p.config, err = on.source.Configure(t.TempDir(), exe); err != nil {
		t.Fatal(err)
	}
	for k, v := range egress.Env(s.ProxyURL, egress.Directory(s.State)) {
		p.env = append(p.env, k+"="+v)
	}
	p.env = append(p.env, "PATH="+os.Getenv("PATH"), "HOME="+p.dir, "CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1",
		"DATABRICKS_HOST="+s.URL, "DATABRICKS_TOKEN="+s.Token)
	return p
}

func (p *project) write(text string) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, "main.tf"), []byte(text), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// try runs terraform and returns its exit code and output.
func (p *project) try(args ...string) (int, string) {
	p.t.Helper()
	c := exec.CommandContext(p.t.Context(), p.engine, args...)
	c.Dir, c.Env = p.dir, append(p.env, p.source.Environment(p.config, args)...)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	if c.ProcessState == nil {
		p.t.Fatal(err)
	}
	return c.ProcessState.ExitCode(), out.String()
}

func (p *project) run(args ...string) string {
	p.t.Helper()
	code, out := p.try(args...)
	if code != 0 {
		p.t.Fatalf("terraform %s: exit %d\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

func (p *project) apply() {
	p.t.Helper()
	p.run("apply", "-auto-approve", "-no-color", "-input=false")
}

// realOnes wants the engine to have chosen the mirror's providers, of those that
// the project uses, and no others.
func (p *project) realOnes(used ...string) {
	p.t.Helper()
	var v struct {
		Selected map[string]string `json:"provider_selections"`
	}
	if err := json.Unmarshal([]byte(p.run("version", "-json")), &v); err != nil {
		p.t.Fatal(err)
	}
	var got []string
	for address := range v.Selected {
		_, source, _ := strings.Cut(address, "/")
		got = append(got, source)
	}
	want := slices.DeleteFunc(slices.Clone(used), func(source string) bool { return !slices.Contains(p.source.Mirrored, source) })
	if slices.Sort(got); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		p.t.Fatalf("the engine chose %v, and of %v the mirror has %v", v.Selected, used, p.source.Mirrored)
	}
}

// unchanged wants a plan with nothing to do.
func (p *project) unchanged() {
	p.t.Helper()
	if code, out := p.try("plan", "-detailed-exitcode", "-no-color", "-input=false"); code != 0 {
		p.t.Fatalf("a second plan is not empty: exit %d\n%s", code, out)
	}
}

// outputs are the project's.
func (p *project) outputs() map[string]any {
	p.t.Helper()
	var raw map[string]struct{ Value any }
	if err := json.Unmarshal([]byte(p.run("output", "-json", "-no-color")), &raw); err != nil {
		p.t.Fatal(err)
	}
	out := map[string]any{}
	for k, v := range raw {
		out[k] = v.Value
	}
	return out
}
