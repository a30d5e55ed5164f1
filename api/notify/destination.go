package notify

import (
	"context"
	"regexp"
	"strconv"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/api"
	"github.com/wherry-ml/wherry/notify"
	store "github.com/wherry-ml/wherry/store/notify"
)

// The documented sizes of a page.
const (
	pageSize = 100
	maxPage  = 1000
)

// ids are what a destination may be called by: a job of another workspace names
// its destination by an id, which one can be given here.
var ids = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,63}$`)

// create makes a destination. Unlike the platform's call it takes an id as well.
func (a *API) create(ctx context.Context, in *wherry.Destination) (*wherry.Destination, error) {
	if err := in.Validate(); err != nil {
		return nil, err
	}
	if in.ID == "" {
		in.ID = store.NewDestinationID()
	}
	if !ids.MatchString(in.ID) {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "id has at most 64 letters, digits and dashes")
	}
	d := store.StoredDestination{ID: in.ID, WorkspaceID: wherry.IdentityFrom(ctx).WorkspaceID, Kind: in.Config.Type()}
	if err := a.fill(&d, in); err != nil {
		return nil, err
	}
	if err := a.store.CreateDestination(ctx, d); err != nil {
		return nil, err
	}
	return a.shown(ctx, d)
}

// fill puts what was sent into what is stored.
func (a *API) fill(d *store.StoredDestination, in *wherry.Destination) (err error) {
	d.Name, d.Addresses = in.Name, nil
	if in.Installation != nil {
		if d.Installation = *in.Installation; d.Installation && d.WorkspaceID != wherry.DefaultWorkspace {
			return wherry.Errorf(wherry.CodeInvalidParameter, "the installation's destinations are those of its first workspace: make it there")
		}
	}
	if in.Config.Email != nil {
		d.Addresses = in.Config.Email.Addresses
	}
	d.Sealed, err = notify.SealConfig(a.key, d.ID, in.Config)
	return err
}

// shown is a destination as it may be told of: its configuration to admins only,
// and no secret to anyone.
func (a *API) shown(ctx context.Context, d store.StoredDestination) (*wherry.Destination, error) {
	out := &wherry.Destination{ID: d.ID, Name: d.Name, Type: d.Kind}
	if d.Installation {
		out.Installation = &d.Installation
	}
	if !wherry.IdentityFrom(ctx).Admin {
		return out, nil
	}
	c, err := notify.OpenConfig(a.key, d)
	if err != nil {
		return nil, err
	}
	out.Config = c.Shown()
	return out, nil
}

type destinationIn struct {
	ID string `json:"id"`
}

func (a *API) get(ctx context.Context, in *destinationIn) (*wherry.Destination, error) {
	d, err := a.store.Destination(ctx, wherry.IdentityFrom(ctx).WorkspaceID, in.ID)
	if err != nil {
		return nil, err
	}
	return a.shown(ctx, d)
}

type pageIn struct {
	PageSize  int    `json:"page_size"`
	PageToken string `json:"page_token"`
}

// Destinations is a page of destinations, without their configuration.
type Destinations struct {
	Results []wherry.Destination `json:"results,omitempty"`
	Next    string               `json:"next_page_token,omitempty"`
}

func (a *API) list(ctx context.Context, in *pageIn) (*Destinations, error) {
	size, offset := in.PageSize, 0
	if size <= 0 || size > maxPage {
		size = pageSize
	}
	if in.PageToken != "" {
		var err error
		if offset, err = strconv.Atoi(in.PageToken); err != nil || offset < 0 {
			return nil, wherry.Errorf(wherry.CodeInvalidParameter, "page_token is not one that a list gave")
		}
	}
	list, err := a.store.Destinations(ctx, wherry.IdentityFrom(ctx).WorkspaceID, offset, size+1)
	if err != nil {
		return nil, err
	}
	out := &Destinations{}
	if len(list) > size {
		list, out.Next = list[:size], strconv.Itoa(offset+size)
	}
	for _, d := range list {
		shown := wherry.Destination{ID: d.ID, Name: d.Name, Type: d.Kind}
		if d.Installation {
			shown.Installation = &d.Installation
		}
		out.Results = append(out.Results, shown)
	}
	return out, nil
}

// update changes what is given: a name, a configuration, or a part of one. The
// type stays.
func (a *API) update(ctx context.Context, in *wherry.Destination) (*wherry.Destination, error) {
	d, err := a.store.UpdateDestination(ctx, wherry.IdentityFrom(ctx).WorkspaceID, in.ID, func(d *store.StoredDestination) error {
		next := wherry.Destination{Name: in.Name, Config: in.Config, Installation: in.Installation}
		if next.Name == "" {
			next.Name = d.Name
		}
		before, err := notify.OpenConfig(a.key, *d)
		switch {
		case next.Config == nil && err != nil:
			return err
		case next.Config == nil:
			next.Config = before
		case next.Config.Type() != d.Kind:
			return wherry.Errorf(wherry.CodeInvalidParameter, "the destination is of the type %s, which stays: make another one", d.Kind)
		case err == nil: // else it is set whole: the key was another
			next.Config.Merge(before)
		}
		if err := next.Validate(); err != nil {
			return err
		}
		return a.fill(d, &next)
	})
	if err != nil {
		return nil, err
	}
	return a.shown(ctx, d)
}

func (a *API) remove(ctx context.Context, in *destinationIn) (*api.Empty, error) {
	return &api.Empty{}, a.store.DeleteDestination(ctx, wherry.IdentityFrom(ctx).WorkspaceID, in.ID)
}
