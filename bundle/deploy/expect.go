package deploy

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/bundle/deployment"
)

// ReadPlan reads a plan that `wherry bundle plan -o json` wrote.
func ReadPlan(name string) (*deployment.Plan, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	plan := &deployment.Plan{}
	if err := json.Unmarshal(b, plan); err != nil || plan.Digests.Plan == "" {
		return nil, wherry.Errorf(wherry.CodeInvalidParameter, "%s is no plan: write one with `wherry bundle plan -o json >%s`", name, name)
	}
	return plan, nil
}

// expect compares a plan that was read with the one of now, and lets the server
// hold to it.
func (p *prepared) expect(read, now *deployment.Plan) error {
	p.request.Expect = read.Digests
	if read.Digests == now.Digests {
		return nil
	}
	if read.Digests.Want != now.Digests.Want {
		return wherry.Errorf(wherry.CodeInvalidState, "not deployed: the plan was made for another state of the bundle, its files, its commit or its flags; make a new one with `wherry bundle plan -o json`")
	}
	what := differences(read, now)
	if what == "" && read.Version != now.Version {
		what = fmt.Sprintf("version %d was live and now version %d is", read.Version, now.Version)
	}
	return wherry.Errorf(wherry.CodeInvalidState, "not deployed: what is live changed since the plan was made%s; make a new one with `wherry bundle plan -o json`", parenthesis(what))
}

func parenthesis(s string) string {
	if s == "" {
		return ""
	}
	return " (" + s + ")"
}

// differences names the resources that two plans treat differently.
func differences(read, now *deployment.Plan) string {
	was := map[string]string{}
	for _, c := range read.Resources {
		was[c.Key] = short(c)
	}
	var keys []string
	for _, c := range now.Resources {
		if was[c.Key] != short(c) {
			keys = append(keys, c.Key)
		}
		delete(was, c.Key)
	}
	for key := range was {
		keys = append(keys, key)
	}
	return strings.Join(keys, ", ")
}

// isPlan tells a plan that was written into the bundle's folder, or is being
// written there as standard output, from the project's own files.
func isPlan(local string) bool {
	if filepath.Ext(local) != ".json" {
		return false
	}
	f, err := os.Open(local)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, 64)
	n, _ := f.Read(head)
	if n > 0 {
		return strings.HasPrefix(strings.TrimLeft(string(head[:n]), "{ \n"), `"wherry_plan"`)
	}
	info, err := f.Stat()
	out, errOut := os.Stdout.Stat()
	return err == nil && errOut == nil && os.SameFile(info, out)
}
