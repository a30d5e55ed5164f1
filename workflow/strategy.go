package workflow

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/nektos/act/pkg/model"
	"github.com/rhysd/actionlint"
	"gopkg.in/yaml.v3"
)

// Strategy is the strategy context of a job.
func (j *Job) Strategy() map[string]any {
	return map[string]any{"fail-fast": j.FailFast, "job-index": float64(j.Index), "job-total": float64(j.Total), "max-parallel": float64(j.MaxParallel)}
}

// strategy settles whether a job's matrix fails fast and how many of it run at
// once, which expressions may say.
func (e evaluator) strategy(s *actionlint.Strategy, leg *Job) (err error) {
	leg.FailFast, leg.MaxParallel = true, leg.Total
	if s == nil {
		return nil
	}
	if s.FailFast != nil {
		if leg.FailFast, err = e.flag(s.FailFast, nil); err != nil {
			return fmt.Errorf("strategy.fail-fast: %w", err)
		}
	}
	most := s.MaxParallel
	if most == nil {
		return nil
	}
	n := most.Value
	if most.Expression != nil {
		text, err := e.text(most.Expression.Value)
		if err == nil {
			_, err = fmt.Sscan(text, &n)
		}
		if err != nil {
			return fmt.Errorf("strategy.max-parallel: %w", err)
		}
	}
	if n > 0 {
		leg.MaxParallel = n
	}
	return nil
}

// inOrder sorts the combinations of a matrix as its file lists them, the first
// key moving slowest; those that include adds come last, in its order.
func inOrder(legs []map[string]any, job *model.Job) {
	if job.Strategy == nil {
		return
	}
	var keys []string
	values := map[string][]string{}
	var include []map[string]any
	raw := &job.Strategy.RawMatrix
	for i := 0; i+1 < len(raw.Content) && raw.Kind == yaml.MappingNode; i += 2 {
		key := raw.Content[i].Value
		var list []any
		if key == "include" {
			_ = raw.Content[i+1].Decode(&include) // the engine has read it
		} else if key != "exclude" && raw.Content[i+1].Decode(&list) == nil {
			keys = append(keys, key)
			for _, v := range list {
				values[key] = append(values[key], fmt.Sprint(v))
			}
		}
	}
	rank := func(leg map[string]any) (ranks []int) {
		added := len(keys) == 0
		for _, k := range keys {
			at := slices.Index(values[k], fmt.Sprint(leg[k]))
			added = added || at < 0
			ranks = append(ranks, at)
		}
		if !added {
			return append([]int{0}, ranks...)
		}
		return []int{1, slices.IndexFunc(include, func(in map[string]any) bool {
			return !slices.ContainsFunc(sortedKeys(in), func(k string) bool { return fmt.Sprint(in[k]) != fmt.Sprint(leg[k]) })
		})}
	}
	slices.SortStableFunc(legs, func(a, b map[string]any) int {
		return cmp.Or(slices.Compare(rank(a), rank(b)), cmp.Compare(suffix(a), suffix(b)))
	})
}
