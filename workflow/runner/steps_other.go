//go:build !linux

package runner

// limits: the engine keeps the time-outs of steps, which are whole minutes to it.
const limits = false

// endSteps leaves the steps to the engine, which kills them.
func endSteps() {}

// reapOrphans does nothing: no orphans come to us on this system.
func reapOrphans() (stop func()) { return func() {} }

func endGroups([]int) {}

func groups(map[int]bool) []int { return nil }
