package action

import (
	"context"
	_ "embed"
	"errors"
	"os"
	"path/filepath"

	"gopkg.in/yaml.v3"
)

//go:embed script.js
var scriptPrelude []byte

// githubScript runs JavaScript with the objects of actions/github-script:
// context, core, exec and io as far as they are used, and of github what the
// server answers: comments, statuses and plain requests.
func githubScript(ctx context.Context, c *call) error {
	if c.Node == "" {
		return errors.New("actions/github-script needs Node.js, which is not on this machine")
	}
	dir := filepath.Join(c.Dir, "script")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	script := filepath.Join(dir, "main.js")
	if err := os.WriteFile(script, scriptPrelude, 0o600); err != nil {
		return err
	}
	if err := os.Setenv("WHERRY_SCRIPT", c.inputs["script"]); err != nil {
		return err
	}
	if err := os.Setenv("WHERRY_SCRIPT_TOKEN", c.input("github-token")); err != nil {
		return err
	}
	if err := os.Setenv("WHERRY_SCRIPT_ENCODING", c.input("result-encoding")); err != nil {
		return err
	}
	return c.execute(ctx, workspace(), c.Node, "--no-warnings", script)
}

func fromYAML(text string) (v any, err error) {
	err = yaml.Unmarshal([]byte(text), &v)
	return v, err
}
