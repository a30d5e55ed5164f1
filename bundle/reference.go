package bundle

import (
	"regexp"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry/bundle/config"
)

// reference is ${a.b[0].c}; the innermost one of nested references matches.
var reference = regexp.MustCompile(`\$\{([a-zA-Z_][\w-]*(?:\.[\w-]+|\[\d+\])+)\}`)

// Passes of resolve.
const (
	referencesEarly = iota // var, bundle, workspace, artifacts: what modes look at
	referencesLate         // resources too, after names have their prefixes
)

// resolver replaces references in one tree.
type resolver struct {
	b    *Bundle
	late bool
	done map[*config.Value]bool
	path []string // of the references being resolved, to find cycles
}

// resolve replaces the references in all that is deployed. Those to
// resources that exist only after the deploy stay as they are.
func (b *Bundle) resolve(pass int) {
	r := &resolver{b: b, late: pass == referencesLate, done: map[*config.Value]bool{}}
	for _, f := range b.Config.Entries() {
		if f.Key != "scripts" && f.Key != "variables" && f.Key != "include" {
			r.tree(f.Value)
		}
	}
}

func (r *resolver) tree(v *config.Value) {
	if v == nil || r.done[v] {
		return
	}
	if v.Kind == config.String {
		if strings.Contains(v.Text(), "${") {
			r.text(v)
		}
		r.done[v] = true
		return
	}
	for _, item := range v.List() {
		r.tree(item)
	}
	for _, f := range v.Entries() {
		r.tree(f.Value)
	}
	r.done[v] = true
}

// text replaces the references in one string: by the value itself if the
// string is one reference and nothing else.
func (r *resolver) text(v *config.Value) {
	kept := map[string]bool{}
	for range 1000 { // each round replaces one reference; nested ones come inside out
		s := v.Text()
		var at []int
		for _, m := range reference.FindAllStringSubmatchIndex(s, -1) {
			if !kept[s[m[0]:m[1]]] {
				at = m
				break
			}
		}
		if at == nil {
			return
		}
		whole, path := s[at[0]:at[1]], s[at[2]:at[3]]
		value := r.value(path, v.At)
		if value == nil {
			kept[whole] = true
			continue
		}
		if whole == s {
			place := v.At
			*v = *value.Copy()
			if v.Kind != config.Map && v.Kind != config.List {
				v.At = place
			}
			if v.Kind != config.String {
				return
			}
			continue
		}
		inline, ok := value.Inline()
		if !ok {
			r.b.Problems.Errorf(v.At, "%s is %s: it can stand alone, not inside of a text", whole, value.Kind)
			return
		}
		v.Scalar = s[:at[0]] + inline + s[at[1]:]
	}
}

// roots are the first words of references that are ours; ${HOME} or
// ${spark.x} in someone's script is not.
var roots = []string{"var", "bundle", "workspace", "resources", "artifacts", "variables", "presets", "run_as"}

// value finds what a reference stands for; nil leaves it as it is.
func (r *resolver) value(path string, at config.Pos) *config.Value {
	root, rest, _ := strings.Cut(path, ".")
	if !slices.Contains(roots, root) || root == "resources" && !r.late {
		return nil
	}
	if slices.Contains(r.path, path) {
		r.b.Problems.Errorf(at, "a reference leads back to itself: %s", strings.Join(append(r.path, path), " → "))
		return config.NewString("", at)
	}
	where := path
	if root == "var" {
		name, field, _ := strings.Cut(rest, ".")
		name, index, indexed := strings.Cut(name, "[")
		where = "variables." + name + ".value"
		if indexed {
			where += "[" + index
		}
		if field != "" {
			where += "." + field
		}
		if r.b.Config.Get("variables", name) == nil {
			r.unknownVariable(name, at)
			return config.NewString("", at)
		}
	}
	found := r.b.Config.Lookup(where)
	if found == nil && root == "var" && strings.HasPrefix(r.b.Config.Lookup("variables."+strings.Split(rest, ".")[0]+".value").Text(), "${var.") {
		r.path = append(r.path, path) // the variable is another one: resolve it, then look again
		r.tree(r.b.Config.Lookup("variables." + strings.Split(rest, ".")[0] + ".value"))
		r.path = r.path[:len(r.path)-1]
		found = r.b.Config.Lookup(where)
	}
	if found == nil {
		return r.missing(root, path, at)
	}
	r.path = append(r.path, path)
	r.tree(found)
	r.path = r.path[:len(r.path)-1]
	return found
}

func (r *resolver) unknownVariable(name string, at config.Pos) {
	var names []string
	for _, f := range r.b.Config.Get("variables").Entries() {
		names = append(names, f.Key)
	}
	message := "the variable " + name + " is not declared"
	if near := config.Nearest(name, names); near != "" {
		message += `: did you mean "` + near + `"?`
	}
	r.b.Problems.Errorf(at, "%s", message)
}

// missing judges a reference that names nothing in the bundle: a field that the
// server fills in stays for the deploy, anything else is a mistake.
func (r *resolver) missing(root, path string, at config.Pos) *config.Value {
	parts := strings.Split(path, ".")
	if root == "resources" && len(parts) >= 4 && r.b.Config.Get("resources", parts[1], parts[2]) != nil {
		return nil
	}
	p := config.Problem{Severity: config.Error, At: at, Message: "${" + path + "} names nothing in this bundle"}
	var names []string
	if root == "resources" && len(parts) >= 3 {
		for _, f := range r.b.Config.Get("resources", parts[1]).Entries() {
			names = append(names, f.Key)
		}
		if near := config.Nearest(parts[2], names); near != "" {
			p.Message += `: did you mean "` + near + `"?`
		} else if len(names) > 0 {
			p.Hint = "resources." + parts[1] + " has " + strings.Join(names, ", ")
		}
	}
	r.b.Problems.Add(p)
	return config.NewString("", at)
}
