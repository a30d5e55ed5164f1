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

// Bounds of what a notice shows; the page has all.
const (
	toldFields = 20
	toldValue  = 200
)

// tell has those told of a drift that was found whom its environment names.
func tell(tx *store.Tx, d Drift) error {
	what, e, err := drifted(tx, d)
	if err != nil {
		return err
	}
	by := cmp.Or(d.Actor, "nobody we saw")
	lines := []string{fmt.Sprintf("%s (%s) was %s by %s.", d.Resource, d.ResourceID, d.Kind, by)}
	for i, f := range d.Fields {
		if i == toldFields {
			lines = append(lines, fmt.Sprintf("… and %d fields more", len(d.Fields)-i))
			break
		}
		lines = append(lines, fmt.Sprintf("%s: %s → %s", f.Path, shown(f.Before), shown(f.After)))
	}
	switch {
	case d.Source != "":
		lines = append(lines, "The next apply of Terraform settles it.")
	case e.SelfHeal:
		lines = append(lines, e.Name+" heals itself: the deployed settings are written back.")
	default:
		lines = append(lines, "`wherry drift` shows it; `wherry drift revert "+d.Resource+"` or `wherry drift adopt "+d.Resource+"` settles it.")
	}
	return notify.Tell(tx, notify.Notice{
		DedupKey: fmt.Sprintf("drift.found/%d/%d", int64(d.ID), d.FoundAt), Kind: "drift.found", Bad: true, Link: "/drift",
		Subject: fmt.Sprintf("[%s] drift: %s was %s by %s", what, d.Resource, d.Kind, by), Text: strings.Join(lines, "\n"),
	}, e.Notify)
}

// drifted names what a drift is in, and returns its environment, an empty one
// if it has none.
func drifted(tx *store.Tx, d Drift) (what string, e wherry.Environment, err error) {
	if d.Source != "" {
		name := ""
		err := tx.Row(`SELECT environment FROM infra_resource WHERE workspace_id = $1 AND source = $2 AND address = $3`, d.WorkspaceID, d.Source, d.Resource).Scan(&name)
		if errors.Is(err, store.ErrNoRows) || err == nil && name == "" {
			return d.Source, e, nil
		}
		if err != nil {
			return "", e, err
		}
		e, _, err = environments.Named(tx, name)
		return d.Source + ", " + name, e, err
	}
	var bundle, target string
	if err := tx.Row(`SELECT bundle, target FROM deployment WHERE id = $1`, d.DeploymentID).Scan(&bundle, &target); err != nil {
		return "", e, fmt.Errorf("the deployment of a drift: %w", err)
	}
	e, _, err = environments.OfTarget(tx, target)
	return bundle + ", " + target, e, err
}

// shown is a value in a line.
func shown(v any) string {
	if v == nil {
		return "nothing"
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	if r := []rune(string(b)); len(r) > toldValue {
		return string(r[:toldValue]) + "…"
	}
	return string(b)
}
