"""The Jobs API as the real databricks-sdk for Python uses it."""

import datetime

import requests
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import NotFound, NotImplemented
from databricks.sdk.service import jobs

w = WorkspaceClient()
timeout = datetime.timedelta(minutes=2)


def script(key, file="/a.py", *parameters, **more):
    return jobs.Task(task_key=key, spark_python_task=jobs.SparkPythonTask(python_file=file, parameters=list(parameters)), **more)


# A notebook, a condition on a parameter, and its two branches.
job = w.jobs.create(
    name="python",
    parameters=[jobs.JobParameterDefinition(name="n", default="1")],
    tasks=[
        jobs.Task(task_key="nb", notebook_task=jobs.NotebookTask(notebook_path="/n", base_parameters={"a": "{{job.name}}", "n": "0"})),
        jobs.Task(
            task_key="check",
            depends_on=[jobs.TaskDependency(task_key="nb")],
            condition_task=jobs.ConditionTask(op=jobs.ConditionTaskOp.GREATER_THAN, left="{{job.parameters.n}}", right="5"),
        ),
        script("big", depends_on=[jobs.TaskDependency(task_key="check", outcome="true")]),
        script("small", depends_on=[jobs.TaskDependency(task_key="check", outcome="false")]),
    ],
    schedule=jobs.CronSchedule(quartz_cron_expression="0 0 1 * * ?", timezone_id="Europe/London", pause_status=jobs.PauseStatus.PAUSED),
)
run = w.jobs.run_now_and_wait(job.job_id, job_parameters={"n": "7"}, timeout=timeout)
state = {t.task_key: t.state.result_state.value for t in run.tasks}
assert state == {"nb": "SUCCESS", "check": "SUCCESS", "big": "SUCCESS", "small": "EXCLUDED"}, state
assert run.state.result_state == jobs.RunResultState.SUCCESS
assert run.status.termination_details.code == jobs.TerminationCodeCode.SUCCESS
check = next(t for t in run.tasks if t.task_key == "check")
assert check.condition_task.outcome == "true" and check.resolved_values.condition_task.left == "7", check
output = w.jobs.get_run_output(next(t.run_id for t in run.tasks if t.task_key == "nb"))
assert output.notebook_output.result == '{"a":"python","n":"7"}', output.notebook_output

# Unknown fields and explicit zeros survive; quoted ids are taken.
got = w.api_client.do("POST", "/api/2.2/jobs/create", body={"name": "raw", "future": {"x": []}, "max_retries": 0, "tasks": []})
raw = w.api_client.do("GET", "/api/2.2/jobs/get", query={"job_id": str(got["job_id"])})
assert raw["settings"]["future"] == {"x": []} and raw["settings"]["max_retries"] == 0, raw
w.api_client.do("POST", "/api/2.1/jobs/delete", body={"job_id": str(got["job_id"])})

# for_each: each element is a run of its own.
each = w.jobs.create(
    name="each",
    tasks=[
        jobs.Task(
            task_key="all",
            for_each_task=jobs.ForEachTask(inputs='["x", "y", "z"]', concurrency=2, task=script("one", "/a.py", "{{input}}")),
        )
    ],
)
run = w.jobs.run_now_and_wait(each.job_id, timeout=timeout)
parent = w.jobs.get_run(run.tasks[0].run_id)
logs = [w.jobs.get_run_output(i.run_id).logs for i in parent.iterations]
assert logs == ["x\n", "y\n", "z\n"], logs
stats = run.tasks[0].for_each_task.stats.task_run_stats
assert stats.succeeded_iterations == 3 and stats.total_iterations == 3, stats

# run_job: a job in a job.
outer = w.jobs.create(name="outer", tasks=[jobs.Task(task_key="inner", run_job_task=jobs.RunJobTask(job_id=job.job_id, job_parameters={"n": "2"}))])
run = w.jobs.run_now_and_wait(outer.job_id, timeout=timeout)
child = w.jobs.get_run(w.jobs.get_run_output(run.tasks[0].run_id).run_job_output.run_id)
assert {t.task_key: t.state.result_state.value for t in child.tasks}["small"] == "SUCCESS", child
assert child.trigger == jobs.TriggerType.RUN_JOB_TASK

# Lists page; errors have their own classes.
assert {j.job_id for j in w.jobs.list(limit=1)} == {job.job_id, each.job_id, outer.job_id}
assert len(list(w.jobs.list_runs(job_id=job.job_id, limit=1))) == 2
for call in (lambda: w.jobs.get(123456), lambda: w.jobs.get_run(123456)):
    try:
        call()
        raise SystemExit("it exists")
    except NotFound:
        pass
try:
    w.jobs.create(name="no", tasks=[jobs.Task(task_key="p", pipeline_task=jobs.PipelineTask(pipeline_id="1"))])
    raise SystemExit("a pipeline task was taken")
except NotImplemented as e:
    assert "pipeline_task" in str(e), e

# The single versions differ in the default of the queue.
for version, queue in (("2.1", None), ("2.2", {"enabled": True})):
    made = w.api_client.do("POST", f"/api/{version}/jobs/create", body={"name": "q", "tasks": []})
    settings = w.api_client.do("GET", f"/api/{version}/jobs/get", query={"job_id": made["job_id"]})["settings"]
    assert settings.get("queue") == queue, settings
    w.jobs.delete(made["job_id"])

# Task values belong to tasks.
refused = requests.post(f"{w.config.host}/api/wherry/task-values", json={"key": "k", "value": 1}, headers=w.config.authenticate(), timeout=60)
assert refused.status_code == 400 and "belongs to none" in refused.text, refused.text
print("ok")
