package deployments

import (
	"slices"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/bundle/deployment"
)

// sortResources puts resources in the order in which they can be made.
func sortResources(list []deployment.Resource) (sorted []deployment.Resource, err error) {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b deployment.Resource) int {
		return slices.Index(kindOrder, a.Type) - slices.Index(kindOrder, b.Type)
	})
	byID := map[string]deployment.Resource{}
	for _, r := range list {
		byID[r.ID()] = r
	}
	state := map[string]int{}
	var visit func(r deployment.Resource, path []string) error
	visit = func(r deployment.Resource, path []string) error {
		if state[r.ID()] == 2 {
			return nil
		}
		if state[r.ID()] == 1 {
			return wherry.Errorf(wherry.CodeInvalidParameter, "%s: resources need each other in a cycle: %s", r.At, strings.Join(append(path, r.ID()), " → "))
		}
		state[r.ID()] = 1
		for _, m := range reference.FindAllStringSubmatch(stateOf(r.Config), -1) {
			if needed, ok := byID[m[1]+"."+m[2]]; ok {
				if err := visit(needed, append(path, r.ID())); err != nil {
					return err
				}
			}
		}
		state[r.ID()] = 2
		sorted = append(sorted, r)
		return nil
	}
	for _, r := range list {
		if err := visit(r, nil); err != nil {
			return nil, err
		}
	}
	return sorted, nil
}

// selected leaves the named resources and those that they refer to.
func selected(order []deployment.Resource, names []string) (list []deployment.Resource, err error) {
	if len(names) == 0 {
		return order, nil
	}
	want := map[string]bool{}
	for _, name := range names {
		var found []string
		for _, r := range order {
			if r.ID() == name || r.Key == name {
				found = append(found, r.ID())
			}
		}
		switch len(found) {
		case 0:
			return nil, wherry.Errorf(wherry.CodeInvalidParameter, "--select %s: the bundle has no such resource (name one by its key, or as jobs.KEY)", name)
		case 1:
			want[found[0]] = true
		default:
			return nil, wherry.Errorf(wherry.CodeInvalidParameter, "--select %s: the bundle has %s: name one of them", name, strings.Join(found, " and "))
		}
	}
	for _, r := range slices.Backward(order) { // what is needed stands before who needs it
		if !want[r.ID()] {
			continue
		}
		list = append(list, r)
		for _, m := range reference.FindAllStringSubmatch(stateOf(r.Config), -1) {
			want[m[1]+"."+m[2]] = true
		}
	}
	slices.Reverse(list)
	return list, nil
}
