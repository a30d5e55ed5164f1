"""Creates a job, runs it and waits for its end, as a user's own script does.

Prints a line of JSON when the run was started, and one when it has ended.
"""

import datetime
import json
import sys

from databricks.sdk import WorkspaceClient
from databricks.sdk.service import jobs

w = WorkspaceClient()
job = w.jobs.create(
    name="lines",
    tasks=[jobs.Task(task_key="print", spark_python_task=jobs.SparkPythonTask(python_file="/Workspace/lines.py", parameters=sys.argv[1:]))],
)
started = w.jobs.run_now(job.job_id)
print(json.dumps({"run_id": started.run_id}), flush=True)
run = started.result(timeout=datetime.timedelta(minutes=5))
output = w.jobs.get_run_output(run.tasks[0].run_id)
print(
    json.dumps(
        {
            "state": run.state.result_state.value,
            "attempts": [t.run_id for t in run.tasks],
            "logs": output.logs,
            "truncated": bool(output.logs_truncated),
            "error": output.error,
        }
    )
)
