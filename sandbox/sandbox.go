// Package sandbox runs programs in a box of their own: a private view of the
// file system with /Workspace, /Volumes and /dbfs in it, private processes and
// a private network whose only way out is what we listen on inside. A box lives
// as long as the process that started it, and never a moment longer.
//
// The box's first process is this executable again, under the name
// "wherry-sandbox": Main. It makes the view, opens the listeners, and then runs
// the commands that it is sent. Where the kernel gives no namespaces the same
// process runs the same commands without a view and without a network of their
// own, and Layers says so.
package sandbox

import (
	"os"
	"path/filepath"
	"strings"
)

// Spec says what box to make.
type Spec struct {
	// Plain asks for no namespaces even where they can be had.
	Plain bool
	View  View
	// Hosts maps host names to addresses inside the box, beside localhost.
	Hosts map[string]string
	// HostsFile is where the box's /etc/hosts is kept, so that SetHosts can
	// change it later; "" keeps it inside, for good.
	HostsFile string
	// Listen names the TCP addresses, all loopback, to open inside the box.
	Listen []string
	Limits Limits
	// Log is a file for complaints of the box's first process; "" is our stderr.
	Log string
}

// View is what the programs see of the file system: the machine's own, read
// only, without what is hidden, with a private /tmp, /run, /dev and /proc, and
// with the binds.
type View struct {
	Binds []Bind
	// Hide names directories that look empty inside: the state directory, $HOME.
	Hide []string
	// Keep names what stays readable, at its own path, inside of hidden
	// directories and /tmp: a Python environment, a JDK.
	Keep []string
	// Temp is the directory behind the private /tmp; "" keeps it in memory.
	Temp string
}

// Bind shows the directory or file Src at Dst.
type Bind struct {
	Src, Dst string
	ReadOnly bool
}

// Limits of a whole box; zero is no limit.
type Limits struct {
	Memory    int64   // bytes
	CPUs      float64 // cores
	Processes int64
	OpenFiles uint64 // for each process
}

// Command is a program to run in a box.
type Command struct {
	Argv []string
	Env  []string // the whole environment
	Dir  string   // as seen inside; "" is /
	// Files become the descriptors 0, 1, 2, …, a nil among them /dev/null; the
	// caller keeps its own.
	Files []*os.File `json:"-"`
	// KeepCaps leaves the program its capabilities over the box, none over the
	// machine: a fork server gives each of its children a view of its own, and
	// then drops them. Everything else runs with none.
	KeepCaps bool
}

// Layer is one means of isolation.
type Layer struct {
	Name   string `json:"name"`
	Active bool   `json:"active"`
	// Detail says what an active layer does, or why one is not active.
	Detail string `json:"detail"`
}

// realPath returns the path behind name for a program that runs without the
// view.
func (v View) realPath(name string) string {
	best := Bind{}
	for _, b := range v.Binds {
		if within(name, b.Dst) && len(b.Dst) > len(best.Dst) {
			best = b
		}
	}
	if best.Dst == "" {
		return name
	}
	return filepath.Join(best.Src, strings.TrimPrefix(name, best.Dst))
}

// KeepProgram returns what to keep for a program that may lie in a hidden
// directory: the prefix (the folder of its bin folder) of each link that leads
// to it. A virtual environment's python links to one of pyenv, uv or conda,
// mostly below $HOME.
func KeepProgram(name string) (keep []string) {
	for range 16 {
		if filepath.Base(filepath.Dir(name)) == "bin" {
			keep = append(keep, filepath.Dir(filepath.Dir(name)))
		} else {
			keep = append(keep, name)
		}
		target, err := os.Readlink(name)
		if err != nil {
			break
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(name), target)
		}
		name = target
	}
	return keep
}

// within reports whether name is dir or below it.
func within(name, dir string) bool {
	dir = strings.TrimSuffix(dir, "/")
	return name == dir || strings.HasPrefix(name, dir+"/")
}
