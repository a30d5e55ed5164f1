package cicd_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wherry-ml/wherry/workflow"
)

// TestNoTerminal: a program that would ask somebody finds nobody to ask, as on
// GitHub.
func TestNoTerminal(t *testing.T) {
	s := newSite(t, nil)
	s.push(s.repo("app", ""), "ask.yml", job("ask", "push", "(exec < /dev/tty) 2>/dev/null && echo 'a terminal' || echo 'no terminal'"))
	r := s.ended(s.begun("app", "ask", "push").ID, workflow.Success)
	s.says(r.ID, "a", "no terminal\n")
}

// TestHostileStep: a step that looks everywhere finds nothing of the server's;
// one that will not end, and has left its session, is ended with its job.
func TestHostileStep(t *testing.T) {
	t.Setenv("OF_THE_SERVER", "not-for-steps")
	s := newSite(t, nil)
	look := fmt.Sprintf(`env
for f in /proc/[0-9]*/environ /proc/[0-9]*/cmdline; do tr '\0' '\n' < $f; done 2>/dev/null || true
cat %[1]s/admin-token %[1]s/server.json %[1]s/keys/* %[1]s/wherry.db 2>/dev/null || echo "no state"
find / -xdev -name admin-token 2>/dev/null || true
ls %[1]s/* 2>/dev/null || true
cat /proc/[0-9]*/root%[1]s/admin-token 2>/dev/null || true
for a in 169.254.169.254/metadata/instance 169.254.169.254/latest/meta-data 168.63.129.16/machine; do
  curl -s -f -m 5 -o /dev/null -H "Metadata: true" http://$a && echo "metadata of $a" || true
done
echo "looked everywhere"`, s.State)
	mark := fmt.Sprintf("987.%d", os.Getpid())
	stay := "trap '' TERM INT HUP\nsetsid sh -c \"trap '' TERM INT HUP; while :; do sleep " + mark + "; done\" >/dev/null 2>&1 &\necho here\nwhile :; do sleep " + mark + "; done"
	s.push(s.repo("app", ""), "look.yml", job("look", "push", look),
		"stay.yml", strings.Replace(job("stay", "push", stay), "    steps:", "    timeout-minutes: 0.1\n    steps:", 1))
	r := s.ended(s.begun("app", "look", "push").ID, workflow.Success)
	s.says(r.ID, "a", "no state\n", "looked everywhere\n", "GITHUB_RUN_ID=")
	text := s.log(r.ID, "a")
	for _, secret := range []string{"not-for-steps", s.Token, "admin-token\n", "metadata of", "SQLite format"} {
		if strings.Contains(text, secret) {
			t.Errorf("the step found %q:\n%s", secret, text)
		}
	}
	r = s.ended(s.begun("app", "stay", "push").ID, workflow.Failure)
	s.says(r.ID, "a", "here\n")
	if r.Jobs[0].Conclusion != workflow.TimedOut {
		t.Errorf("%+v", r.Jobs[0])
	}
	s.until("nothing of the step runs", func() bool { return !running(mark) })
}

// running reports whether a process has words among its arguments.
func running(words string) bool {
	list, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range list {
		if b, err := os.ReadFile(name); err == nil && bytes.Contains(b, []byte(words)) {
			return true
		}
	}
	return false
}

