package notify

import (
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
)

// Tell enqueues a notice of an environment. Besides the notice's own receivers
// those get it whom the environment names (wherry.Environment.Notify); where it
// names nobody, the destinations of the installation. Environments are the
// installation's, so destinations are those of its first workspace.
func Tell(tx *store.Tx, n Notice, named []string) error {
	n.WorkspaceID = wherry.DefaultWorkspace
	for _, to := range named {
		if strings.Contains(to, "@") {
			n.Emails = append(n.Emails, to)
		} else {
			n.Destinations = append(n.Destinations, to)
		}
	}
	if len(named) == 0 {
		err := tx.Each(`SELECT id FROM notification_destination WHERE workspace_id = $1 AND installation ORDER BY id`, []any{n.WorkspaceID}, func(scan func(...any) error) error {
			id := ""
			err := scan(&id)
			n.Destinations = append(n.Destinations, id)
			return err
		})
		if err != nil {
			return err
		}
	}
	return Enqueue(tx, n)
}
