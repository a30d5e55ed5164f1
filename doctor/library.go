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
func (p *project) library(r source.Reference, at config.Pos, known map[string]bool) {
	if r.Write || known[ownModule+r.Name] {
		return
	}
	if usual, given := source.Provider(r.Name, known); !given {
		p.add(WontRun, at, "name "+usual+" in the task's libraries or environment, or %pip install it, unless another package brings it", "the module %s is imported, and wherry's Python environment does not have it", r.Name)
	}
}

// ownModule begins the name of a module among the dependencies that is the
// project's own.
const ownModule = "./"

// dependencies are the words, in small letters, of what the project installs:
// its tasks' libraries and environments, and the files that list requirements;
// and its own modules. A package that is not among them is installed by no task.
func (p *project) dependencies() (map[string]bool, error) {
	words := map[string]bool{}
	take := func(text string) {
		for _, word := range source.Packages(text) {
			words[word] = true
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
		return nil, err
	}
	for _, f := range files {
		base := path.Base(f.Path)
		if path.Ext(base) == ".py" {
			words[ownModule+strings.TrimSuffix(base, ".py")] = true
			words[ownModule+path.Base(path.Dir(f.Path))] = true
		}
		if !slices.Contains([]string{"pyproject.toml", "setup.py", "setup.cfg"}, base) && (!strings.Contains(base, "requirements") || path.Ext(base) != ".txt") {
			continue
		}
		text, err := os.ReadFile(f.Local)
		if err != nil {
			return nil, err
		}
		take(string(text))
	}
	return words, nil
}
