package notify

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/mail"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// StoredDestination is a place that notifications go to. What a channel needs
// to know of it is sealed: see wherry.DestinationConfig.
type StoredDestination struct {
	ID          string
	WorkspaceID int64
	Name        string
	Kind        string // a wherry.Destination* constant
	// Addresses are those of a destination of e-mail.
	Addresses []string
	Sealed    []byte
	// Installation says that it is told of the environments which name nobody.
	Installation bool
}

const destinationColumns = `id, workspace_id, display_name, kind, addresses, sealed, installation`

func scanDestination(scan func(...any) error) (d StoredDestination, err error) {
	var addresses string
	if err = scan(&d.ID, &d.WorkspaceID, &d.Name, &d.Kind, &addresses, &d.Sealed, &d.Installation); err == nil {
		err = json.Unmarshal([]byte(addresses), &d.Addresses)
	}
	return d, err
}

func destination(tx *store.Tx, ws int64, id string) (StoredDestination, error) {
	d, err := scanDestination(tx.Row(`SELECT `+destinationColumns+` FROM notification_destination WHERE workspace_id = $1 AND id = $2`, ws, id).Scan)
	if errors.Is(err, store.ErrNoRows) {
		return d, wherry.Errorf(wherry.CodeDoesNotExist, "there is no notification destination %s", id)
	}
	return d, err
}

// NewDestinationID returns an id for a new destination, a UUID as on the
// platform.
func NewDestinationID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// CreateDestination stores a new destination.
func (s *Store) CreateDestination(ctx context.Context, d StoredDestination) error {
	addresses, err := json.Marshal(d.Addresses)
	if err != nil {
		return err
	}
	err = s.db.Write(ctx, func(tx *store.Tx) error {
		now, err := tx.Now()
		if err != nil {
			return err
		}
		_, err = tx.Exec(`INSERT INTO notification_destination (`+destinationColumns+`, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
			d.ID, d.WorkspaceID, d.Name, d.Kind, string(addresses), d.Sealed, d.Installation, now)
		return err
	})
	if store.IsDuplicate(err) {
		return wherry.Errorf(wherry.CodeAlreadyExists, "there is a notification destination %s already", d.ID)
	}
	return err
}

// Destination returns a destination, or RESOURCE_DOES_NOT_EXIST.
func (s *Store) Destination(ctx context.Context, ws int64, id string) (d StoredDestination, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		d, err = destination(tx, ws, id)
		return err
	})
	return d, err
}

// Receivers checks names of receivers, and returns them as they are stored:
// e-mail addresses, and ids of destinations, which may be given by name.
func (s *Store) Receivers(ctx context.Context, ws int64, names []string) ([]string, error) {
	list := []string{}
	for _, name := range names {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		if strings.Contains(name, "@") {
			if _, err := mail.ParseAddress(name); err != nil {
				return nil, wherry.Errorf(wherry.CodeInvalidParameter, "notify: %q is not an e-mail address", name)
			}
			list = append(list, name)
			continue
		}
		d, err := s.Named(ctx, ws, name)
		if err != nil {
			return nil, err
		}
		list = append(list, d.ID)
	}
	return list, nil
}

// Named finds a destination by its id, or by a name that only one has.
func (s *Store) Named(ctx context.Context, ws int64, name string) (found StoredDestination, err error) {
	if found, err = s.Destination(ctx, ws, name); wherry.CodeOf(err) != wherry.CodeDoesNotExist {
		return found, err
	}
	list, err := s.Destinations(ctx, ws, 0, maxDestinations)
	if err != nil {
		return found, err
	}
	n := 0
	for _, d := range list {
		if d.Name == name {
			found = d
			n++
		}
	}
	switch n {
	case 0:
		return found, wherry.Errorf(wherry.CodeDoesNotExist, "there is no notification destination %q: `wherry notifications destinations` lists those there are", name)
	case 1:
		return found, nil
	default:
		return found, wherry.Errorf(wherry.CodeInvalidParameter, "%d notification destinations are called %q: give the id", n, name)
	}
}

// maxDestinations bounds how many are looked through by name.
const maxDestinations = 10_000

// Destinations lists a workspace's destinations by name, at most limit, from
// offset on.
func (s *Store) Destinations(ctx context.Context, ws int64, offset, limit int) (list []StoredDestination, err error) {
	err = s.db.Read(ctx, func(tx *store.Tx) error {
		return tx.Each(`SELECT `+destinationColumns+` FROM notification_destination WHERE workspace_id = $1 ORDER BY display_name, id LIMIT $2 OFFSET $3`,
			[]any{ws, limit, offset}, func(row func(...any) error) error {
				d, err := scanDestination(row)
				list = append(list, d)
				return err
			})
	})
	return list, err
}

// UpdateDestination gives a destination what change makes of it.
func (s *Store) UpdateDestination(ctx context.Context, ws int64, id string, change func(*StoredDestination) error) (d StoredDestination, err error) {
	err = s.db.Write(ctx, func(tx *store.Tx) error {
		if d, err = destination(tx, ws, id); err != nil {
			return err
		}
		if err := change(&d); err != nil {
			return err
		}
		addresses, err := json.Marshal(d.Addresses)
		if err != nil {
			return err
		}
		_, err = tx.Exec(`UPDATE notification_destination SET display_name = $1, addresses = $2, sealed = $3, installation = $4 WHERE workspace_id = $5 AND id = $6`,
			d.Name, string(addresses), d.Sealed, d.Installation, ws, id)
		return err
	})
	return d, err
}

// DeleteDestination deletes a destination. What waits to be sent there becomes
// undeliverable.
func (s *Store) DeleteDestination(ctx context.Context, ws int64, id string) error {
	return s.db.Write(ctx, func(tx *store.Tx) error {
		n, err := tx.Exec(`DELETE FROM notification_destination WHERE workspace_id = $1 AND id = $2`, ws, id)
		if err == nil && n == 0 {
			return wherry.Errorf(wherry.CodeDoesNotExist, "there is no notification destination %s", id)
		}
		return err
	})
}
