package deployments

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/bundle/deployment"
	"github.com/wherry-ml/wherry/store/deployments"
)

// moves finds resources that only got another key in the bundle: they stay the
// same, with their id and history, instead of being deleted and made anew. A key
// that is new takes over one that is gone if the resources have the same name,
// or else the same settings, and no other two could be meant.
func (p *plan) moves(in *deployment.Request) {
	known := p.known()
	for _, same := range []func(old deployments.Resource, r deployment.Resource, config map[string]any) bool{sameName, sameSettings} {
		matches, taken := map[string][]deployment.Resource{}, map[string]int{}
		for key, row := range p.have {
			if _, ok := kinds[row.Kind]; !ok || has(in, key) {
				continue
			}
			for _, r := range p.order {
				if _, ours := p.have[r.ID()]; !ours && r.Type == row.Kind && same(row, r, p.resolve(in, r, known, true)) {
					matches[key] = append(matches[key], r)
					taken[r.ID()]++
				}
			}
		}
		for _, key := range slices.Sorted(maps.Keys(matches)) {
			if found := matches[key]; len(found) == 1 && taken[found[0].ID()] == 1 {
				p.move(key, found[0].ID())
			}
		}
	}
}

func sameName(old deployments.Resource, r deployment.Resource, config map[string]any) bool {
	k := kinds[r.Type]
	name := k.name(config)
	if name == "" || strings.Contains(name, unknown) {
		return false
	}
	if k.find != nil && old.Kind != "experiments" { // named by its id
		return strings.EqualFold(name, old.ResourceID)
	}
	return name == k.name(settingsOf(old))
}

func sameSettings(old deployments.Resource, r deployment.Resource, config map[string]any) bool {
	if kinds[r.Type].find != nil { // its name is what it is
		return false
	}
	was := settingsOf(old)
	now := maps.Clone(config)
	for _, name := range []string{"name", "cluster_name"} {
		delete(was, name)
		delete(now, name)
	}
	return stateOf(was) == stateOf(now)
}

func settingsOf(row deployments.Resource) map[string]any {
	was := map[string]any{}
	_ = json.Unmarshal([]byte(row.State), &was) // "" for one that is bound and was not deployed yet
	return was
}

// move puts the rows of one key below another.
func (p *plan) move(from, to string) {
	p.moved[to] = from
	for _, suffix := range []string{"", ".permissions", ".grants"} {
		if row, ok := p.have[from+suffix]; ok {
			delete(p.have, from+suffix)
			p.forget = append(p.forget, from+suffix)
			row.Key = to + suffix
			p.have[row.Key] = row
		}
	}
}

// digests are those of what is wanted and of what would be done for it.
func (p *plan) digests(in *deployment.Request) deployment.Digests {
	want := *in
	want.ForceLock, want.Expect = false, deployment.Digests{}
	return deployment.Digests{Want: digestJSON(want), Plan: digestJSON([]any{
		p.Version, p.Resources, p.Files.Added, p.Files.Changed, p.Files.Removed, p.StandIns, p.deployment.TreeDigest,
	})}
}

func digestJSON(v any) string {
	sum := sha256.Sum256([]byte(stateOf(v)))
	return hex.EncodeToString(sum[:])
}

// expected refuses a plan that is not the one that the deployer read.
func expected(in *deployment.Request, p *plan) error {
	switch {
	case in.Expect == deployment.Digests{}:
		return nil
	case in.Expect.Want != p.Digests.Want:
		return wherry.Errorf(wherry.CodeInvalidState, "not deployed: the plan was made for another state of the bundle, its files or its commit; make a new one with `wherry bundle plan -o json`")
	case in.Expect.Plan != p.Digests.Plan:
		return wherry.Errorf(wherry.CodeInvalidState, "not deployed: what is live changed since the plan was made%s; make a new one with `wherry bundle plan -o json`", liveVersion(p))
	}
	return nil
}

func liveVersion(p *plan) string {
	if p.Version == 0 {
		return ""
	}
	return fmt.Sprintf(" (version %d is live)", p.Version)
}
