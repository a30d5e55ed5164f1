// Package doctor says what a machine offers to wherry, and what of a project
// would be stood in for, must be supplied, or does not work here.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/wherry-ml/wherry/environment"
	"github.com/wherry-ml/wherry/sandbox"
	"github.com/wherry-ml/wherry/state"
)

// States of a Check.
const (
	OK      = "ok"
	Limited = "limited" // it works, with less
	Missing = "missing" // tasks do not run without it
)

// Check is one thing that the machine has, or lacks.
type Check struct {
	Name   string `json:"name"`
	State  string `json:"state"`
	Detail string `json:"detail"`
	Fix    string `json:"fix,omitempty"`
}

// What a first set-up and a Spark job need.
const (
	diskNeeded   = 6 << 30
	memoryNeeded = 6 << 30
)

// Machine checks this machine. dir is where the state is, or would be.
func Machine(ctx context.Context, dir state.Dir) []Check {
	checks := []Check{python(ctx), java(ctx), runtime(), git(ctx), uv()}
	checks = append(checks, disk(dir), memory())
	return append(checks, layers(ctx)...)
}

func python(ctx context.Context) Check {
	path, version, err := environment.FindPython(ctx)
	if err != nil {
		return Check{"Python", Missing, err.Error(), "install Python 3.11, 3.12 or 3.13 (Debian: apt install python3 python3-venv)"}
	}
	return Check{"Python", OK, version + " at " + path, ""}
}

func java(ctx context.Context) Check {
	home, major, ok, others := environment.FindJava(ctx)
	if ok {
		return Check{"Java", OK, fmt.Sprintf("%d at %s", major, home), ""}
	}
	detail := "no Java 17 or 21: `wherry setup` fetches one"
	if len(others) > 0 {
		detail = fmt.Sprintf("Java %s is not 17 or 21: `wherry setup` fetches one", strings.Trim(fmt.Sprint(others), "[]"))
	}
	return Check{"Java", OK, detail, ""}
}

func runtime() Check {
	e, err := environment.Open()
	if errors.Is(err, environment.ErrMissing) {
		return Check{"runtime", Limited, "not set up yet", "run `wherry setup` (it is run by itself when first needed)"}
	}
	if err != nil {
		return Check{"runtime", Missing, err.Error(), "run `wherry setup`"}
	}
	return Check{"runtime", OK, fmt.Sprintf("Python %s in %s, Java %d, %d jars", e.Version, e.Prefix, e.JavaMajor, len(e.Jars)), ""}
}

func git(ctx context.Context) Check {
	out, err := exec.CommandContext(ctx, "git", "version").Output()
	if err != nil {
		return Check{"git", Limited, "not found: deploys carry no commit", "install git"}
	}
	return Check{"git", OK, strings.TrimPrefix(strings.TrimSpace(string(out)), "git version "), ""}
}

func uv() Check {
	if path, err := exec.LookPath("uv"); err == nil {
		return Check{"uv", OK, path, ""}
	}
	return Check{"uv", OK, "not on PATH: `wherry setup` uses its own", ""}
}

// disk looks at the nearest folder that exists.
func disk(dir state.Dir) Check {
	at := string(dir)
	var st unix.Statfs_t
	for unix.Statfs(at, &st) != nil && at != filepath.Dir(at) {
		at = filepath.Dir(at)
	}
	return diskCheck(at, st.Bavail*uint64(st.Bsize)) // their types differ between systems
}

func diskCheck(at string, free uint64) Check {
	c := Check{"disk", OK, fmt.Sprintf("%d GB free at %s", free>>30, at), ""}
	if free < diskNeeded {
		c.State, c.Fix = Limited, fmt.Sprintf("a set-up needs %d GB: free some, or name another --state and XDG_CACHE_HOME", diskNeeded>>30)
	}
	return c
}

func memory() Check {
	info, _ := os.ReadFile("/proc/meminfo") // another system has none
	return memoryCheck(string(info))
}

func memoryCheck(meminfo string) Check {
	for line := range strings.Lines(meminfo) {
		rest, ok := strings.CutPrefix(line, "MemTotal:")
		if !ok {
			continue
		}
		kb, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		if err != nil {
			break
		}
		c := Check{"memory", OK, fmt.Sprintf("%.1f GB", float64(kb)/(1<<20)), ""}
		if kb<<10 < memoryNeeded {
			c.State, c.Fix = Limited, fmt.Sprintf("Spark jobs need about %d GB", memoryNeeded>>30)
		}
		return c
	}
	return Check{"memory", OK, "cannot be told on this system", ""}
}

func layers(ctx context.Context) (checks []Check) {
	list, err := sandbox.Probe(ctx)
	if err != nil {
		return []Check{{"isolation", Missing, "tasks can not be started: " + err.Error(), ""}}
	}
	for _, l := range list {
		c := Check{"isolation: " + l.Name, OK, l.Detail, ""}
		if !l.Active {
			c.State = Limited
		}
		checks = append(checks, c)
	}
	return checks
}
