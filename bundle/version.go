package bundle

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/wherry-ml/wherry/bundle/config"
)

// CLIVersion is the version of the databricks command that wherry's stands in
// for: what a bundle's databricks_cli_version is compared with.
const CLIVersion = "0.299.0"

// checkVersion warns of a bundle that wants another version of the databricks
// command than wherry's stands for. It does not stop the bundle: a project that
// pins the version of its CI is still one that runs here.
func (b *Bundle) checkVersion() {
	want := b.Config.Get("bundle", "databricks_cli_version")
	if want.Text() == "" {
		return
	}
	ok, err := satisfies(CLIVersion, want.Text())
	switch {
	case err != nil:
		b.Problems.Add(config.Problem{Severity: config.Error, At: want.At, Message: err.Error(), Hint: "write it as \">= 0.218.0\", \"0.218.*\" or \">= 0.218.0, <= 1.0.0\""})
	case !ok:
		b.Problems.Add(config.Problem{Severity: config.Warning, At: want.At, Message: fmt.Sprintf("the bundle wants version %s of the databricks command, and wherry's stands for %s", want.Text(), CLIVersion)})
	}
}

// satisfies tells whether a version fits all of a list of constraints.
func satisfies(version, constraints string) (bool, error) {
	all := true
	for one := range strings.SplitSeq(constraints, ",") {
		one = strings.TrimSpace(one)
		number := strings.TrimLeft(one, "<>=!")
		operator := strings.TrimSpace(one[:len(one)-len(number)])
		order, ok := compare(version, strings.TrimPrefix(strings.TrimSpace(number), "v"))
		fits, known := map[string]bool{"": order == 0, "=": order == 0, "!=": order != 0, ">": order > 0, ">=": order >= 0, "<": order < 0, "<=": order <= 0}[operator]
		if !ok || !known {
			return false, fmt.Errorf("databricks_cli_version %q cannot be read", constraints)
		}
		all = all && fits
	}
	return all, nil
}

// compare compares versions by their parts; "*" is equal to any part, and so is
// what is left out. ok is false for what is no version.
func compare(version, other string) (order int, ok bool) {
	other, _, _ = strings.Cut(other, "-")
	parts := strings.Split(other, ".")
	for i, have := range strings.Split(version, ".") {
		if i >= len(parts) || parts[i] == "*" || parts[i] == "x" {
			break
		}
		a, errA := strconv.Atoi(have)
		b, errB := strconv.Atoi(parts[i])
		if errA != nil || errB != nil {
			return 0, false
		}
		if order == 0 {
			order = a - b
		}
	}
	return order, true
}
