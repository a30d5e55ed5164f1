package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/wherry-ml/wherry"
	"github.com/wherry-ml/wherry/bundle"
	"github.com/wherry-ml/wherry/bundle/deployment"
	"github.com/wherry-ml/wherry/bundle/source"
	"github.com/wherry-ml/wherry/client"
)

// StandIns are a project's answers to what it takes for granted and cannot be
// made up. They are kept in .wherry/stand-ins.yml beside the project, ignored by
// Git; the values of secrets in .wherry/secrets.json, readable by the user only.
type StandIns struct {
	// Files are local files by the path in a volume that they stand in for.
	Files map[string]string `yaml:"files,omitempty" json:"files,omitempty"`
	// Tables are local data files by table name.
	Tables map[string]string `yaml:"tables,omitempty" json:"tables,omitempty"`
	// Clusters are the settings of clusters by the id that they stand in for.
	Clusters map[string]map[string]any `yaml:"clusters,omitempty" json:"clusters,omitempty"`
	// Secrets are "scope/key".
	Secrets []string `yaml:"secrets,omitempty" json:"secrets,omitempty"`

	values map[string]string // of secrets
}

const (
	standInsFile = "stand-ins.yml"
	secretsFile  = "secrets.json"
)

// ReadStandIns reads a project's answers; none is fine.
func ReadStandIns(root string) (*StandIns, error) {
	s := &StandIns{}
	b, err := os.ReadFile(filepath.Join(root, bundle.LocalDir, standInsFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := yaml.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("%s/%s: %w", bundle.LocalDir, standInsFile, err)
	}
	s.values = map[string]string{} // an empty file empties all of s
	if s.Files == nil {
		s.Files = map[string]string{}
	}
	if s.Tables == nil {
		s.Tables = map[string]string{}
	}
	if s.Clusters == nil {
		s.Clusters = map[string]map[string]any{}
	}
	b, err = os.ReadFile(filepath.Join(root, bundle.LocalDir, secretsFile))
	if err == nil {
		err = json.Unmarshal(b, &s.values)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s/%s: %w", bundle.LocalDir, secretsFile, err)
	}
	return s, nil
}

// SetSecret keeps the value of a secret.
func (s *StandIns) SetSecret(name, value string) {
	s.values[name] = value
	if !slices.Contains(s.Secrets, name) {
		s.Secrets = append(s.Secrets, name)
	}
}

// Has tells whether there is an answer for a reference.
func (s *StandIns) Has(kind, name string) bool {
	switch kind {
	case source.Secret:
		return s.values[name] != ""
	case source.Volume:
		return s.Files[name] != ""
	case source.Table:
		return s.Tables[name] != ""
	}
	return false
}

// Write keeps the answers beside the project.
func (s *StandIns) Write(root string) error {
	b, err := yaml.Marshal(s)
	if err != nil {
		return err
	}
	if err := bundle.WriteLocal(root, standInsFile, b); err != nil {
		return err
	}
	if len(s.values) == 0 {
		return nil
	}
	if b, err = json.Marshal(s.values); err != nil {
		return err
	}
	if err := bundle.WriteLocal(root, secretsFile, b); err != nil {
		return err
	}
	return os.Chmod(filepath.Join(root, bundle.LocalDir, secretsFile), 0o600)
}

// Scan reads a bundle's sources.
func Scan(b *bundle.Bundle) ([]source.Reference, error) {
	files, err := b.Files()
	if err != nil {
		return nil, err
	}
	var all []source.Reference
	for _, f := range files {
		if !slices.Contains(source.Extensions, path.Ext(f.Path)) || f.Size > 10<<20 || isTest(f.Path) {
			continue
		}
		text, err := os.ReadFile(f.Local)
		if err != nil {
			return nil, err
		}
		all = append(all, source.Scan(f.Path, text)...)
	}
	return all, nil
}

// isTest leaves out what only a project's own tests run.
func isTest(name string) bool {
	base := path.Base(name)
	return strings.HasPrefix(name, "tests/") || strings.Contains(name, "/tests/") || strings.HasPrefix(base, "test_") || base == "conftest.py"
}

// wants are what the server should make because the sources or the answers
// name it.
func wants(b *bundle.Bundle, s *StandIns) (list []deployment.Want) {
	add := func(kind, name, at string) {
		w := deployment.Want{Kind: kind, Name: name, At: at}
		if !slices.ContainsFunc(list, func(o deployment.Want) bool { return o.Kind == kind && o.Name == name }) {
			list = append(list, w)
		}
	}
	refs, err := Scan(b)
	if err != nil {
		b.Problems.Warnf(b.Config.At, "the sources cannot be read for what they take for granted: %v", err)
	}
	for _, r := range refs {
		at := fmt.Sprintf("%s:%d:%d", r.File, r.Line, r.Column)
		parts := strings.Split(r.Name, ".")
		switch {
		case r.Kind == source.Volume:
			add(deployment.StandInVolume, r.Name, at)
		case r.Kind == source.Table && r.Write && len(parts) == 3:
			add(deployment.StandInSchema, parts[0]+"."+parts[1], at)
		case r.Kind == source.Catalog:
			add(deployment.StandInCatalog, r.Name, at)
		case r.Kind == source.Schema && r.Write && len(parts) == 2:
			add(deployment.StandInCatalog, parts[0], at)
		case r.Kind == source.Secret:
			scope, _, _ := strings.Cut(r.Name, "/")
			add(deployment.StandInScope, scope, at)
		}
	}
	for name := range s.Files {
		if parts := strings.Split(strings.TrimPrefix(name, "/Volumes/"), "/"); len(parts) > 3 {
			add(deployment.StandInVolume, strings.Join(parts[:3], "."), standInsFile)
		}
	}
	for name := range s.Tables {
		if parts := strings.Split(name, "."); len(parts) == 3 {
			add(deployment.StandInSchema, parts[0]+"."+parts[1], standInsFile)
		}
	}
	for _, name := range s.Secrets {
		scope, _, _ := strings.Cut(name, "/")
		add(deployment.StandInScope, scope, standInsFile)
	}
	slices.SortFunc(list, func(a, b deployment.Want) int { return strings.Compare(a.Kind+a.Name, b.Kind+b.Name) })
	return list
}

// supply brings the answers to the server, those that it does not have yet.
func (s *StandIns) supply(ctx context.Context, c *client.Client, root string, opts *Options) error {
	if !opts.StandIns {
		return nil
	}
	for name, local := range s.Files {
		if err := putFile(ctx, c, name, filepath.Join(root, filepath.FromSlash(local)), opts); err != nil {
			return fmt.Errorf("stand-in for %s: %w", name, err)
		}
	}
	for _, name := range s.Secrets {
		value, ok := s.values[name]
		if !ok {
			return wherry.Errorf(wherry.CodeInvalidState, "the secret %s has no value here: give one with `wherry stand-in secret %s`", name, name)
		}
		scope, key, _ := strings.Cut(name, "/")
		if err := c.Do(ctx, "POST", "/api/2.0/secrets/put", map[string]any{"scope": scope, "key": key, "string_value": value}, nil); err != nil {
			return fmt.Errorf("stand-in for secret %s: %w", name, err)
		}
	}
	for name, local := range s.Tables {
		if err := putTable(ctx, c, name, filepath.Join(root, filepath.FromSlash(local)), opts); err != nil {
			return fmt.Errorf("stand-in for table %s: %w", name, err)
		}
	}
	return nil
}

func escapePath(p string) string { return (&url.URL{Path: p}).EscapedPath() }

// putFile uploads a file into a volume unless one of its size is there.
func putFile(ctx context.Context, c *client.Client, name, local string, opts *Options) error {
	info, err := os.Stat(local)
	if err != nil {
		return err
	}
	if resp, err := c.Send(ctx, "HEAD", "/api/2.0/fs/files"+escapePath(name), nil, -1); err == nil {
		resp.Body.Close()
		if resp.ContentLength == info.Size() {
			return nil
		}
	}
	f, err := os.Open(local)
	if err != nil {
		return err
	}
	defer f.Close()
	opts.say("stand-in: %s from %s", name, local)
	resp, err := c.Send(ctx, "PUT", "/api/2.0/fs/files"+escapePath(name)+"?overwrite=true", f, info.Size())
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// tableScript is run on the server to make a table of a data file.
const tableScript = `import sys
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
table, path = sys.argv[1], sys.argv[2]
kind = path.rsplit(".", 1)[-1]
reader = spark.read
if kind == "csv":
    reader = reader.option("header", True).option("inferSchema", True)
reader.format(kind).load("file:" + path).write.saveAsTable(table)
`

// putTable makes a table of a Parquet, CSV or JSON file by a run of its own,
// unless there is one of the name.
func putTable(ctx context.Context, c *client.Client, name, local string, opts *Options) error {
	err := c.Do(ctx, "GET", "/api/2.1/unity-catalog/tables/"+url.PathEscape(name), nil, nil)
	if err == nil {
		return nil
	}
	if code := wherry.CodeOf(err); code != wherry.CodeTableNotFound && code != wherry.CodeDoesNotExist && code != wherry.CodeNotFound {
		return err
	}
	opts.say("stand-in: table %s from %s", name, local)
	const dir = "/Workspace/Shared/.wherry-stand-ins"
	data, script := dir+"/"+name+filepath.Ext(local), dir+"/table.py"
	if err := c.Do(ctx, "POST", "/api/2.0/workspace/mkdirs", map[string]any{"path": dir}, nil); err != nil {
		return err
	}
	f, err := os.Open(local)
	if err != nil {
		return err
	}
	defer f.Close()
	for to, body := range map[string]io.Reader{data: f, script: strings.NewReader(tableScript)} {
		resp, err := c.Send(ctx, "POST", "/api/2.0/workspace-files/import-file"+escapePath(strings.TrimPrefix(to, "/Workspace"))+"?overwrite=true", body, -1)
		if err != nil {
			return err
		}
		resp.Body.Close()
	}
	var out struct {
		RunID int64 `json:"run_id"`
	}
	task := map[string]any{"task_key": "table", "spark_python_task": map[string]any{"python_file": script, "parameters": []string{name, data}}}
	if err := c.Do(ctx, "POST", "/api/2.2/jobs/runs/submit", map[string]any{"run_name": "stand-in for " + name, "tasks": []any{task}}, &out); err != nil {
		return err
	}
	return waitRun(ctx, c, out.RunID)
}

func waitRun(ctx context.Context, c *client.Client, id int64) error {
	for {
		var run struct {
			State struct {
				LifeCycle string `json:"life_cycle_state"`
				Result    string `json:"result_state"`
				Message   string `json:"state_message"`
			} `json:"state"`
		}
		if err := c.Do(ctx, "GET", fmt.Sprintf("/api/2.2/jobs/runs/get?run_id=%d", id), nil, &run); err != nil {
			return err
		}
		switch run.State.LifeCycle {
		case "TERMINATED", "SKIPPED", "INTERNAL_ERROR":
			if run.State.Result == wherry.ResultSuccess {
				return nil
			}
			return fmt.Errorf("the run %d that makes it ended %s: %s", id, run.State.Result, run.State.Message)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}
