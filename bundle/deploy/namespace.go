package deploy

import (
	"regexp"

	"github.com/wherry-ml/wherry/bundle"
)

// pullRequest is the ref of a workflow run for a pull request.
var pullRequest = regexp.MustCompile(`^refs/pull/(\d+)/`)

// namespace is the one that a bundle is deployed to. A workflow of a pull
// request, which ref is of, may make one of its own by putting the number into
// the root path ("…/pr-12", "…/pr_12"): that is the same as --pr 12 then, and
// goes when the pull request does. A root path without the number is shared with
// others, and is no namespace.
func namespace(b *bundle.Bundle, ref string) string {
	m := pullRequest.FindStringSubmatch(ref)
	if b.Namespace != "" || m == nil || b.Mode == bundle.Production {
		return b.Namespace
	}
	named := regexp.MustCompile(`(?i)(^|[^a-z0-9])(pr|pull|pull-request)[-_/]?` + m[1] + `([^0-9]|$)`)
	if named.MatchString(b.Workspace.Root) {
		return "pr-" + m[1]
	}
	return ""
}
