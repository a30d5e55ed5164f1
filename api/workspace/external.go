package workspace

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/blob"
)

// lakeName is the name below our own lake of an external volume's location,
// abfss://container@account.dfs.core.windows.net/path, and of its container. It
// is "" for another store, which is not reached.
func lakeName(location string) (name, container string) {
	u, err := url.Parse(location)
	if err != nil {
		return "", ""
	}
	account, ok := strings.CutSuffix(u.Hostname(), ".dfs.core.windows.net")
	if u.Scheme != "abfss" || !ok || u.User == nil {
		return "", ""
	}
	name, err = blob.Clean(path.Join(account, u.User.Username(), u.Path))
	if err != nil {
		return "", ""
	}
	return name, path.Join(account, u.User.Username())
}

// external finds the place of an external volume's file in our own lake.
func (s *Service) external(v *wherry.Securable, inside string) (*place, error) {
	top, container := lakeName(v.Location)
	if top == "" {
		return nil, wherry.NotImplemented("reading and writing the external volume " + v.FullName() + " at " + v.Location)
	}
	d, err := blob.Open(s.dir.Lake())
	if err != nil {
		return nil, err
	}
	if ok, err := isDir(d, container); err != nil || !ok {
		d.Close()
		return nil, wherry.Errorf(wherry.CodeDoesNotExist, "The container of volume %s does not exist here: %s", v.FullName(), v.Location)
	}
	return &place{Dir: d, name: path.Join(top, inside), top: top}, nil
}

// ExternalVolumes are the folders of the lake that tasks see as external
// volumes, by the paths they see. A volume whose container is not here is left
// out, and one within another: tasks that write to the outer one could lead the
// inner one elsewhere by a link.
func (s *Service) ExternalVolumes(ctx context.Context) (map[string]string, error) {
	list, err := s.catalog.ExternalVolumes(ctx)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	lake, err := blob.Open(s.dir.Lake())
	if err != nil {
		return nil, err
	}
	defer lake.Close()
	volumes, err := blob.Open(s.dir.Volumes())
	if err != nil {
		return nil, err
	}
	defer volumes.Close()
	slices.SortFunc(list, func(a, b *wherry.Securable) int { return strings.Compare(a.Location, b.Location) })
	found := map[string]string{}
	var outer []string
	for _, v := range list {
		name, container := lakeName(v.Location)
		within := slices.ContainsFunc(outer, func(o string) bool { return strings.HasPrefix(name, o+"/") })
		if ok, err := isDir(lake, container); name == "" || within || err != nil || !ok {
			continue
		}
		at := path.Join(v.Catalog, v.Schema, v.Name)
		folder := filepath.Join(s.dir.Lake(), filepath.FromSlash(name))
		if errors.Join(lake.MakeAll(name), volumes.MakeAll(at)) != nil || linked(s.dir.Lake(), folder, name) {
			slog.Warn("tasks do not see an external volume: something is in the way", "volume", v.FullName(), "location", v.Location)
			continue
		}
		outer = append(outer, name)
		found["/Volumes/"+at] = folder
	}
	return found, nil
}

// linked tells whether a link leads from the lake's folder elsewhere.
func linked(lake, folder, name string) bool {
	top, err := filepath.EvalSymlinks(lake)
	if err != nil {
		return true
	}
	real, err := filepath.EvalSymlinks(folder)
	return err != nil || real != filepath.Join(top, filepath.FromSlash(name))
}
