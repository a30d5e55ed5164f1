package workspace

import (
	"context"
	"io/fs"
	"path"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/blob"
)

// place is where a path of DBFS or the Files API leads: a name in an open
// directory.
type place struct {
	*blob.Dir
	name string
	// top is the name of the volume itself or ".", which is not to be deleted.
	top string
}

// volume finds the place of c/s/v/… (what follows /Volumes/). Volumes must be
// in the catalog; their names are in any case.
func (s *Service) volume(ctx context.Context, rest string) (*place, error) {
	name, err := blob.Clean(rest)
	if err != nil {
		return nil, err
	}
	parts := strings.SplitN(name, "/", 4)
	if len(parts) < 3 {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "/Volumes/%s is not in a volume: a path begins with /Volumes/<catalog>/<schema>/<volume>", strings.TrimPrefix(name, "."))
	}
	v, err := s.catalog.Get(ctx, wherry.SecurableVolume, strings.Join(parts[:3], "."))
	if err != nil {
		return nil, err
	}
	inside := "."
	if len(parts) == 4 {
		inside = parts[3]
	}
	if v.TableType == wherry.External {
		return s.external(v, inside)
	}
	d, err := blob.Open(s.dir.Volumes())
	if err != nil {
		return nil, err
	}
	top := path.Join(v.Catalog, v.Schema, v.Name)
	p := &place{Dir: d, name: path.Join(top, inside), top: top}
	if err := d.MakeAll(top); err != nil {
		d.Close()
		return nil, err
	}
	return p, nil
}

// VolumeFiles lists a directory of a volume (a full name), by name; inside is
// the directory's path within the volume, "" for its top.
func (s *Service) VolumeFiles(ctx context.Context, volume, inside string) ([]fs.FileInfo, error) {
	rest := strings.ReplaceAll(volume, ".", "/") + "/" + inside // not joined: ".." is to be refused
	p, err := s.volume(ctx, rest)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	list, err := p.List(p.name)
	return list, blob.Error(err, "/Volumes/"+rest)
}

// dbfs finds the place of a DBFS path: /a, dbfs:/a, /dbfs/a, or one in a volume.
func (s *Service) dbfs(ctx context.Context, p string) (*place, error) {
	p = strings.TrimPrefix(p, "dbfs:")
	if !strings.HasPrefix(p, "/") {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "the path must be absolute, as in /tmp/x or dbfs:/tmp/x, not %.200q", p)
	}
	if rest, ok := strings.CutPrefix(p, "/Volumes/"); ok {
		return s.volume(ctx, rest)
	}
	name, err := blob.Clean(p)
	if err != nil {
		return nil, err
	}
	d, err := blob.Open(s.dir.DBFS(wherry.IdentityFrom(ctx).WorkspaceID))
	if err != nil {
		return nil, err
	}
	return &place{Dir: d, name: name, top: "."}, nil
}
