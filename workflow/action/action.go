// Package action holds the actions that are built in: what workflows use of
// GitHub's and others', done here without fetching anything. Each is a
// synthetic composite action whose one step calls this program again.
package action

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// definition is a built-in action.
type definition struct {
	inputs  map[string]string // with their defaults
	outputs []string
	run     func(context.Context, *call) error
}

// cachedInputs are those that the actions of caches share.
var cachedInputs = map[string]string{"path": "", "key": "", "restore-keys": "", "upload-chunk-size": "", "enableCrossOsArchive": "", "fail-on-cache-miss": "false", "lookup-only": "false", "save-always": ""}

// definitions are the built-in actions; one in a subfolder of another's
// repository, as actions/cache/restore, counts for itself.
var definitions = map[string]definition{
	"actions/checkout": {
		inputs: map[string]string{
			"repository": "${{ github.repository }}", "ref": "", "token": "${{ github.token }}", "path": "", "fetch-depth": "1", "fetch-tags": "false",
			"clean": "true", "submodules": "false", "lfs": "false", "persist-credentials": "true", "ssh-key": "", "sparse-checkout": "", "filter": "", "show-progress": "true", "set-safe-directory": "true",
		},
		outputs: []string{"ref", "commit"}, run: checkout,
	},
	"actions/setup-python": {
		inputs: map[string]string{
			"python-version": "", "python-version-file": "", "cache": "", "cache-dependency-path": "", "architecture": "", "check-latest": "false", "token": "",
			"update-environment": "true", "allow-prereleases": "false", "freethreaded": "false",
		},
		outputs: []string{"python-version", "cache-hit", "python-path"}, run: setupPython,
	},
	"actions/setup-java": {
		inputs: map[string]string{
			"java-version": "", "java-version-file": "", "distribution": "", "java-package": "jdk", "architecture": "", "check-latest": "false", "cache": "",
			"cache-dependency-path": "", "overwrite-settings": "true", "token": "",
		},
		outputs: []string{"distribution", "version", "path", "cache-hit"}, run: setupJava,
	},
	"actions/setup-node": {
		inputs:  map[string]string{"node-version": "", "node-version-file": "", "cache": "", "cache-dependency-path": "", "registry-url": "", "always-auth": "", "check-latest": "", "architecture": "", "scope": "", "token": ""},
		outputs: []string{"node-version", "cache-hit"}, run: setupNode,
	},
	"actions/cache":             {inputs: cachedInputs, outputs: []string{"cache-hit"}, run: cacheBoth},
	"actions/cache/restore":     {inputs: cachedInputs, outputs: []string{"cache-hit", "cache-primary-key", "cache-matched-key"}, run: cacheRestore},
	"actions/cache/save":        {inputs: cachedInputs, run: cacheSave},
	"actions/upload-artifact":   {inputs: map[string]string{"name": "artifact", "path": "", "if-no-files-found": "warn", "retention-days": "", "compression-level": "", "overwrite": "false", "include-hidden-files": "false"}, outputs: []string{"artifact-id", "artifact-url", "artifact-digest"}, run: uploadArtifact},
	"actions/download-artifact": {inputs: map[string]string{"name": "", "path": "", "pattern": "", "merge-multiple": "false", "github-token": "", "repository": "", "run-id": "", "artifact-ids": ""}, outputs: []string{"download-path"}, run: downloadArtifact},
	"actions/github-script":     {inputs: map[string]string{"script": "", "github-token": "${{ github.token }}", "result-encoding": "json", "debug": "", "user-agent": "", "previews": "", "retries": "0", "retry-exempt-status-codes": "", "base-url": ""}, outputs: []string{"result"}, run: githubScript},
	"astral-sh/setup-uv":        {inputs: map[string]string{"version": "", "python-version": "", "enable-cache": "", "cache-dependency-glob": "", "cache-suffix": "", "github-token": "", "activate-environment": "false", "working-directory": ""}, outputs: []string{"uv-version", "uv-path", "uvx-path", "python-version", "venv", "cache-hit"}, run: setupUV},
	"hashicorp/setup-terraform": {inputs: map[string]string{"terraform_version": "latest", "terraform_wrapper": "true", "cli_config_credentials_hostname": "", "cli_config_credentials_token": ""}, run: setupTerraform},
	"opentofu/setup-opentofu":   {inputs: map[string]string{"tofu_version": "latest", "tofu_version_file": "", "tofu_wrapper": "true", "cli_config_credentials_hostname": "", "cli_config_credentials_token": "", "github_token": ""}, run: setupTofu},
	"databricks/setup-cli":      {inputs: map[string]string{"version": ""}, outputs: []string{"version"}, run: setupCLI},
	"azure/login": {
		inputs: map[string]string{
			"creds": "", "client-id": "", "tenant-id": "", "subscription-id": "", "enable-AzPSSession": "", "environment": "azurecloud",
			"allow-no-subscriptions": "false", "audience": "api://AzureADTokenExchange", "auth-type": "SERVICE_PRINCIPAL",
		},
		run: azureLogin,
	},
	"slackapi/slack-github-action": {
		inputs: map[string]string{
			"webhook": "", "webhook-type": "", "payload": "", "payload-file-path": "", "payload-file-path-parsed": "", "method": "", "token": "",
			"errors": "false", "channel-id": "", "slack-message": "", "payload-delimiter": "", "payload-templated": "false", "proxy": "", "retries": "", "api": "",
		},
		outputs: []string{"ok", "response", "time"}, run: slack,
	},
	"dawidd6/action-send-mail": {
		inputs: map[string]string{
			"connection_url": "", "server_address": "", "server_port": "25", "secure": "", "username": "", "password": "", "subject": "", "to": "", "from": "", "body": "", "html_body": "",
			"cc": "", "bcc": "", "reply_to": "", "in_reply_to": "", "attachments": "", "convert_markdown": "", "ignore_cert": "", "priority": "", "nodemailerlog": "", "nodemailerdebug": "", "envelope_to": "", "envelope_from": "",
		},
		run: sendMail,
	},
}

