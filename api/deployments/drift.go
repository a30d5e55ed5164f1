package deployments

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"path"
	"strings"
	"time"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/store/deployments"
	"github.com/wherry-ml/wherry/store/drift"
)

// Watch compares what was written to with what was deployed, until ctx ends.
func (s *Service) Watch(ctx context.Context) error {
	changed, stop := s.db.Watch(drift.Topic)
	defer stop()
	for {
		wait := time.Minute
		later, troubles, err := s.Compare(ctx)
		if err != nil && ctx.Err() == nil {
			slog.Error("drift: pass failed", "err", err)
		}
		for id, err := range troubles {
			slog.Error("drift: compare a deployment", "deployment", id, "err", err)
		}
		if later {
			wait = time.Second
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// Compare looks at every deployed resource that was written to since. Those of
// a deployment whose deploy is going on are left for later, and so are those of
// one that can not be compared: its trouble, by its id, holds up no other.
func (s *Service) Compare(ctx context.Context) (later bool, troubles map[string]error, err error) {
	s.comparing.Lock()
	defer s.comparing.Unlock()
	pending, err := s.drifts.Pending(ctx, 1000)
	if err != nil || len(pending) == 0 {
		return false, nil, err
	}
	places, troubles := map[string]*place{}, map[string]error{}
	for _, check := range pending {
		id := check.DeploymentID
		if troubles[id] != nil {
			continue
		}
		p, ok := places[id]
		if !ok {
			var end func()
			if p, end, err = s.place(ctx, id); err != nil {
				troubles[id] = err
				continue
			}
			defer end()
			places[id] = p
		}
		if p.busy {
			later = true
			continue
		}
		wait, err := s.compare(ctx, p, check)
		if err != nil {
			troubles[id] = err
		}
		later = later || wait
	}
	return later, troubles, ctx.Err()
}

// place is a deployment with what is needed to compare it.
type place struct {
	deployments.Deployment
	rows map[string]deployments.Resource
	env  wherry.Environment
	c    *caller // acts for who deployed it
	busy bool    // a deploy is going on
}

// place reads a deployment for comparing. End it with the function returned.
func (s *Service) place(ctx context.Context, id string) (p *place, end func(), err error) {
	p = &place{rows: map[string]deployments.Resource{}}
	if p.Deployment, err = s.store.ByID(ctx, id); err != nil {
		return nil, nil, err
	}
	rows, err := s.store.Resources(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	for _, r := range rows {
		if !r.Doomed {
			p.rows[r.Key] = r
		}
	}
	if p.env, _, err = s.places.OfTarget(ctx, p.Target); err != nil {
		return nil, nil, err
	}
	if p.busy, err = s.store.InProgress(ctx, id); err != nil {
		return nil, nil, err
	}
	by := p.CreatedBy
	if v, ok, err := s.store.LastDeployed(ctx, id); err != nil {
		return nil, nil, err
	} else if ok {
		by = v.CreatedBy
	}
	if p.c, end, err = s.callerFor(ctx, p.WorkspaceID, by, "comparing a deployment"); err != nil {
		return nil, nil, err
	}
	p.c.deployment = id
	return p, end, nil
}

// healer is who heals by itself what drifted.
const healer = "wherry"

// compare looks at one resource, stores what differs, and heals it where the
// environment says so. Where a deploy began since p was read, nothing is healed
// and the check waits.
func (s *Service) compare(ctx context.Context, p *place, check drift.Check) (later bool, err error) {
	row, ok := p.rows[check.Resource]
	if !ok || p.DestroyedAt > 0 {
		return false, s.drifts.Done(ctx, check.ID)
	}
	d, ignored, err := s.driftOf(ctx, p, row)
	if err != nil {
		return false, err
	}
	heal := d.Kind != "" && p.env.SelfHeal
	if heal { // a deploy that begins meanwhile would have old settings written over its own
		if err := s.step("heals " + row.Key); err != nil {
			return false, err
		}
		if !s.claim(p.ID) {
			return true, nil
		}
		defer s.release(p.ID)
		if same, err := s.unmoved(ctx, p); err != nil || !same {
			return true, err
		}
	}
	d.Actor, d.RunID = check.Actor, check.RunID
	way := check.Way
	switch {
	case way == "" && ignored:
		way = drift.WayIgnored
	case way == "":
		way = drift.WayUndone
	}
	found, err := s.drifts.Compared(ctx, check.ID, d, way, check.Actor)
	if err != nil || found.ID == 0 || !heal {
		return false, err
	}
	if err := s.restore(ctx, p, row, found, drift.WayHealed, healer); err != nil {
		slog.Warn("drift: self-heal failed", "deployment", p.ID, "resource", row.Key, "err", err)
		return false, s.drifts.Mark(ctx, p.WorkspaceID, int64(found.ID), drift.Open, "self-heal failed: "+err.Error(), healer)
	}
	return false, nil
}

// unmoved tells whether no deploy began, nor ended, since p was read.
func (s *Service) unmoved(ctx context.Context, p *place) (bool, error) {
	now, err := s.store.ByID(ctx, p.ID)
	if err != nil || now.LastVersion != p.LastVersion {
		return false, err
	}
	busy, err := s.store.InProgress(ctx, p.ID)
	return !busy, err
}

// driftOf compares a resource; Kind is "" if nothing differs but what the
// environment ignores.
func (s *Service) driftOf(ctx context.Context, p *place, row deployments.Resource) (d drift.Drift, ignored bool, err error) {
	d = drift.Drift{WorkspaceID: p.WorkspaceID, DeploymentID: p.ID, Version: row.Version, Resource: row.Key, ResourceID: row.ResourceID}
	live, err := s.liveOf(ctx, p.c, row.Kind, row.ResourceID)
	if err != nil {
		return d, false, err
	}
	if live == nil {
		if _, ok := kinds[row.Kind]; ok {
			d.Kind = drift.Deleted
		}
		return d, false, nil // permissions go with their object, which is told
	}
	for _, f := range drifted(row, live) {
		if p.env.Ignores(row.Key, f.Path) {
			ignored = true
			continue
		}
		d.Kind, d.Fields = drift.Changed, append(d.Fields, f)
	}
	return d, ignored, nil
}

// restore writes the deployed settings of a resource back, and settles its
// drift.
func (s *Service) restore(ctx context.Context, p *place, row deployments.Resource, d drift.Drift, way, actor string) error {
	if err := s.writeBack(ctx, p, row, d); err != nil {
		return err
	}
	row = p.rows[row.Key]
	left, _, err := s.driftOf(ctx, p, row)
	if err != nil {
		return err
	}
	if left.Kind != "" {
		names := []string{}
		for _, f := range left.Fields {
			names = append(names, f.Path)
		}
		return wherry.Errorf(wherry.CodeInvalidState, "%s could not be brought back whole: %s differs still", row.Key, strings.Join(names, ", "))
	}
	_, err = s.drifts.Compared(ctx, 0, left, way, actor)
	return err
}

func (s *Service) writeBack(ctx context.Context, p *place, row deployments.Resource, d drift.Drift) error {
	base, ext, _ := strings.Cut(row.Kind, ".")
	k, ok := kinds[base]
	if !ok {
		return wherry.NotImplemented("bringing back a resource of the type " + row.Kind)
	}
	live, err := s.liveOf(ctx, p.c, row.Kind, row.ResourceID)
	if err != nil {
		return err
	}
	if ext != "" {
		return p.writeExtras(ctx, k, ext, row, live)
	}
	config, err := asDeployed(row, d)
	if err != nil {
		return err
	}
	if live != nil {
		config = p.keepIgnored(row, config, live)
	}
	if row.Kind == "jobs" {
		tied, _ := config["deployment"].(map[string]any)
		if tied == nil {
			tied = map[string]any{"kind": "BUNDLE"}
		}
		tied["deployment_id"] = p.ID
		config["deployment"] = tied
	}
	if live != nil {
		_, err = k.update(ctx, p.c, row.ResourceID, live, config)
	} else {
		err = s.remake(ctx, p, k, row, config)
	}
	if err != nil || live != nil && d.Kind != drift.Deleted {
		return err
	}
	return s.reextra(ctx, p, k, row.Key) // also where a former attempt got no further than making it
}

// asDeployed is what was deployed: what the bundle declares, and of fields that it
// does not, what they were.
func asDeployed(row deployments.Resource, d drift.Drift) (config map[string]any, err error) {
	if err := json.Unmarshal([]byte(row.State), &config); err != nil {
		return nil, fmt.Errorf("%s: %w", row.Key, err)
	}
	if row.Kind == "jobs" || row.Kind == "clusters" {
		return config, nil // a reset or an edit takes away what it does not name
	}
	for _, f := range d.Fields {
		if _, declared := config[f.Path]; !declared && !strings.ContainsAny(f.Path, ".[") {
			config[f.Path] = f.Before
			if _, is := f.After.(bool); f.Before == nil && is {
				config[f.Path] = false
			} else if f.Before == nil {
				config[f.Path] = ""
			}
		}
	}
	return config, nil
}

// writeExtras makes the permissions or grants on a resource those that there were
// right after the deploy, others' too.
func (p *place) writeExtras(ctx context.Context, k kind, ext string, row deployments.Resource, live map[string]any) error {
	list := listOf(row.State)
	if was := map[string]any{}; row.Live != "" {
		if err := json.Unmarshal([]byte(row.Live), &was); err != nil {
			return fmt.Errorf("%s: %w", row.Key, err)
		}
		list = extrasOf(ext, p.keptFields(row.Key, "", was, live))
	}
	return setExtras["."+ext](ctx, p.c, k, row.ResourceID, extrasOf(ext, live), list)
}

// extrasOf writes permissions or grants by principal, as liveOf gives them, as a
// bundle has them.
func extrasOf(ext string, by map[string]any) (list []map[string]any) {
	for who, what := range by {
		switch word, name, ok := strings.Cut(who, " "); {
		case ext == "grants":
			list = append(list, map[string]any{"principal": who, "privileges": what})
		case ok && strings.HasSuffix(word, "_name"):
			list = append(list, map[string]any{word: name, "level": what})
		default: // of a secret scope
			list = append(list, map[string]any{"principal": who, "level": what})
		}
	}
	return list
}

// remake makes a deleted resource anew. What it held is gone. That the deployment
// holds the new one is stored before anything else: whatever ends this does not
// leave one that nothing knows of, but for a job between its making and that,
// which the next attempt deletes.
func (s *Service) remake(ctx context.Context, p *place, k kind, row deployments.Resource, config map[string]any) error {
	if row.Kind == "jobs" {
		if err := s.orphans(ctx, p.c, p.ID); err != nil {
			return err
		}
	}
	id, err := k.create(ctx, p.c, request(row.Kind, config, listOf(p.rows[row.Key+".permissions"].State)))
	if err != nil {
		return err
	}
	if err := s.step("made " + row.Key); err != nil {
		return err
	}
	moved := append(p.extrasOn(row), row)
	for i := range moved {
		moved[i].ResourceID = id
	}
	if err := s.store.PutResources(ctx, moved...); err != nil {
		return err
	}
	for _, r := range moved {
		p.rows[r.Key] = r
	}
	return s.step("moved " + row.Key)
}

// extrasOn are the rows of the permissions and grants on a resource.
func (p *place) extrasOn(row deployments.Resource) (list []deployments.Resource) {
	for key, r := range p.rows {
		if strings.HasPrefix(key, row.Key+".") && strings.HasPrefix(r.Kind, row.Kind+".") {
			list = append(list, r)
		}
	}
	return list
}

// reextra gives a resource that was made anew its permissions and grants, and
// stores how all of it is now.
func (s *Service) reextra(ctx context.Context, p *place, k kind, key string) error {
	row := p.rows[key]
	all := append(p.extrasOn(row), row)
	for _, r := range all[:len(all)-1] {
		if err := setExtras[path.Ext(r.Kind)](ctx, p.c, k, r.ResourceID, nil, listOf(r.State)); err != nil {
			return err
		}
	}
	for i, r := range all {
		live, err := s.liveOf(ctx, p.c, r.Kind, r.ResourceID)
		if err != nil {
			return err
		}
		all[i].Live = stateOf(live)
		p.rows[r.Key] = all[i]
	}
	return s.store.PutResources(ctx, all...)
}
