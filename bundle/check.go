package bundle

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wherry-ml/wherry/bundle/config"
	"github.com/wherry-ml/wherry/cron"
)

// checkResources checks what the table of keys cannot say: keys that must be
// unique or must exist, exclusive settings, cycles.
func (b *Bundle) checkResources() {
	b.checkPermissions(b.Config.Get("permissions"), "permissions")
	b.checkPrincipal(b.Config.Get("run_as"), "run_as")
	for _, r := range b.Resources() {
		b.checkPermissions(r.Value.Get("permissions"), r.ID()+".permissions")
		if r.Type == "jobs" {
			(&jobCheck{b: b, job: r.Value, path: "resources." + r.ID()}).run()
		}
	}
}

func (b *Bundle) checkPermissions(list *config.Value, path string) {
	for i, item := range list.List() {
		b.checkPrincipal(item, fmt.Sprintf("%s[%d]", path, i))
	}
}

func (b *Bundle) checkPrincipal(v *config.Value, path string) {
	if v == nil || v.Kind != config.Map {
		return
	}
	n := 0
	for _, key := range []string{"user_name", "group_name", "service_principal_name"} {
		if v.Get(key) != nil {
			n++
		}
	}
	if n != 1 {
		b.Problems.Errorf(v.At, "%s needs exactly one of user_name, service_principal_name, group_name", path)
	}
}

// jobCheck checks one job.
type jobCheck struct {
	b    *Bundle
	job  *config.Value
	path string
}

func (c *jobCheck) run() {
	clusters := c.keys("job_clusters", "job_cluster_key")
	environments := c.keys("environments", "environment_key")
	c.keys("parameters", "name")
	tasks := c.keys("tasks", "task_key")
	for i, task := range c.job.Get("tasks").List() {
		path := fmt.Sprintf("%s.tasks[%d]", c.path, i)
		c.task(task, path, clusters, environments)
		if nested := task.Get("for_each_task", "task"); nested != nil {
			c.task(nested, path+".for_each_task.task", clusters, environments)
			if nested.Get("for_each_task") != nil {
				c.b.Problems.Errorf(nested.At, "%s: a for_each_task cannot hold another", path)
			}
		}
		c.dependencies(task, tasks)
	}
	c.cycle()
	c.schedule()
	if git := c.job.Field("git_source"); git != nil {
		c.b.Problems.Errorf(git.At, "%s: git_source is not supported by wherry yet: the bundle's own files are deployed", c.path)
	}
	if a, b := c.job.Field("schedule"), c.job.Field("continuous"); a != nil && b != nil {
		c.b.Problems.Errorf(b.At, "%s has both schedule and continuous: keep one", c.path)
	}
}

// schedule reports a time or zone that is none.
func (c *jobCheck) schedule() {
	if v := c.job.Get("schedule", "quartz_cron_expression"); v != nil {
		if _, err := cron.Parse(v.Text()); err != nil {
			c.b.Problems.Errorf(v.At, "%s.schedule.quartz_cron_expression: %v", c.path, err)
		}
	}
	if v := c.job.Get("schedule", "timezone_id"); v != nil {
		if _, err := cron.Zone(v.Text()); err != nil {
			c.b.Problems.Errorf(v.At, "%s.schedule.timezone_id: %v", c.path, err)
		}
	}
}

// keys returns the names in a keyed list, reporting those that come twice.
func (c *jobCheck) keys(list, key string) map[string]*config.Value {
	seen := map[string]*config.Value{}
	for _, item := range c.job.Get(list).List() {
		v := item.Get(key)
		name := v.Text()
		if name == "" {
			continue
		}
		if old := seen[name]; old != nil {
			c.b.Problems.Add(config.Problem{
				Severity: config.Error, At: v.At, Message: fmt.Sprintf("%s.%s: %s %q is here twice", c.path, list, key, name),
				Hint: "the first one is at " + old.Get(key).At.String(),
			})
			continue
		}
		seen[name] = item
	}
	return seen
}

// TaskTypes are the keys that say what a task does.
var TaskTypes = []string{
	"notebook_task", "spark_python_task", "python_wheel_task", "spark_jar_task", "spark_submit_task", "sql_task", "dbt_task", "pipeline_task", "run_job_task",
	"condition_task", "for_each_task", "dashboard_task", "alert_task", "power_bi_task", "dbt_cloud_task", "dbt_platform_task", "clean_rooms_notebook_task",
	"gen_ai_compute_task", "ai_runtime_task", "python_operator_task",
}

