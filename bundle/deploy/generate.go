package deploy

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/bundle/schema"
	"github.com/wherry-ml/wherry/client"
)

// Generate says what is written from a resource that exists, and where.
type Generate struct {
	Type   string // the section, as in "jobs"
	ID     string
	Key    string // "" makes one of the name
	Root   string // of the bundle, absolute
	Config string // folder of the YAML file, relative to Root
	Source string // folder of the notebooks and files, relative to Root
	Force  bool   // overwrite files
}

// generatedTypes are the schema's words for sections.
var generatedTypes = map[string]string{
	"jobs": "job", "experiments": "experiment", "models": "model", "registered_models": "registered_model", "catalogs": "catalog", "schemas": "schema",
	"volumes": "volume", "external_locations": "external_location", "clusters": "cluster", "secret_scopes": "secret_scope",
}

// Write writes the YAML of the resource, and the notebooks and files that a
// job's tasks name. It returns the files written, relative to Root, and the key.
func (g Generate) Write(ctx context.Context, c *client.Client) (files []string, key string, err error) {
	config, err := Existing(ctx, c, g.Type, g.ID)
	if err != nil {
		return nil, "", err
	}
	config, _ = schema.Prune(config, generatedTypes[g.Type]).(map[string]any)
	for _, name := range []string{"deployment", "edit_mode", "format"} { // of a deploy, not of the job
		delete(config, name)
	}
	if g.Key == "" {
		g.Key = keyOf(config, g.ID)
	}
	contents := map[string][]byte{}
	if g.Type == "jobs" {
		if err := g.sources(ctx, c, config, contents); err != nil {
			return nil, "", err
		}
	}
	doc, err := yaml.Marshal(map[string]any{"resources": map[string]any{g.Type: map[string]any{g.Key: config}}})
	if err != nil {
		return nil, "", err
	}
	name := path.Join(g.Config, g.Key+"."+generatedTypes[g.Type]+".yml")
	contents[name] = doc
	for file := range contents {
		if _, err := os.Stat(filepath.Join(g.Root, file)); err == nil && !g.Force {
			return nil, "", wherry.Errorf(wherry.CodeAlreadyExists, "%s exists: give --force to overwrite it", file)
		}
	}
	for file, content := range contents {
		at := filepath.Join(g.Root, filepath.FromSlash(file))
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return nil, "", err
		}
		if err := os.WriteFile(at, content, 0o644); err != nil {
			return nil, "", err
		}
		files = append(files, file)
	}
	return files, g.Key, nil
}

// keyOf makes a key of a resource's name: small letters, digits and "_".
func keyOf(config map[string]any, id string) string {
	name, _ := config["name"].(string)
	if name == "" {
		name, _ = config["cluster_name"].(string)
	}
	name = path.Base(name)
	key := strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToLower(name)), "_")
	for strings.Contains(key, "__") {
		key = strings.ReplaceAll(key, "__", "_")
	}
	if key == "" {
		return "resource_" + id
	}
	return key
}

// sources downloads what the tasks run from the workspace, and writes the new
// paths into the tasks.
func (g Generate) sources(ctx context.Context, c *client.Client, job map[string]any, contents map[string][]byte) error {
	places := map[string]string{} // local name by workspace path
	tasks, _ := job["tasks"].([]any)
	for _, v := range tasks {
		task, _ := v.(map[string]any)
		if loop, _ := task["for_each_task"].(map[string]any); loop != nil {
			if nested, _ := loop["task"].(map[string]any); nested != nil {
				task = nested
			}
		}
		for kind, field := range map[string]string{"notebook_task": "notebook_path", "spark_python_task": "python_file"} {
			source, _ := task[kind].(map[string]any)
			at, _ := source[field].(string)
			if !path.IsAbs(at) || source["source"] == "GIT" {
				continue
			}
			name, ok := places[at]
			if !ok {
				content, file, err := download(ctx, c, at)
				if err != nil {
					return err
				}
				name = path.Join(g.Source, file)
				if _, taken := contents[name]; taken {
					name = path.Join(g.Source, path.Base(path.Dir(at)), file)
				}
				contents[name], places[at] = content, name
			}
			rel, err := filepath.Rel(filepath.FromSlash(g.Config), filepath.FromSlash(name))
			if err != nil {
				return err
			}
			source[field] = filepath.ToSlash(rel)
		}
	}
	return nil
}

var languages = map[string]string{"PYTHON": ".py", "SQL": ".sql", "SCALA": ".scala", "R": ".r"}

// download reads a notebook, as source, or a file of the workspace.
func download(ctx context.Context, c *client.Client, at string) (content []byte, name string, err error) {
	var status struct {
		Type     string `json:"object_type"`
		Language string `json:"language"`
	}
	if err := c.Do(ctx, "GET", "/api/2.0/workspace/get-status?path="+url.QueryEscape(at), nil, &status); err != nil {
		return nil, "", fmt.Errorf("%s: %w", at, err)
	}
	var out struct {
		Content string `json:"content"`
	}
	if err := c.Do(ctx, "GET", "/api/2.0/workspace/export?format=SOURCE&path="+url.QueryEscape(at), nil, &out); err != nil {
		return nil, "", fmt.Errorf("%s: %w", at, err)
	}
	content, err = base64.StdEncoding.DecodeString(out.Content)
	name = path.Base(at)
	if ext := languages[status.Language]; status.Type == "NOTEBOOK" && path.Ext(name) != ext {
		name += ext
	}
	return content, name, err
}
