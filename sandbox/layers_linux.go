package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Probe makes an empty box with limits of every kind, as clusters have, and
// tells what isolates it, for `wherry doctor`.
func Probe(ctx context.Context) ([]Layer, error) {
	b, err := Start(ctx, Spec{Limits: Limits{Memory: 1 << 30, Processes: 4096, CPUs: 1}})
	if err != nil {
		return nil, err
	}
	return b.Layers(), b.Close()
}

// The names of the layers that Start decides.
const (
	layerUser      = "user namespace"
	layerView      = "mount view"
	layerProcesses = "process namespace"
	layerNetwork   = "network namespace"
	layerPrivilege = "no new privileges"
	layerLandlock  = "landlock"
	layerSeccomp   = "seccomp filter"
)

// isolatedLayers tells of a box with namespaces. mapped is whether the tasks
// of root have an id of their own, err why they could not.
func isolatedLayers(mapped bool, err error) []Layer {
	uid, _ := inside()
	user := fmt.Sprintf("tasks have uid %d, which is uid %d of the machine, and no capabilities", uid, os.Getuid())
	switch {
	case mapped:
		user = fmt.Sprintf("tasks have uid %d, which is nobody's (%d) of the machine, and no capabilities", uid, taskHostID)
	case err != nil:
		user += fmt.Sprintf(" (%v: run the server as an ordinary user for a stronger box)", err)
	}
	return []Layer{
		{layerUser, true, user},
		{layerView, true, "own /tmp, /run, /dev; the state directory and $HOME hidden; the rest read only"},
		{layerProcesses, true, "tasks see and signal only their own; all end together"},
		{layerNetwork, true, "loopback only; the way out is wherry's proxy"},
		{layerPrivilege, true, "set-uid programs give nothing"},
		{layerLandlock, false, "not used: the mount view decides what is seen"},
	}
}

func plainLayers(reason string) []Layer {
	return []Layer{
		{layerUser, false, reason},
		{layerView, false, "needs namespaces; /Workspace, /Volumes and /dbfs work in Python only"},
		{layerProcesses, false, "needs namespaces; tasks end by a walk through their descendants"},
		{layerNetwork, false, "needs namespaces; programs may ignore the proxy variables and reach the network"},
		{layerPrivilege, true, "set-uid programs give nothing"},
		{layerLandlock, false, "not used"},
	}
}

// seccompLayer tells of the filter; problem is why there is none.
func seccompLayer(problem string) Layer {
	if problem != "" {
		return Layer{layerSeccomp, false, problem}
	}
	return Layer{layerSeccomp, true, "calls that tasks do not need (bpf, io_uring, keyrings, modules, …) are refused"}
}

// noNamespaces makes an empty box and returns why this machine can not, nil if
// it can or could at another moment.
func noNamespaces() error {
	b, err := startIsolated(Spec{}, newMapper)
	if err == nil {
		_ = b.Close()
		return nil
	}
	for _, refusal := range []error{unix.EPERM, unix.EACCES, unix.EINVAL, unix.ENOSYS, unix.ENODEV, unix.EOPNOTSUPP} {
		if errors.Is(err, refusal) {
			return err
		}
	}
	if errors.Is(err, unix.ENOSPC) && namespacesForbidden() {
		return err
	}
	return nil
}

// namespacesForbidden reports whether there may be none of a kind: a limit of 0
// gives the same error as one that is reached.
func namespacesForbidden() bool {
	for _, kind := range []string{"user", "mnt", "pid", "ipc", "uts", "net"} {
		b, err := os.ReadFile("/proc/sys/user/max_" + kind + "_namespaces")
		if err == nil && strings.TrimSpace(string(b)) == "0" {
			return true
		}
	}
	return false
}
