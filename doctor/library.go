package doctor

import (
	"os"
	"path"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry/bundle/config"
	"github.com/wherry-ml/wherry/bundle/source"
)

// library tells of an imported module that our environment lacks, unless it is
// the project's own or something installs it.
func (p *project) library(r source.Reference, at config.Pos, has dependencies) {
	if r.Write || has.modules[r.Name] {
		return
	}
	if usual, given := source.Provider(r.Name, has.packages); !given {
		p.add(WontRun, at, "name "+usual+" in the task's libraries or environment, or %pip install it, unless another package brings it", "the module %s is imported, and wherry's Python environment does not have it", r.Name)
	}
}

// dependencies is what a project's code may import beside our environment.
type dependencies struct {
	// packages are the words, spelt as source.Packages does, of what its tasks'
	// libraries and environments and its files of requirements name. A package
	// that is not among them is installed by no task.
	packages map[string]bool
	modules  map[string]bool // its own
}

func (p *project) dependencies() (d dependencies, err error) {
	d = dependencies{packages: map[string]bool{}, modules: map[string]bool{}}
	take := func(text string) {
		for _, word := range source.Packages(text) {
			d.packages[word] = true
		}
	}
	for _, r := range p.b.Resources() {
		r.Value.Walk("", func(at string, v *config.Value) {
			if strings.Contains(at, "libraries") || strings.Contains(at, "dependencies") {
				take(v.Text())
			}
		})
	}
	files, err := p.b.Files()
	if err != nil {
		return d, err
	}
	for _, f := range files {
		base := path.Base(f.Path)
		if path.Ext(base) == ".py" {
			d.modules[strings.TrimSuffix(base, ".py")] = true
			d.modules[path.Base(path.Dir(f.Path))] = true
		}
		if !slices.Contains([]string{"pyproject.toml", "setup.py", "setup.cfg"}, base) && (!strings.Contains(base, "requirements") || path.Ext(base) != ".txt") {
			continue
		}
		text, err := os.ReadFile(f.Local)
		if err != nil {
			return d, err
		}
		take(string(text))
	}
	return d, nil
}
