"""dbutils: the platform's utilities, against wherry's server."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections import namedtuple
from collections.abc import Sequence
from typing import Any, NoReturn

from wherry_runtime import api, context, redact, replcontext
from wherry_runtime.fs import FS

SecretScope = namedtuple("SecretScope", ["name"])
SecretMetadata = namedtuple("SecretMetadata", ["key"])
_NONE = object()


class Help:
    """A part of dbutils; help() prints its docstring."""

    def help(self, method: str | None = None) -> None:
        print((getattr(type(self), method).__doc__ if method else type(self).__doc__) or "")


class InputWidgetNotDefined(Exception):
    """A widget that no one made and the run has no value for."""


class Widgets(Help):
    """Values that a notebook is run with."""

    def __init__(self) -> None:
        resume = context.get().request.get("resume") or {}
        saved = resume.get("widgets") or {}
        self._defaults: dict[str, str] = saved.get("defaults", {})
        self._given: dict[str, str] = saved.get("given") or {
            k: str(v) for k, v in (context.get().task.get("parameters") or {}).items()
        }

    def state(self) -> dict[str, dict[str, str]]:
        return {"defaults": self._defaults, "given": self._given}

    def bind(self, values: dict[str, str]) -> None:
        """Give values, as a job's parameters or %run's arguments do."""
        self._given.update(values)

    def text(self, name: str, defaultValue: str = "", label: str | None = None) -> None:
        """Make a text widget."""
        self._defaults[name] = str(defaultValue)

    def dropdown(self, name: str, defaultValue: str, choices: Sequence[str], label: str | None = None) -> None:
        """Make a widget with one of some values; the default must be among them."""
        if str(defaultValue) not in [str(c) for c in choices]:
            raise ValueError(
                f"The default value {defaultValue!r} of widget {name} is not among its choices {list(choices)}"
            )
        self._defaults[name] = str(defaultValue)

    def combobox(self, name: str, defaultValue: str, choices: Sequence[str] = (), label: str | None = None) -> None:
        """Make a widget that offers values and takes any."""
        self._defaults[name] = str(defaultValue)

    def multiselect(self, name: str, defaultValue: str, choices: Sequence[str], label: str | None = None) -> None:
        """Make a widget with several of some values; get returns them with commas."""
        self.dropdown(name, defaultValue, choices, label)

    def get(self, name: str) -> str:
        """Return the value of a widget: the run's, else its default."""
        if name in self._given:
            return self._given[name]
        if name in self._defaults:
            return self._defaults[name]
        raise InputWidgetNotDefined(f"InputWidgetNotDefined: No input widget named {name} is defined")

    def getAll(self) -> dict[str, str]:
        """Return the values of all widgets."""
        return {**self._defaults, **self._given}

    def getArgument(self, name: str, defaultValue: str | None = None) -> str:
        """Return a widget's value, or the default that is given."""
        try:
            return self.get(name)
        except InputWidgetNotDefined:
            if defaultValue is None:
                raise
            return defaultValue

    def remove(self, name: str) -> None:
        """Remove a widget. What the run gave stays given."""
        self._defaults.pop(name, None)

    def removeAll(self) -> None:
        """Remove all widgets. What the run gave stays given."""
        self._defaults.clear()


class NotebookExecutionError(Exception):
    """A notebook that dbutils.notebook.run started did not succeed."""


class Notebook(Help):
    """Other notebooks, and the end of this one."""

    entry_point = replcontext.EntryPoint()

    def exit(self, value: Any = "") -> NoReturn:
        """End the notebook; value becomes the task's output."""
        from wherry_runtime.shell import NotebookExit

        raise NotebookExit(str(value))

    def getContext(self) -> replcontext.NotebookContext:
        return replcontext.EntryPoint().getContext()

    def run(self, path: str, timeout_seconds: int = 0, arguments: dict[str, Any] | None = None, **_: Any) -> str:
        """Run a notebook as a run of its own on this cluster; return what it gave to exit."""
        body = {
            "path": path,
            "timeout_seconds": int(timeout_seconds),
            "arguments": {k: str(v) for k, v in (arguments or {}).items()},
            "idempotency_token": uuid.uuid4().hex,
        }
        run_id = api.call("POST", "/api/wherry/notebook-run", body)["run_id"]
        try:
            run = self._wait(run_id)
        except BaseException:  # Interrupted: the child is not to outlive its caller.
            api.call("POST", "/api/wherry/notebook-run/cancel", {"run_id": run_id})
            raise
        state = run["state"]
        output = api.call("GET", "/api/2.1/jobs/runs/get-output", run_id=run["tasks"][0]["run_id"])
        if state.get("result_state") == "SUCCESS":
            return str((output.get("notebook_output") or {}).get("result") or "")
        why = output.get("error") or state.get("state_message") or ""
        raise NotebookExecutionError(
            f"com.databricks.WorkflowException: notebook {path} ended {state.get('result_state')} (run {run_id}): {why}"
        )

    def _wait(self, run_id: int) -> dict[str, Any]:
        pause = 0.02
        while True:
            run: dict[str, Any] = api.call("GET", "/api/2.1/jobs/runs/get", run_id=run_id)
            state = run.get("state") or {}
            if state.get("life_cycle_state") in ("TERMINATED", "SKIPPED", "INTERNAL_ERROR"):
                return run
            time.sleep(pause)
            pause = min(pause * 1.3, 1.0)


