//go:build linux

package sandbox

// StartUnmapped makes a box as on a file system or a kernel that cannot show
// other owners: the tasks of root then are the machine's root, without its
// capabilities.
func StartUnmapped(spec Spec) (*Box, error) {
	return startIsolated(spec, func() (*mapper, error) { return nil, errMap })
}
