# Databricks notebook source
# The tasks of job 1, one after the other in one plain Python process: what they
# cost without a scheduler, kernels, or a process for each. They write to a
# schema of their own.
dbutils.widgets.text("schema", "one_process")

# COMMAND ----------

dbutils.library.restartPython()  # an interpreter that has imported nothing

# COMMAND ----------

spark.range(1).count()  # Spark has started

# COMMAND ----------

import json
import os
import re
import sys
import time
import types

from wherry_runtime import api, source

job = api.call("GET", "/api/2.2/jobs/get", job_id=1)["settings"]
parameters = {p["name"]: p["default"] for p in job["parameters"]} | {"schema": dbutils.widgets.get("schema")}
values = {}


class Exit(Exception):
    pass


def end(value):
    raise Exit(value)


def resolve(text):
    """Replaces {{job.parameters.x}} and {{tasks.t.values.v}}."""

    def value(found):
        kind, *path = found[1].split(".")
        return str(parameters[path[1]] if kind == "job" else values[path[0], path[2]])

    return re.sub(r"\{\{([\w.]+)\}\}", value, text)


def platform(task, given):
    """dbutils, as far as the tasks use it."""
    return types.SimpleNamespace(
        widgets=types.SimpleNamespace(text=lambda *_: None, get=given.__getitem__),
        secrets=dbutils.secrets,
        jobs=types.SimpleNamespace(
            taskValues=types.SimpleNamespace(set=lambda key, value: values.__setitem__((task["task_key"], key), value))
        ),
        notebook=types.SimpleNamespace(exit=end, entry_point=dbutils.notebook.entry_point),
    )


def run_sql(text, names):
    names["_sqldf"] = spark.sql(text)
    display(names["_sqldf"])


def run_notebook(task):
    given = {k: resolve(v) for k, v in task["notebook_task"].get("base_parameters", {}).items()} | parameters
    names = {"spark": spark, "display": display, "dbutils": platform(task, given)}
    path, _, cells = source.read(task["notebook_task"]["notebook_path"])
    os.chdir(os.path.dirname(path))
    for cell in cells:
        if cell["language"] == "sql":
            run_sql(cell["source"], names)
        elif cell["language"] == "python":
            exec(compile(cell["source"], path, "exec"), names)


def run_script(task):
    path = task["spark_python_task"]["python_file"]
    sys.argv = [path, *map(resolve, task["spark_python_task"]["parameters"])]
    with open(path) as f:
        exec(compile(f.read(), path, "exec"), {"__name__": "__main__", "spark": spark})


spent = {}
for task in job["tasks"]:
    started = time.monotonic()
    try:
        if "notebook_task" in task:
            run_notebook(task)
        elif "spark_python_task" in task:
            run_script(task)
    except Exit:
        pass
    spent[task["task_key"]] = round((time.monotonic() - started) * 1000)

# COMMAND ----------

dbutils.notebook.exit(json.dumps(spent))