// Known reports whether OWNER/NAME is built in.
func Known(name string) bool { return slices.Contains(Names(), strings.ToLower(name)) }

// Names lists the built-in actions as people write them, without subfolders.
func Names() (names []string) {
	for _, name := range slices.Sorted(maps.Keys(definitions)) {
		if strings.Count(name, "/") == 1 {
			names = append(names, name)
		}
	}
	return names
}

// Catalogue gives the engine the built-in actions: it is act's ActionCache.
type Catalogue struct {
	Exe   string // this program
	Tools string // the file that Tools.Write wrote
}

// Fetch returns that an action is there, whatever its version.
func (c *Catalogue) Fetch(_ context.Context, name, _, _, _ string) (string, error) {
	if !Known(name) {
		return "", fmt.Errorf("the action %s is not built in, and none is fetched from elsewhere; built in are %s", name, strings.Join(Names(), ", "))
	}
	return "built-in", nil
}

// GetTarArchive returns the action.yml of an action, or of one in a subfolder
// of it.
func (c *Catalogue) GetTarArchive(_ context.Context, name, _, prefix string) (io.ReadCloser, error) {
	name = strings.ToLower(name)
	dir, file := path.Split(prefix)
	full := path.Join(name, dir)
	if prefix == "" { // all of it, to be copied beside the steps: there is nothing to copy
		full, file = name, "action.yml"
	}
	d, ok := definitions[full]
	if !ok || file != "action.yml" {
		return nil, os.ErrNotExist
	}
	text, err := c.yaml(full, d)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "action.yml", Mode: 0o644, Size: int64(len(text)), Typeflag: tar.TypeReg}); err != nil {
		return nil, err
	}
	if _, err := w.Write(text); err != nil {
		return nil, err
	}
	return io.NopCloser(&b), w.Close()
}

func (c *Catalogue) yaml(name string, d definition) ([]byte, error) {
	inputs, outputs := map[string]any{}, map[string]any{}
	for in, value := range d.inputs {
		inputs[in] = map[string]any{"default": value}
	}
	for _, out := range d.outputs {
		outputs[out] = map[string]any{"value": "${{ steps.do.outputs." + out + " }}"}
	}
	return yaml.Marshal(map[string]any{
		"name": name, "inputs": inputs, "outputs": outputs,
		"runs": map[string]any{"using": "composite", "steps": []any{map[string]any{
			"id": "do", "shell": "sh", "run": Command(c.Exe, name, c.Tools),
			// A shell does not pass on names such as INPUT_FETCH-DEPTH.
			"env": map[string]any{inputsVariable: "${{ toJSON(inputs) }}"},
		}}},
	})
}

const inputsVariable = "WHERRY_INPUTS"

// Command is the shell line that runs a built-in action.
func Command(exe, name, tools string) string {
	return "exec " + quote(exe) + " ci-action " + quote(name) + " --tools " + quote(tools)
}

// Shell is the template of a shell, with {0} for the script, that runs it by
// way of Pipe.
func Shell(exe, tools, template string) string {
	return quote(exe) + " ci-action pipe --tools " + quote(tools) + " -- " + template
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// call is one use of an action.
type call struct {
	Tools
	name   string
	inputs map[string]string
	out    io.Writer
}

// Main runs a built-in action in a step, with the inputs of the environment.
func Main(ctx context.Context, name, tools string, out io.Writer) error {
	leaveTerminal()
	c := &call{name: name, inputs: map[string]string{}, out: out}
	if err := c.read(tools); err != nil {
		return err
	}
	if name == "end" {
		return c.end(ctx)
	}
	d, ok := definitions[name]
	if !ok {
		return fmt.Errorf("there is no built-in action %s", name)
	}
	var given map[string]any
	if err := json.Unmarshal([]byte(os.Getenv(inputsVariable)), &given); err != nil {
		return fmt.Errorf("the inputs of %s: %w", name, err)
	}
	for k, v := range given {
		if v != nil {
			c.inputs[k] = fmt.Sprint(v)
		}
	}
	return d.run(ctx, c)
}

func (c *call) input(name string) string { return strings.TrimSpace(c.inputs[name]) }

// lines of an input with several, without empty ones.
func (c *call) lines(name string) (lines []string) {
	for line := range strings.SplitSeq(c.inputs[name], "\n") {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

func (c *call) flag(name string) bool { return strings.EqualFold(c.input(name), "true") }

func (c *call) say(format string, args ...any) { fmt.Fprintf(c.out, format+"\n", args...) }

// warn shows as a warning of the step.
func (c *call) warn(format string, args ...any) { c.say("::warning::"+format, args...) }

// command appends to one of the files by which a step tells the engine things.
func command(variable, text string) error {
	f, err := os.OpenFile(os.Getenv(variable), os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return fmt.Errorf("%s: %w", variable, err)
	}
	_, err = f.WriteString(text)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

func assign(variable, name, value string) error {
	if !strings.Contains(value, "\n") {
		return command(variable, name+"="+value+"\n")
	}
	mark := fmt.Sprintf("wherry_%d", time.Now().UnixNano())
	return command(variable, name+"<<"+mark+"\n"+value+"\n"+mark+"\n")
}

func (c *call) output(name, value string) error { return assign("GITHUB_OUTPUT", name, value) }
func (c *call) env(name, value string) error    { return assign("GITHUB_ENV", name, value) }
func (c *call) path(dir string) error           { return command("GITHUB_PATH", dir+"\n") }
