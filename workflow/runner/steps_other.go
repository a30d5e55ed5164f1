//go:build !linux

package runner

// endSteps leaves the steps to the engine, which kills them.
func endSteps() {}