// SupportedTasks are those of TaskTypes that run.
var SupportedTasks = []string{"notebook_task", "spark_python_task", "python_wheel_task", "condition_task", "for_each_task", "run_job_task"}

func (c *jobCheck) task(task *config.Value, path string, clusters, environments map[string]*config.Value) {
	if task.Kind != config.Map {
		return
	}
	if types := present(task, TaskTypes); len(types) > 1 {
		c.b.Problems.Errorf(task.Field(types[1]).At, "%s has two task types, %s: keep one", path, strings.Join(types, " and "))
	} else if len(types) == 0 && !slices.ContainsFunc(task.Fields, func(f config.Field) bool { return strings.HasSuffix(f.Key, "_task") }) {
		c.b.Problems.Errorf(task.At, "%s does nothing: it needs a task type such as notebook_task or spark_python_task", path)
	}
	for _, kind := range present(task, TaskTypes) {
		if !slices.Contains(SupportedTasks, kind) {
			c.b.Problems.Errorf(task.Field(kind).At, "%s: the task type %s is not supported by wherry yet (it runs %s)", path, kind, strings.Join(SupportedTasks, ", "))
		}
	}
	compute := present(task, []string{"job_cluster_key", "new_cluster", "existing_cluster_id", "environment_key"})
	if len(compute) > 1 {
		c.b.Problems.Errorf(task.Field(compute[1]).At, "%s names two computes, %s: keep one", path, strings.Join(compute, " and "))
	}
	c.known(task.Get("job_cluster_key"), "job cluster", "job_clusters", clusters)
	c.known(task.Get("environment_key"), "environment", "environments", environments)
}

func present(v *config.Value, keys []string) (found []string) {
	for _, key := range keys {
		if v.Get(key) != nil {
			found = append(found, key)
		}
	}
	return found
}

func (c *jobCheck) known(v *config.Value, what, list string, names map[string]*config.Value) {
	if v.Text() == "" || names[v.Text()] != nil || strings.Contains(v.Text(), "${") {
		return
	}
	p := config.Problem{Severity: config.Error, At: v.At, Message: fmt.Sprintf("there is no %s %q in %s.%s", what, v.Text(), c.path, list)}
	c.suggest(&p, v.Text(), names)
	c.b.Problems.Add(p)
}

func (c *jobCheck) suggest(p *config.Problem, name string, names map[string]*config.Value) {
	var all []string
	for n := range names {
		all = append(all, n)
	}
	slices.Sort(all)
	if near := config.Nearest(name, all); near != "" {
		p.Message += fmt.Sprintf(": did you mean %q?", near)
	} else if len(all) > 0 {
		p.Hint = "there are " + strings.Join(all, ", ")
	}
}

func (c *jobCheck) dependencies(task *config.Value, tasks map[string]*config.Value) {
	for _, d := range task.Get("depends_on").List() {
		key := d.Get("task_key")
		if key.Text() == "" {
			continue
		}
		upstream := tasks[key.Text()]
		if upstream == nil {
			c.known(key, "task", "tasks", tasks)
			continue
		}
		if outcome := d.Field("outcome"); outcome != nil && upstream.Get("condition_task") == nil {
			c.b.Problems.Errorf(outcome.At, "outcome is for a condition_task, and %s is none", key.Text())
		}
	}
}

// cycle reports one cycle of depends_on, at the task that closes it.
func (c *jobCheck) cycle() {
	const visiting, done = 1, 2
	state := map[string]int{}
	upstream := map[string][]*config.Value{}
	for _, task := range c.job.Get("tasks").List() {
		for _, d := range task.Get("depends_on").List() {
			upstream[task.Get("task_key").Text()] = append(upstream[task.Get("task_key").Text()], d.Get("task_key"))
		}
	}
	var visit func(key string, path []string) bool
	visit = func(key string, path []string) bool {
		state[key] = visiting
		path = append(path, key)
		for _, d := range upstream[key] {
			if state[d.Text()] == visiting {
				from := slices.Index(path, d.Text())
				c.b.Problems.Errorf(d.At, "%s: tasks depend on each other in a cycle: %s", c.path, strings.Join(append(path[from:], d.Text()), " → "))
				return true
			}
			if state[d.Text()] == 0 && visit(d.Text(), path) {
				return true
			}
		}
		state[key] = done
		return false
	}
	for _, task := range c.job.Get("tasks").List() {
		if key := task.Get("task_key").Text(); state[key] == 0 && visit(key, nil) {
			return
		}
	}
}
