package sandbox

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// controlGroup holds a box to its limits. Its folders carry our process's
// number, so that a later start finds those of dead processes.
type controlGroup struct {
	dirs   []string
	layers []Layer
}

// groupPrefix names our folders: prefix, process number, count.
const groupPrefix = "wherry-box-"

var groupCount atomic.Int64

// newControlGroup puts pid under the limits, as far as the machine lets us;
// layers say how far.
func newControlGroup(l Limits, pid int) *controlGroup {
	g := &controlGroup{}
	m := findControlGroups()
	name := fmt.Sprintf("%s%d-%d", groupPrefix, os.Getpid(), groupCount.Add(1))
	g.limit("memory limit", l.Memory > 0, func() error {
		return g.enter(m, "memory", name, pid, "memory.max", "memory.limit_in_bytes", strconv.FormatInt(l.Memory, 10))
	}, fmt.Sprintf("%d MiB", l.Memory>>20))
	g.limit("process limit", l.Processes > 0, func() error {
		return g.enter(m, "pids", name, pid, "pids.max", "pids.max", strconv.FormatInt(l.Processes, 10))
	}, strconv.FormatInt(l.Processes, 10))
	const period = 100_000 // microseconds
	quota := strconv.FormatInt(int64(l.CPUs*period), 10)
	g.limit("CPU limit", l.CPUs > 0, func() error {
		if m.v2 != "" {
			quota += " " + strconv.Itoa(period)
		}
		return g.enter(m, "cpu", name, pid, "cpu.max", "cpu.cfs_quota_us", quota)
	}, fmt.Sprintf("%g cores", l.CPUs))
	return g
}

func (g *controlGroup) limit(name string, wanted bool, set func() error, detail string) {
	if !wanted {
		g.layers = append(g.layers, Layer{Name: name, Detail: "not asked for"})
		return
	}
	if err := set(); err != nil {
		g.layers = append(g.layers, Layer{Name: name, Detail: err.Error()})
		return
	}
	g.layers = append(g.layers, Layer{Name: name, Active: true, Detail: detail})
}

// enter makes the folder of one controller, sets its limit, and moves pid in.
func (g *controlGroup) enter(m controlGroups, controller, name string, pid int, fileV2, fileV1, value string) error {
	parent, file := m.v2, fileV2
	if parent == "" || !m.delegated[controller] {
		parent, file = m.v1[controller], fileV1
	}
	if parent == "" {
		return errors.New(m.reason)
	}
	sweep(parent)
	dir := filepath.Join(parent, name)
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if !contains(g.dirs, dir) {
		g.dirs = append(g.dirs, dir)
	}
	if err := os.WriteFile(filepath.Join(dir, file), []byte(value), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644)
}

// remove deletes the folders once the box has ended; the kernel may need a
// moment to let the last process go.
func (g *controlGroup) remove() {
	for _, dir := range g.dirs {
		for range 200 {
			if err := unix.Rmdir(dir); err != unix.EBUSY {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// sweep removes the folders of processes that were killed.
func sweep(parent string) {
	old, _ := filepath.Glob(filepath.Join(parent, groupPrefix+"*"))
	for _, dir := range old {
		owner, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), groupPrefix), "-")
		if pid, err := strconv.Atoi(owner); err == nil && unix.Kill(pid, 0) == unix.ESRCH {
			_ = unix.Rmdir(dir)
		}
	}
}

// controlGroups is what the machine lets us write.
type controlGroups struct {
	v2        string            // folder below which new groups may be made, ""
	delegated map[string]bool   // controllers that groups made in v2 have
	v1        map[string]string // by controller
	reason    string            // why there is nothing
}

func findControlGroups() controlGroups {
	m := controlGroups{delegated: map[string]bool{}, v1: map[string]string{}, reason: "no control group that we may write"}
	own := ownGroups()
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		m.reason = err.Error()
		return m
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		left, right, _ := strings.Cut(s.Text(), " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if len(l) < 5 || len(r) < 3 {
			continue
		}
		place := func(group string) string {
			return filepath.Join(l[4], strings.TrimPrefix(group, strings.TrimSuffix(l[3], "/")))
		}
		switch r[0] {
		case "cgroup2":
			m.useV2(place(own[""]), l[4])
		case "cgroup":
			for controller := range strings.SplitSeq(r[2], ",") {
				if dir := place(own[controller]); unix.Access(dir, unix.W_OK) == nil {
					m.v1[controller] = dir
				}
			}
		}
	}
	return m
}

// useV2 looks for a folder to make groups in: our own group's, or its
// parent's, since a group with processes in it may not have limited children.
func (m *controlGroups) useV2(own, mount string) {
	for _, dir := range []string{own, filepath.Dir(own)} {
		if !within(dir, mount) || unix.Access(dir, unix.W_OK) != nil {
			continue
		}
		b, _ := os.ReadFile(filepath.Join(dir, "cgroup.subtree_control"))
		if fields := strings.Fields(string(b)); contains(fields, "memory") && contains(fields, "pids") {
			m.v2 = dir
			for _, c := range fields {
				m.delegated[c] = true
			}
			return
		}
	}
}

// ownGroups reads our own groups: controller to path, "" for version 2.
func ownGroups() map[string]string {
	own := map[string]string{}
	b, _ := os.ReadFile("/proc/self/cgroup")
	for line := range strings.SplitSeq(strings.TrimSpace(string(b)), "\n") {
		if f := strings.SplitN(line, ":", 3); len(f) == 3 {
			for controller := range strings.SplitSeq(f[1], ",") {
				own[controller] = f[2]
			}
		}
	}
	return own
}
