package blob

import (
	"cmp"
	"io/fs"
	"slices"
)

// named is the FileInfo of a link's target under the link's name.
type named struct {
	fs.FileInfo
	name string
}

func (n named) Name() string { return n.name }

func sortInfos(list []fs.FileInfo) {
	slices.SortFunc(list, func(a, b fs.FileInfo) int { return cmp.Compare(a.Name(), b.Name()) })
}
