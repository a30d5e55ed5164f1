package terraform_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wherry-ml/wherry/server/servertest"
)

// halfway makes one resource group, says so in the file here, waits for the file
// on and makes another. Its state is in a storage account.
const halfway = `
terraform {
  required_providers { azurerm = { source = "hashicorp/azurerm", version = ">= 4.0, < 6.0" } }
  backend "azurerm" {
    resource_group_name  = "rg-state"
    storage_account_name = "sthalfway"
    container_name       = "tfstate"
    key                  = "halfway.tfstate"
    use_azuread_auth     = true
  }
}
provider "azurerm" {
  features {}
}
resource "azurerm_resource_group" "first" {
  name     = "rg-first"
  location = "westeurope"
}
resource "terraform_data" "pause" {
  depends_on = [azurerm_resource_group.first]
  provisioner "local-exec" {
    command = "touch here; until [ -e on ]; do sleep 0.02; done"
  }
}
resource "azurerm_resource_group" "second" {
  depends_on = [terraform_data.pause]
  name       = "rg-second"
  location   = "westeurope"
}
`

const subscription = "/subscriptions/00000000-0000-0000-0000-0000000000aa"

// TestCutOff breaks an apply off half-way in each way that happens: the state
// that is in the storage account stays usable, and the next apply brings the rest.
func TestCutOff(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, on setup) {
		for name, cut := range map[string]func(*halves){
			"the server is killed and comes back":   (*halves).serverKilled,
			"terraform is asked to stop":            (*halves).interrupted,
			"terraform is killed":                   (*halves).killed,
			"a resource is refused, then corrected": (*halves).refused,
		} {
			t.Run(name, func(t *testing.T) { cut(newHalves(t, on)) })
		}
	})
}

// halves is the project halfway with a server that can be killed.
type halves struct {
	*project
	server *servertest.Mortal
}

func newHalves(t *testing.T, on setup) *halves {
	m := servertest.StartMortal(t)
	h := &halves{newProject(t, m.Server, on, halfway), m}
	c := newCloud(t, m.Server)
	h.env = append(without(h.env, "DATABRICKS_"), c.env...)
	c.stateStore("rg-state", "sthalfway")
	h.run("init", "-no-color", "-input=false")
	return h
}

// half begins an apply, and returns when its first half is done.
func (h *halves) half() (*exec.Cmd, *output) {
	h.t.Helper()
	args := []string{"apply", "-auto-approve", "-no-color", "-input=false"}
	c := exec.CommandContext(h.t.Context(), h.engine, args...)
	c.Dir, c.Env, c.SysProcAttr = h.dir, append(h.env, h.source.Environment(h.config, args)...), &syscall.SysProcAttr{Setpgid: true}
	out := &output{}
	c.Stdout, c.Stderr = out, out
	if err := c.Start(); err != nil {
		h.t.Fatal(err)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(2 * time.Minute); ; <-tick.C {
		if _, err := os.Stat(filepath.Join(h.dir, "here")); err == nil {
			return c, out
		}
		if time.Now().After(deadline) {
			_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
			h.t.Fatalf("the first half does not come: %v\n%s", c.Wait(), out)
		}
	}
}

// output is what a program has said so far.
type output struct {
	mu   sync.Mutex
	text strings.Builder
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// on lets the second half begin.
func (h *halves) on() {
	h.t.Helper()
	if err := os.WriteFile(filepath.Join(h.dir, "on"), nil, 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// whole wants both halves to be there, in the state too.
func (h *halves) whole() {
	h.t.Helper()
	h.unchanged()
	list := h.run("state", "list", "-no-color")
	for _, address := range []string{"azurerm_resource_group.first", "azurerm_resource_group.second", "terraform_data.pause"} {
		if !strings.Contains(list, address) {
			h.t.Errorf("the state lacks %s:\n%s", address, list)
		}
	}
}

// serverKilled: the apply that runs goes on when the server is back.
func (h *halves) serverKilled() {
	c, out := h.half()
	h.server.Kill()
	h.server.Start()
	h.on()
	if err := c.Wait(); err != nil {
		h.t.Fatalf("the apply: %v\n%s", err, out)
	}
	h.whole()
}

// interrupted: terraform stores what it did and gives the lock back.
func (h *halves) interrupted() {
	c, out := h.half()
	if err := c.Process.Signal(os.Interrupt); err != nil {
		h.t.Fatal(err)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); !strings.Contains(out.String(), "Interrupt received"); <-tick.C {
		if time.Now().After(deadline) {
			h.t.Fatalf("it was not told to stop:\n%s", out)
		}
	}
	h.on()
	if err := c.Wait(); err == nil {
		h.t.Fatalf("it was not interrupted:\n%s", out)
	}
	if list := h.run("state", "list", "-no-color"); !strings.Contains(list, "azurerm_resource_group.first") || strings.Contains(list, "azurerm_resource_group.second") {
		h.t.Errorf("the state of the first half is\n%s", list)
	}
	h.apply()
	h.whole()
}

// killed: the lock stays, as with Azure, and says whose it is; what was made and
// is in no state is imported.
func (h *halves) killed() {
	c, _ := h.half()
	if err := syscall.Kill(-c.Process.Pid, syscall.SIGKILL); err != nil {
		h.t.Fatal(err)
	}
	_ = c.Wait()
	h.on()
	code, out := h.try("apply", "-auto-approve", "-no-color", "-input=false")
	lock := regexp.MustCompile(`ID: +([0-9a-f-]{36})`).FindStringSubmatch(out)
	if code == 0 || lock == nil {
		h.t.Fatalf("the state is not locked: exit %d\n%s", code, out)
	}
	h.run("force-unlock", "-force", lock[1])
	first := subscription + "/resourceGroups/rg-first"
	code, out = h.try("apply", "-auto-approve", "-no-color", "-input=false")
	if code == 0 || !strings.Contains(out, first) || !strings.Contains(out, "import") {
		h.t.Fatalf("what is in no state: exit %d\n%s", code, out)
	}
	h.run("import", "-no-color", "-input=false", "azurerm_resource_group.first", first)
	h.apply()
	h.whole()
}

// refused: the state has what went well.
func (h *halves) refused() {
	h.on()
	h.write(strings.Replace(halfway, `"rg-second"`, fmt.Sprintf("%q", "rg second"), 1))
	code, out := h.try("apply", "-auto-approve", "-no-color", "-input=false")
	if code == 0 || !strings.Contains(out, "azurerm_resource_group.second") {
		h.t.Fatalf("exit %d\n%s", code, out)
	}
	if list := h.run("state", "list", "-no-color"); !strings.Contains(list, "azurerm_resource_group.first") {
		h.t.Errorf("the state of the first half is\n%s", list)
	}
	h.write(halfway)
	h.apply()
	h.whole()
}
