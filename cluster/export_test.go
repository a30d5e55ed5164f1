//go:build linux

package cluster

// HostMemoryMB is the machine's memory.
func HostMemoryMB() int { return hostMemoryMB() }
