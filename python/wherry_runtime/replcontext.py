"""What the task is, in the shapes that libraries ask for: mlflow, databricks-sdk, users' code."""

from __future__ import annotations

import json
from typing import Any
from zlib import crc32

from wherry_runtime import context
from wherry_runtime.context import Context


def notebook_id(ctx: Context) -> str:
    """The workspace's id of the notebook; for a server that tells none, a
    number that stands for its path."""
    return str(ctx.task.get("notebook_id") or crc32(ctx.notebook_path.encode()) + (1 << 40))


def attributes(ctx: Context) -> dict[str, Any]:
    """The facts, by the names of the platform's context."""
    task = ctx.task
    notebook = ctx.kind == "notebook"
    in_job = bool(task.get("job_run_id"))
    # A run that was submitted has no job; mlflow cannot do with a run alone.
    job = task.get("job_id") or task.get("job_run_id")
    return {
        "aclPathOfAclRoot": f"/workspace/{notebook_id(ctx)}" if notebook else None,
        "apiToken": task.get("token"),
        "apiUrl": task.get("api_url"),
        "browserHostName": task.get("host"),
        "clusterId": task.get("cluster_id"),
        "currentRunId": _text(task.get("run_id")),
        "idInJob": _text(task.get("run_id")) if in_job else None,
        "isInCluster": True,
        "isInJob": in_job,
        "isInNotebook": notebook,
        "jobId": _text(job) if in_job else None,
        "jobName": task.get("job_name"),
        "jobRunId": _text(task.get("job_run_id")),
        "jobTaskType": "notebook" if notebook else "python",
        "jobType": "NORMAL",
        "multitaskParentRunId": _text(task.get("job_run_id")),
        "notebookId": notebook_id(ctx) if notebook else None,
        "notebookPath": ctx.notebook_path if notebook else None,
        "rootRunId": _text(task.get("run_id")),
        "taskKey": task.get("task_key"),
        "user": task.get("user_name"),
        "userName": task.get("user_name"),
        "workloadClass": None,
        "workloadId": None,
        "workspaceId": _text(task.get("workspace_id")),
        "workspaceUrl": None,
    }


def _text(value: Any) -> str | None:
    return str(value) if value else None


class ReplContext:
    """dbruntime.databricks_repl_context.get_context()."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self.__dict__.update(facts)


def get_context() -> ReplContext | None:
    """The context, None outside a task."""
    return ReplContext(attributes(context.current)) if context.current else None


class Option:
    """A Scala Option as Py4J shows it."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def isDefined(self) -> bool:
        return self._value is not None

    nonEmpty = isDefined

    def isEmpty(self) -> bool:
        return self._value is None

    def get(self) -> Any:
        if self._value is None:
            raise ValueError("None.get")
        return self._value

    def getOrElse(self, default: Any) -> Any:
        if self._value is None:
            return default() if callable(default) else default
        return self._value

    def toString(self) -> str:
        return str(self)

    def __str__(self) -> str:
        return "None" if self._value is None else f"Some({self._value})"

    __repr__ = __str__


class ScalaMap(dict[str, Any]):
    """A Scala Map as Py4J shows it."""

    def get(self, key: str, default: Any = None) -> Any:
        return Option(super().get(key, default))

    def apply(self, key: str) -> Any:
        return self[key]

    def contains(self, key: str) -> bool:
        return key in self

    def getOrElse(self, key: str, default: Any) -> Any:
        return self.get(key).getOrElse(default)


class NotebookContext:
    """entry_point.getDbutils().notebook().getContext(): each fact is a method
    that returns an Option."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self._facts = facts

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name == "currentRunId":
            return lambda: Option(RunId(self._facts[name]) if self._facts[name] else None)
        value = self._facts.get(name)
        return lambda: Option(value)

    def _tags(self) -> dict[str, str]:
        f = self._facts
        pairs = {
            "browserHostName": f["browserHostName"],
            "clusterId": f["clusterId"],
            "currentRunId": f["currentRunId"],
            "idInJob": f["idInJob"],
            "jobId": f["jobId"],
            "jobName": f["jobName"],
            "jobType": f["jobType"],
            "jobTaskType": f["jobTaskType"],
            "multitaskParentRunId": f["multitaskParentRunId"],
            "notebookId": f["notebookId"],
            "orgId": f["workspaceId"],
            "runId": f["currentRunId"],
            "taskKey": f["taskKey"],
            "user": f["user"],
            "userId": f["user"],
        }
        return {k: str(v) for k, v in pairs.items() if v}

    def tags(self) -> ScalaMap:
        return ScalaMap(self._tags())

    def _extra(self) -> dict[str, str]:
        f = self._facts
        pairs = {
            "api_url": f["apiUrl"],
            "api_token": f["apiToken"],
            "notebook_path": f["notebookPath"],
            "notebook_id": f["notebookId"],
            "aclPathOfAclRoot": f["aclPathOfAclRoot"],
        }
        return {k: str(v) for k, v in pairs.items() if v}

    def extraContext(self) -> ScalaMap:
        return ScalaMap(self._extra())

    def toJson(self) -> str:
        run = self._facts["currentRunId"]
        return json.dumps(
            {
                "rootRunId": {"id": int(run)} if run else None,
                "currentRunId": {"id": int(run)} if run else None,
                "jobGroup": None,
                "tags": self._tags(),
                "extraContext": self._extra(),
            }
        )

    def safeToJson(self) -> str:
        extra = {k: v for k, v in self._extra().items() if k != "api_token"}
        return json.dumps({"attributes": {**self._tags(), **extra}})


class RunId:
    """A run id, whose number is id()."""

    def __init__(self, text: str) -> None:
        self._text = text

    def id(self) -> int:
        return int(self._text)

    def toString(self) -> str:
        return self._text

    def __str__(self) -> str:
        return self._text


class EntryPoint:
    """dbutils.notebook.entry_point: what is left of the Scala side."""

    def getDbutils(self) -> EntryPoint:
        return self

    def notebook(self) -> EntryPoint:
        return self

    def getContext(self) -> NotebookContext:
        return NotebookContext(attributes(context.get()))
