package wherry

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Environment is a place that bundles are deployed to and that is guarded:
// staging, prod. Workflows name it in `environment:`, a bundle's target leads
// to it. It says who approves, what may be deployed, which job proves a deploy,
// and what happens to changes that nobody deployed.
type Environment struct {
	Name string `json:"name"`
	// Target is the bundle target that goes here, the name itself if empty.
	Target string `json:"target,omitempty"`
	// Host is the other workspace that the target goes to, "" for this
	// installation.
	Host string `json:"host,omitempty"`
	// Reviewers are user names, application ids or group names; one of them must
	// approve a workflow's job before it begins. Empty: nobody need.
	Reviewers []string `json:"reviewers,omitempty"`
	// PreventSelfReview takes the one who started a workflow from its reviewers.
	PreventSelfReview bool `json:"prevent_self_review,omitempty"`
	// WaitMinutes is how long a job waits from when it would else begin, or ask its
	// reviewers.
	WaitMinutes int `json:"wait_minutes,omitempty"`
	// Branches are patterns of the refs whose workflows may deploy here
	// (refs/heads/main, refs/tags/v*); without refs/ it is a branch. Empty: all.
	Branches []string `json:"branches,omitempty"`
	// VerifyJob proves a deploy: the key of a job in the bundle, or its name.
	VerifyJob string `json:"verify_job,omitempty"`
	// Gate rolls a deploy back that VerifyJob does not prove.
	Gate bool `json:"gate,omitempty"`
	// SelfHeal takes changes back that nobody deployed, at once.
	SelfHeal bool `json:"self_heal,omitempty"`
	// Ignore are patterns of fields that may change without being drift:
	// "max_concurrent_runs", "jobs.nightly.schedule.*", "tasks[*].timeout_seconds".
	Ignore []string `json:"ignore,omitempty"`

	// Notify are e-mail addresses and ids of notification destinations: who is
	// told of drift, of approvals and of failed verifications. Empty: the
	// destinations that are the installation's.
	Notify []string `json:"notify,omitempty"`

	UpdatedBy string `json:"updated_by,omitempty"`
	UpdatedAt int64  `json:"updated_at,omitempty"` // milliseconds since 1970
	// Revision is raised by each change; a change names the one it saw, or 0 to
	// overwrite what there is.
	Revision int64 `json:"revision,omitempty"`
}

// maxWait is GitHub's limit of a wait timer: 30 days.
const maxWait = 43200

// Normalise brings an environment to its stored form: patterns of refs in full,
// no empty or doubled entries.
func (e *Environment) Normalise() {
	e.Name, e.Target, e.VerifyJob = strings.TrimSpace(e.Name), strings.TrimSpace(e.Target), strings.TrimSpace(e.VerifyJob)
	e.Host = strings.TrimSuffix(strings.TrimSpace(e.Host), "/")
	for _, list := range []*[]string{&e.Reviewers, &e.Branches, &e.Ignore, &e.Notify} {
		var kept []string
		for _, v := range *list {
			if v = strings.TrimSpace(v); v != "" && !slices.Contains(kept, v) {
				kept = append(kept, v)
			}
		}
		*list = kept
	}
	for i, p := range e.Branches {
		if !strings.HasPrefix(p, "refs/") {
			e.Branches[i] = "refs/heads/" + p
		}
	}
}

// Validate tells what is wrong with an environment that someone wants to store.
func (e *Environment) Validate() error {
	switch {
	case e.Name == "" || len(e.Name) > 255 || strings.ContainsAny(e.Name, "/\\\x00\n\r"):
		return Errorf(CodeInvalidParameter, "an environment's name has 1 to 255 characters, none of them a slash or a line end")
	case e.WaitMinutes < 0 || e.WaitMinutes > maxWait:
		return Errorf(CodeInvalidParameter, "wait_minutes is 0 to %d", maxWait)
	case e.Gate && e.VerifyJob == "":
		return Errorf(CodeInvalidParameter, "the gate needs a verification job: name one")
	case e.PreventSelfReview && len(e.Reviewers) == 0:
		return Errorf(CodeInvalidParameter, "prevent_self_review needs reviewers: name some, or turn it off too (--prevent-self-review=false)")
	}
	if e.Host != "" {
		u, err := url.Parse(e.Host)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.Path != "" || u.RawQuery != "" {
			return Errorf(CodeInvalidParameter, "host is the address of a workspace, such as https://adb-123.4.azuredatabricks.net, not %q", e.Host)
		}
	}
	return nil
}

// DeploysFrom is the bundle target that leads to this environment.
func (e *Environment) DeploysFrom() string {
	if e.Target != "" {
		return e.Target
	}
	return e.Name
}

// Allows tells whether a workflow of a ref (refs/heads/main) may deploy here.
func (e *Environment) Allows(ref string) bool {
	return len(e.Branches) == 0 || slices.ContainsFunc(e.Branches, func(p string) bool { return matches(p, ref, '/') })
}

// Ignores tells whether a field of a resource ("jobs.nightly") may differ from
// what was deployed. A pattern names the field alone or with its resource, and
// covers what is below it.
func (e *Environment) Ignores(resource, field string) bool {
	return slices.ContainsFunc(e.Ignore, func(p string) bool {
		for _, name := range []string{field, resource + "." + field} {
			for ; name != ""; name = parent(name) {
				if matches(p, name, '.') {
					return true
				}
			}
		}
		return false
	})
}

// parent is the path of what a field is in: "tasks[a].timeout" is in
// "tasks[a]", that in "tasks".
func parent(field string) string {
	return field[:max(strings.LastIndexAny(field, ".["), 0)]
}

// matches compares a name with a pattern: * stands for anything without the
// separator, ** for anything, ? for one character.
func matches(pattern, name string, separator rune) bool {
	var re strings.Builder
	re.WriteString("^")
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case c == '*' && strings.HasPrefix(pattern[i:], "**"):
			re.WriteString(".*")
			i++
		case c == '*':
			re.WriteString("[^" + regexp.QuoteMeta(string(separator)) + "]*")
		case c == '?':
			re.WriteString(".")
		default:
			re.WriteString(regexp.QuoteMeta(string(c)))
		}
	}
	re.WriteString("$")
	ok, err := regexp.MatchString(re.String(), name)
	return err == nil && ok
}
