package filter

import "testing"

func FuzzParse(f *testing.F) {
	for _, s := range []string{"metrics.acc > 0.3 AND params.model LIKE 't%'", "run_id IN ('a', 'b',)", "tags.`a b` IS NOT NULL", `"Run Name" = "x"`, "a.'", "-.e", "`"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, schema := range []Schema{Runs, Experiments, RegisteredModels, ModelVersions, LoggedModels} {
			clauses, err := schema.Parse(s)
			if err != nil && clauses != nil {
				t.Fatalf("%q: an error and clauses", s)
			}
			for _, c := range clauses {
				if c.Entity == "" || c.Key == "" || c.Op == "" {
					t.Fatalf("%q: clause %+v", s, c)
				}
			}
			_, _ = schema.ParseOrder(s)
		}
	})
}