// TestSecretsStayHidden: whatever a job does with its secrets, their text is in
// no file of the server's: not in logs, steps' names, summaries, outputs,
// annotations, statuses, messages, addresses, names of artifacts.
func TestSecretsStayHidden(t *testing.T) {
	s := newSite(t, nil)
	dir := s.repo("app", "")
	for name, value := range map[string]string{"KEY": "very-hidden-key", "PAIR": "first-hidden-line\nsecond-hidden-line\n"} {
		s.call("PUT", "/api/wherry/ci/values", map[string]any{"repo": "app", "name": name, "value": value, "secret": true}, nil)
	}
	s.call("PUT", "/api/wherry/environments/prod", map[string]any{"name": "prod"}, nil)
	s.call("PUT", "/api/wherry/ci/values", map[string]any{"environment": "prod", "name": "PROD", "value": "hidden-of-production", "secret": true}, nil)
	sha := s.push(dir, "masks.yml", masks)
	s.until("a run", func() bool { return len(s.runs("app")) == 1 })
	r := s.ended(s.runs("app")[0].ID, workflow.Failure)
	s.says(r.ID, "a", "***; ***\n", "in the middle of***a word\n", "mask ***\n", "bad ***", "odd ***", "holds a secret")
	j := r.Jobs[0]
	if j.Outputs["fine"] != "42" || len(j.Outputs) != 1 || j.EnvironmentURL != "" {
		t.Errorf("the outputs are %v, the environment's address is %q", j.Outputs, j.EnvironmentURL)
	}
	if j.Message != "the step failed: a step of ***" || !strings.Contains(s.statuses("app", sha), "masks failure a: the step failed: a step of ***") {
		t.Errorf("%q; %s", j.Message, s.statuses("app", sha))
	}
	if n := s.count(`SELECT count(*) FROM notification WHERE dedup_key LIKE 'ci/%'`); n != 1 {
		t.Errorf("%d messages", n)
	}
	for _, hidden := range []string{"very-hidden-key", "first-hidden-line", "second-hidden-line", "hidden-of-production", "made-hidden-by-a-step"} {
		if names := s.holds(hidden); len(names) > 0 {
			t.Errorf("%s is in %v", hidden, names)
		}
	}
}

// holds lists the files of the server that have a text.
func (s *site) holds(text string) (names []string) {
	s.Helper()
	err := filepath.WalkDir(string(s.State), func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && name == s.State.Path("cache") {
			return fs.SkipDir // this program is there, which has the words in it
		}
		if err != nil || !d.Type().IsRegular() {
			return nil //nolint:nilerr // what goes while we look is no longer there
		}
		b, _ := os.ReadFile(name)
		if bytes.Contains(b, []byte(text)) {
			names = append(names, name)
		}
		return nil
	})
	if err != nil {
		s.Fatal(err)
	}
	return names
}

const masks = `name: masks
on: push
jobs:
  a:
    runs-on: ubuntu-latest
    environment: {name: prod, url: "https://example.com/${{ steps.x.outputs.leak }}"}
    outputs: {leak: "${{ steps.x.outputs.leak }}", line: "${{ steps.x.outputs.line }}", made: "${{ steps.x.outputs.made }}", fine: "${{ steps.x.outputs.fine }}"}
    env: {KEY: "${{ secrets.KEY }}", PAIR: "${{ secrets.PAIR }}", PROD: "${{ secrets.PROD }}"}
    steps:
      - id: x
        run: |
          echo "$KEY; $PROD"; echo "$PAIR"; echo "in the middle of${KEY}a word"
          made=made-hidden; made=$made-by-a-step; echo "::add-mask::$made"; echo "mask $made"
          echo "::error file=a.txt,line=1::bad $KEY"; echo "::warning title=$PROD::odd $PROD"; echo "::notice::$made"; echo "::group::$KEY"; echo "::endgroup::"
          printf '# %s\n%s\n' "$KEY" "$PAIR" >> $GITHUB_STEP_SUMMARY
          echo "leak=$KEY" >> $GITHUB_OUTPUT; echo "line=$(echo "$PAIR" | grep second)" >> $GITHUB_OUTPUT; echo "made=$made" >> $GITHUB_OUTPUT; echo "fine=42" >> $GITHUB_OUTPUT
          echo x > x.txt
      - {uses: actions/upload-artifact@v4, continue-on-error: true, with: {name: "a-${{ secrets.KEY }}", path: x.txt}}
      - name: a step of ${{ secrets.KEY }}
        run: exit 3 # ${{ secrets.PROD }}
`