class TaskValues(Help):
    """Small values that tasks of a job run hand on."""

    def set(self, key: str, value: Any) -> None:
        """Set a value that later tasks can get. Does nothing outside a job."""
        text = json.dumps(value)
        if len(text) > 48 << 10:
            raise ValueError(f"The task value {key} has {len(text)} bytes as JSON; the limit is {48 << 10}")
        if context.get().task.get("job_run_id"):
            api.call("POST", "/api/wherry/task-values", {"key": key, "value": value})

    def get(self, taskKey: str, key: str, default: Any = _NONE, debugValue: Any = _NONE) -> Any:
        """Return what task taskKey set. Without such a value: default, else
        ValueError. Outside a job: debugValue, else TypeError."""
        if not context.get().task.get("job_run_id"):
            if debugValue is _NONE or debugValue is None:
                raise TypeError(
                    "Must pass debugValue when calling get outside of a job context. debugValue cannot be None."
                )
            return debugValue
        try:
            return api.call("GET", "/api/wherry/task-values", task_key=taskKey, key=key)["value"]
        except api.APIError as e:
            if e.status != 404:
                raise
        if default is not _NONE and default is not None:
            return default
        raise ValueError(f"No task value was found for task key {taskKey} and key {key}, and no default was given")


class Jobs(Help):
    """What belongs to the job run."""

    def __init__(self) -> None:
        self.taskValues = TaskValues()


class Secrets(Help):
    """Secrets of the workspace; what is got is redacted in the output."""

    def getBytes(self, scope: str, key: str) -> bytes:
        """Return a secret's bytes."""
        try:
            answer = api.call("GET", "/api/2.0/secrets/get", scope=scope, key=key)
        except api.APIError as e:
            if e.status == 404:
                raise ValueError(f"Secret does not exist with scope: {scope} and key: {key}") from None
            raise
        value = base64.b64decode(answer["value"])
        text = value.decode("utf-8", "replace")
        redact.add(text)
        for line in text.splitlines():
            redact.add(line)
        return value

    def get(self, scope: str, key: str) -> str:
        """Return a secret as text."""
        return self.getBytes(scope, key).decode("utf-8")

    def list(self, scope: str) -> list[SecretMetadata]:
        """Return the keys of a scope."""
        answer = api.call("GET", "/api/2.0/secrets/list", scope=scope)
        return [SecretMetadata(s["key"]) for s in answer.get("secrets") or []]

    def listScopes(self) -> list[SecretScope]:
        """Return the scopes."""
        return [SecretScope(s["name"]) for s in api.call("GET", "/api/2.0/secrets/scopes/list").get("scopes") or []]


class Library(Help):
    """The interpreter's libraries."""

    def restartPython(self) -> NoReturn:
        """Go on with the next cell in a fresh interpreter, which sees what %pip installed."""
        from wherry_runtime.shell import RestartPython

        if context.get().kind != "notebook":
            raise NotImplementedError("dbutils.library.restartPython works in notebooks only")
        raise RestartPython

    def install(self, *_: Any) -> NoReturn:
        raise NotImplementedError("dbutils.library.install was removed from the platform: use %pip install")

    installPyPI = install


class Data(Help):
    """A look at data."""

    def summarize(self, df: Any, precise: bool = False) -> None:
        """Show the statistics of a DataFrame's columns."""
        from wherry_runtime import display

        if type(df).__module__.startswith("pandas"):
            summary = df.describe(include="all").T.reset_index(names="column")
            display.display(summary)
            return
        display.display(df.summary())


class Credentials(Help):
    """Cloud roles, which wherry has none of."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise NotImplementedError(
            "dbutils.credentials is not supported by wherry: configure the storage with spark.conf and dbutils.secrets"
        )

    assumeRole = showCurrentRole = showRoles = getServiceCredentialsProvider = _refuse


class DBUtils(Help):
    """credentials, data, fs, jobs, library, notebook, secrets, widgets."""

    def __init__(self, *_: Any) -> None:
        self.credentials = Credentials()
        self.data = Data()
        self.fs = FS()
        self.jobs = Jobs()
        self.library = Library()
        self.notebook = Notebook()
        self.secrets = Secrets()
        self.widgets = Widgets()

    @property
    def entry_point(self) -> replcontext.EntryPoint:
        return replcontext.EntryPoint()

    def getContext(self) -> replcontext.NotebookContext:
        return replcontext.EntryPoint().getContext()
