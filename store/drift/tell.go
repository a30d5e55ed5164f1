package drift

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store"
	"github.com/wherry-ml/wherry/store/environments"
	"github.com/wherry-ml/wherry/store/notify"
)

// tell has those told of a drift whom its environment names: of each change that
// differs from the one before, once.
func tell(tx *store.Tx, d Drift) error {
	e, place, err := environmentOf(tx, d)
	if err != nil || place == "" {
		return err
	}
	lines := []string{fmt.Sprintf("%s was %s by %s.", d.Resource, d.Kind, cmp.Or(d.Actor, "nobody we saw"))}
	for _, f := range d.Fields {
		before, errBefore := json.Marshal(f.Before)
		after, errAfter := json.Marshal(f.After)
		if err := errors.Join(errBefore, errAfter); err != nil {
			return err
		}
		lines = append(lines, fmt.Sprintf("%s: %.200s → %.200s", f.Path, before, after))
	}
	next := "`wherry drift` shows it, `wherry drift revert` and `wherry drift adopt` settle it."
	if d.Source != "" {
		next = "`wherry drift` shows it, the next terraform apply settles it."
	}
	return environments.Tell(tx, e, notify.Notice{
		DedupKey: fmt.Sprintf("drift.found/%d/%d/%s", int64(d.ID), d.FoundAt, d.Digest), Kind: wherry.EventDriftFound, Bad: true,
		Subject: fmt.Sprintf("[%s] drift: %s was %s in %s", e.Name, d.Resource, d.Kind, place), Text: strings.Join(append(lines, next), "\n"),
	})
}

// environmentOf is the environment that a drift is in, and what is deployed
// there; place is "" if there is none.
func environmentOf(tx *store.Tx, d Drift) (e wherry.Environment, place string, err error) {
	ok := false
	if d.Source == "" {
		var target string
		if err = tx.Row(`SELECT bundle, target FROM deployment WHERE id = $1`, d.DeploymentID).Scan(&place, &target); err == nil {
			e, ok, err = environments.OfTarget(tx, target)
		}
	} else {
		var payload string
		err = tx.Row(`SELECT payload FROM event WHERE kind = $1 AND subject = $2 AND workspace_id = $3 ORDER BY id DESC LIMIT 1`,
			wherry.EventInfraApplied, fmt.Sprintf("%s@%d", d.Source, d.Version), d.WorkspaceID).Scan(&payload)
		var in Infra
		if err == nil {
			err = json.Unmarshal([]byte(payload), &in)
		}
		if place = d.Source; err == nil && in.Environment != "" {
			e, ok, err = environments.ByName(tx, in.Environment)
		}
	}
	if errors.Is(err, store.ErrNoRows) || err == nil && !ok {
		return e, "", nil
	}
	return e, place, err
}
