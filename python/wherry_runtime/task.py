"""Runs one task in the process that a keeper forked for it."""

from __future__ import annotations

import builtins
import json
import os
import signal
import socket
import sys
import types
from typing import Any

from wherry_runtime import context, isolation, paths
from wherry_runtime.events import Events

_zygote_main: types.ModuleType | None = None


def prepare() -> None:
    """Do what needs no request, while the process is a spare; touching memory
    now spares the task page faults later."""
    global _zygote_main
    os.setsid()
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    _zygote_main = sys.modules["__main__"]
    main = types.ModuleType("__main__")
    main.__dict__["__builtins__"] = builtins
    sys.modules["__main__"] = main
    exec(compile("None", "<prepare>", "exec"), {})


def run(request: dict[str, Any], fds: list[int], link: socket.socket) -> int:
    """Run the task of request with the fds [out, events]; return the exit code."""
    out, events = fds[-2:]
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.close(out)
    enter_view(request)
    isolation.drop_privileges(request.get("uid"), request.get("gid"))
    isolation.die_with_parent()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if request["kind"] == "command":
        return execute(request, events)
    set_environment(request)
    reseed()
    return start(request, events, link)


def execute(request: dict[str, Any], events: int) -> int:
    """Become the program of a task that is no Python: with the request's environment
    and no other, its input on fd 0 and its events on fd 3."""
    task = request["task"]
    if "task_file" in request:
        os.unlink(request["task_file"])  # The input holds secrets.
    stdin = os.memfd_create("input")
    with open(os.dup(stdin), "wb") as f:
        f.write(json.dumps(task.get("input")).encode())
    os.lseek(stdin, 0, os.SEEK_SET)
    os.dup2(stdin, 0)  # First: it may be fd 3 itself.
    os.dup2(events, 3)
    os.closerange(4, 1024)
    os.chdir(request["cwd"])
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    argv = task["argv"]
    os.execve(argv[0], argv, request.get("env") or {})


def start(request: dict[str, Any], events: int, link: socket.socket) -> int:
    """Run user code in a process that is set up otherwise: a fork of the
    zygote, or a fresh interpreter."""
    task = request.get("task") or {}
    if os.environ.get("WHERRY_PATHS"):
        paths.install(os.environ["WHERRY_PATHS"])
    shadowed = set_path(request)
    if shadowed and "resume" not in request:
        from wherry_runtime import resume

        resume.fresh_interpreter(request, events, link)
    ctx = context.Context(request, Events(events), context.Control(link))
    context.current = ctx
    ctx.namespace = sys.modules["__main__"].__dict__
    if ctx.kind != "notebook" and (shell := sys.modules.get("wherry_runtime.shell")):
        shell.Shell.clear_instance()  # get_ipython() is None in scripts
    for directory in (request.get("cwd"), os.path.dirname(str(task.get("path") or ""))):
        if directory and os.path.isdir(directory):
            os.chdir(directory)
            break
    if ctx.kind == "notebook":
        from wherry_runtime import shell

        return shell.run(ctx)
    from wherry_runtime import script

    return script.run(ctx)


def enter_view(request: dict[str, Any]) -> None:
    """Show the deployed tree, as it was when the task started, at its place; see view."""
    tree = request.get("tree")
    if not tree or not request.get("isolate", True):
        return
    try:
        isolation.overlay(tree["src"], tree["upper"], tree["dst"])
    except OSError as e:
        if os.path.isdir(tree["dst"]):
            print(f"wherry: the task sees the live files at {tree['dst']}: {e}", file=sys.stderr, flush=True)


def set_environment(request: dict[str, Any]) -> None:
    """Make os.environ the request's, with what every task on the platform has."""
    task = request.get("task") or {}
    env = dict(request.get("env") or os.environ)
    env.update(task.get("env") or {})
    defaults = {
        "DATABRICKS_HOST": task.get("api_url"),
        "DATABRICKS_TOKEN": task.get("token"),
        "DATABRICKS_RUNTIME_VERSION": "17.3",
        "DB_HOME": "/databricks",
        "MLFLOW_TRACKING_URI": "databricks",
        "MLFLOW_REGISTRY_URI": "databricks-uc",
        "MLFLOW_DISABLE_TELEMETRY": "true",  # to its makers; it imports all of databricks.sdk first
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "MPLBACKEND": "module://matplotlib_inline.backend_inline" if request["kind"] == "notebook" else "agg",
        "GIT_PYTHON_REFRESH": "quiet",
        "PYTHONUNBUFFERED": "1",
    }
    for name, value in defaults.items():
        if value:
            env.setdefault(name, str(value))
    overlay = task.get("overlay")
    python_path = [p for p in (*_roots(request), overlay, env.get("PYTHONPATH")) if p]
    env["PYTHONPATH"] = os.pathsep.join(python_path)
    os.environ.clear()
    os.environ.update(env)


def _roots(request: dict[str, Any]) -> list[str]:
    """Folders of the project that go on sys.path: the file's own, then the bundle's."""
    task = request.get("task") or {}
    folders = [os.path.dirname(str(task.get("path") or "")), *(task.get("roots") or [])]
    return list(dict.fromkeys(paths.real(f) for f in folders if f))


def set_path(request: dict[str, Any]) -> list[str]:
    """Put the task's folders on sys.path. Returns the preloaded modules that
    its libraries replace: for those only a fresh interpreter will do."""
    task = request.get("task") or {}
    overlay = task.get("overlay")
    shadowed = []
    if overlay:
        sys.path.insert(0, overlay)
        names = {entry.split(".")[0] for entry in os.listdir(overlay)} if os.path.isdir(overlay) else set()
        shadowed = sorted(names & {m for m in sys.modules if "." not in m})
    sys.path[:0] = _roots(request)
    return shadowed


def reseed() -> None:
    """Every fork would draw the same numbers."""
    if random := sys.modules.get("random"):
        random.seed()
    if numpy_random := sys.modules.get("numpy.random"):
        numpy_random.seed()
