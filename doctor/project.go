package doctor

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry/bundle"
	"github.com/wherry-ml/wherry/bundle/config"
	"github.com/wherry-ml/wherry/bundle/deploy"
	"github.com/wherry-ml/wherry/bundle/source"
)

// Classes of a Finding.
const (
	Broken   = "error"     // the bundle cannot be deployed
	StoodIn  = "stand-in"  // made up by the deploy, if it is not there
	Supply   = "supply"    // must be given
	WontRun  = "wont-run"  // is not supported
	NoEffect = "no-effect" // is stored, and does nothing yet
)

// Finding is one thing about a project.
type Finding struct {
	Class   string     `json:"class"`
	Message string     `json:"message"`
	Fix     string     `json:"fix,omitempty"`
	At      config.Pos `json:"at"`
	// Source is the reference of a source that it is about, if it is.
	Source source.Reference `json:"-"`
}

// Project reads a bundle and its sources. Nothing is run and no server asked:
// what a server has already is not known here.
func Project(b *bundle.Bundle) ([]Finding, error) {
	p := &project{b: b}
	for _, problem := range b.Problems.List() {
		class := Broken
		if strings.Contains(problem.Message, "not supported by wherry") {
			class = WontRun
		} else if problem.Severity == config.Warning {
			continue
		}
		p.add(class, problem.At, problem.Hint, "%s", problem.Message)
	}
	if b.Config != nil && b.Target != "" {
		p.bundle()
		if err := p.sources(); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(p.list, func(a, b Finding) int {
		return cmp.Or(slices.Index(order, a.Class)-slices.Index(order, b.Class), strings.Compare(a.At.File, b.At.File), cmp.Compare(a.At.Line, b.At.Line))
	})
	return p.list, nil
}

var order = []string{Broken, WontRun, Supply, StoodIn, NoEffect}

type project struct {
	b    *bundle.Bundle
	list []Finding
	told map[string]bool
	// source is the reference that is judged.
	source source.Reference
}

func (p *project) add(class string, at config.Pos, fix, format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	key := class + message
	if class != NoEffect && p.told[key] { // the first place is enough
		return
	}
	if p.told == nil {
		p.told = map[string]bool{}
	}
	p.told[key] = true
	p.list = append(p.list, Finding{Class: class, Message: message, Fix: fix, At: at, Source: p.source})
}

// noEffect are keys of jobs that are stored and do nothing, and why.
var noEffect = map[string]string{
	"continuous": "continuous jobs do not start by themselves yet",
}

// noEffectCluster are keys of clusters.
var noEffectCluster = map[string]string{
	"init_scripts": "init scripts are not run", "cluster_log_conf": "logs are kept by the server and not delivered elsewhere",
	"policy_id": "cluster policies are not applied", "instance_pool_id": "there are no instance pools: the cluster starts by itself",
	"autoscale": "runs on this machine's cores", "num_workers": "runs on this machine's cores", "aws_attributes": "has no meaning on this machine",
	"azure_attributes": "has no meaning on this machine", "gcp_attributes": "has no meaning on this machine", "data_security_mode": "grants are not enforced yet",
}

func (p *project) bundle() {
	ws := p.b.Config.Get("workspace")
	for _, key := range []string{"host", "profile"} {
		if v := ws.Get(key); v.Text() != "" {
			p.add(StoodIn, v.At, "", "workspace.%s %s: every target goes to this installation", key, v.Text())
		}
	}
	if f := p.b.Config.Field("permissions"); f != nil {
		p.add(NoEffect, f.At, "", "permissions are stored, and not enforced yet")
	}
	p.principals(p.b.Config)
	for _, name := range p.b.RunAs() {
		p.add(NoEffect, name.At, "", "run_as %s: %s", name.Text(), bundle.RunAsNote)
	}
	own := p.own("schemas", "catalog_name", "name")
	for _, r := range p.b.Resources() {
		for _, key := range []string{"permissions", "grants"} {
			if f := r.Value.Field(key); f != nil {
				p.add(NoEffect, f.At, "", "%s: %s are stored, and not enforced yet", r.ID(), key)
			}
		}
		p.principals(r.Value)
		switch r.Type {
		case "jobs":
			p.job(r)
		case "experiments":
			p.folder(r.Value.Get("name"))
		case "schemas", "volumes", "registered_models":
			catalog, schema := r.Value.Get("catalog_name"), r.Value.Get("schema_name")
			if catalog.Text() != "" {
				p.add(StoodIn, catalog.At, "", "catalog %s", catalog.Text())
			}
			if name := catalog.Text() + "." + schema.Text(); schema.Text() != "" && !strings.Contains(name, "${") && !own[name] {
				p.add(StoodIn, schema.At, "", "schema %s", name)
			}
		}
	}
}

// principals are those of run_as and permissions, but for who deploys.
func (p *project) principals(v *config.Value) {
	for _, who := range append([]*config.Value{v.Get("run_as")}, v.Get("permissions").List()...) {
		for _, key := range []string{"user_name", "service_principal_name"} {
			if name := who.Get(key); name.Text() != "" && name.Text() != p.b.User {
				p.add(StoodIn, name.At, "", "principal %s", name.Text())
			}
		}
	}
}

// folder is where an experiment is, unless it is the deployer's own.
func (p *project) folder(name *config.Value) {
	if dir := path.Dir(name.Text()); dir != "/" && dir != "." && dir != "/Shared" && !strings.HasPrefix(dir+"/", "/Users/"+p.b.User+"/") {
		p.add(StoodIn, name.At, "", "folder %s", dir)
	}
}

func (p *project) job(r bundle.Resource) {
	p.keys(r.Value, r.ID(), noEffect)
	p.notifications(r.Value, r.ID())
	if t := r.Value.Get("trigger"); t != nil {
		for _, kind := range []string{"file_arrival", "table_update", "model", "sql_condition"} {
			if f := t.Field(kind); f != nil {
				p.add(NoEffect, f.At, "", "%s: a trigger by %s does not fire yet (periodic ones do)", r.ID(), kind)
			}
		}
	}
	for _, c := range r.Value.Get("job_clusters").List() {
		p.cluster(c.Get("new_cluster"), r.ID()+" job cluster "+c.Get("job_cluster_key").Text())
	}
	for _, task := range r.Value.Get("tasks").List() {
		p.task(task, r.ID()+" task "+task.Get("task_key").Text())
		if nested := task.Get("for_each_task", "task"); nested != nil {
			p.task(nested, r.ID()+" task "+nested.Get("task_key").Text())
		}
	}
}

func (p *project) keys(v *config.Value, what string, why map[string]string) {
	for _, f := range v.Entries() {
		if reason, ok := why[f.Key]; ok {
			p.add(NoEffect, f.At, "", "%s: %s: %s", what, f.Key, reason)
		}
	}
}

// notifications looks at who is told of a job or a task.
func (p *project) notifications(v *config.Value, what string) {
	for _, key := range []string{"email_notifications", "webhook_notifications"} {
		if f := v.Get(key).Field("on_streaming_backlog_exceeded"); f != nil {
			p.add(NoEffect, f.At, "", "%s: %s: the backlog of streams is not watched yet", what, f.Key)
		}
	}
	for _, event := range v.Get("webhook_notifications").Entries() {
		for _, hook := range event.Value.List() {
			if id := hook.Get("id"); id.Text() != "" {
				p.add(NoEffect, id.At, "wherry notifications add NAME --id "+id.Text()+" makes one", "%s: %s tells nobody unless there is a notification destination %s here", what, event.Key, id.Text())
			}
		}
	}
	for _, rule := range v.Get("health").Get("rules").List() {
		if m := rule.Get("metric"); strings.HasPrefix(m.Text(), "STREAMING_") {
			p.add(NoEffect, m.At, "", "%s: %s: streams are not watched yet", what, m.Text())
		}
	}
}

func (p *project) cluster(v *config.Value, what string) {
	p.keys(v, what, noEffectCluster)
	if f := v.Field("docker_image"); f != nil {
		p.add(WontRun, f.At, "", "%s: docker_image is not supported", what)
	}
	if v := v.Get("runtime_engine"); v.Text() == "PHOTON" {
		p.add(NoEffect, v.At, "", "%s: there is no Photon: Spark's own engine runs", what)
	}
}

func (p *project) task(task *config.Value, what string) {
	p.keys(task, what, noEffect)
	p.notifications(task, what)
	p.cluster(task.Get("new_cluster"), what)
	if v := task.Get("existing_cluster_id"); v.Text() != "" {
		p.add(StoodIn, v.At, "wherry stand-in cluster "+v.Text()+" SPEC chooses its settings", "cluster %s", v.Text())
	}
	for _, l := range task.Get("libraries").List() {
		for _, f := range l.Entries() {
			if slices.Contains([]string{"jar", "maven", "cran", "egg"}, f.Key) {
				p.add(WontRun, f.At, "", "%s: libraries of type %s are not supported", what, f.Key)
			}
		}
	}
}

// sources judges what notebooks and Python files name.
func (p *project) sources() error {
	refs, err := deploy.Scan(p.b)
	if err != nil {
		return err
	}
	answers, err := deploy.ReadStandIns(p.b.Root)
	if err != nil {
		return err
	}
	has, err := p.dependencies()
	if err != nil {
		return err
	}
	written := map[string]bool{}
	for _, r := range refs {
		switch {
		case r.Kind == source.Table && r.Write:
			written[r.Name] = true
		case r.Kind == source.Library && r.Write:
			has.packages[r.Name] = true
		}
	}
	volumes, schemas := p.own("volumes", "catalog_name", "schema_name", "name"), p.own("schemas", "catalog_name", "name")
	for _, r := range refs {
		p.source = r
		at := config.Pos{File: r.File, Line: r.Line, Column: r.Column}
		switch r.Kind {
		case source.Feature:
			p.add(WontRun, at, "", "not supported: %s", r.Name)
		case source.Library:
			p.library(r, at, has)
		case source.Dataset:
			p.add(Supply, at, "put the data into a volume or table of your own and name that", "%s exists only on Databricks", r.Name)
		case source.Secret:
			if !answers.Has(source.Secret, r.Name) {
				p.add(Supply, at, "wherry stand-in secret "+r.Name, "secret %s", r.Name)
			}
		case source.Volume:
			p.volume(r, at, volumes, answers)
		case source.Table:
			schema := r.Name[:max(0, strings.LastIndex(r.Name, "."))]
			if r.Write && strings.Contains(schema, ".") && !schemas[schema] {
				p.add(StoodIn, at, "", "schema %s", schema)
			}
			if strings.Contains(schema, ".") && !r.Write && !written[r.Name] && !answers.Has(source.Table, r.Name) {
				p.add(Supply, at, "wherry stand-in table "+r.Name+" FILE", "table %s is read and nothing here writes it", r.Name)
			}
		case source.Catalog:
			p.add(StoodIn, at, "", "catalog %s", r.Name)
		}
	}
	return nil
}

// own are the full names of what the bundle makes of a type.
func (p *project) own(kind string, fields ...string) map[string]bool {
	own := map[string]bool{}
	for _, r := range p.b.Resources() {
		var parts []string
		for _, field := range fields {
			parts = append(parts, r.Value.Get(field).Text())
		}
		own[strings.Join(parts, ".")] = r.Type == kind || own[strings.Join(parts, ".")]
	}
	return own
}

func (p *project) volume(r source.Reference, at config.Pos, own map[string]bool, answers *deploy.StandIns) {
	if !own[r.Name] {
		p.add(StoodIn, at, "", "volume %s", r.Name)
	}
	base := r.Path[strings.LastIndex(r.Path, "/")+1:]
	if strings.Contains(base, ".") && !answers.Has(source.Volume, r.Path) {
		p.add(Supply, at, "wherry stand-in file "+r.Path+" FILE", "file %s, unless the project writes it", r.Path)
	}
}
