package doctor

import (
	"os"
	"path"
	"regexp"
	"strings"

	"github.com/wherry-ml/wherry/bundle/config"
)

var packageName = regexp.MustCompile(`[A-Za-z][\w.-]*`)

// dependencies are the words, in small letters, of what the project installs:
// its tasks' libraries and environments, and the files that list requirements.
// A package that is not among them is installed by no task.
func (p *project) dependencies() (map[string]bool, error) {
	words := map[string]bool{}
	take := func(text string) {
		for _, word := range packageName.FindAllString(text, -1) {
			words[strings.ToLower(word)] = true
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
		if base != "pyproject.toml" && base != "setup.py" && (!strings.Contains(base, "requirements") || path.Ext(base) != ".txt") {
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
