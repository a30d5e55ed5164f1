"""Runs Python files and the entry points of wheels as the platform does."""

from __future__ import annotations

import atexit
import hashlib
import importlib
import importlib.metadata
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import CodeType, TracebackType
from typing import Any

from wherry_runtime import redact
from wherry_runtime.context import Context


def run(ctx: Context) -> int:
    """Run the task; return the process's exit code."""
    sys.stdout = redact.RedactedStream(_line_buffered(1))  # type: ignore[assignment]
    sys.stderr = redact.RedactedStream(_line_buffered(2))  # type: ignore[assignment]
    sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr  # type: ignore[misc]
    from wherry_runtime import names

    ctx.namespace.update(names.global_names())
    started = time.monotonic()
    code = _run_user_code(ctx, run_wheel if ctx.kind == "wheel" else run_file)
    elapsed = round((time.monotonic() - started) * 1000)
    end_threads()
    ctx.events.write("finished", ok=code == 0, execution_ms=elapsed)
    return code


def _run_user_code(ctx: Context, body: Callable[[Context], None]) -> int:
    try:
        body(ctx)
    except SystemExit as e:
        if e.code in (None, 0):
            return 0
        if not isinstance(e.code, int):
            print(e.code, file=sys.stderr)
        ctx.events.write("error", ename="SystemExit", evalue=str(e.code), traceback=[f"SystemExit: {e.code}"])
        return e.code if isinstance(e.code, int) else 1
    except BaseException as e:
        lines = traceback.format_exception(type(e), e, user_frames(e.__traceback__))
        sys.stderr.write("".join(lines))
        ctx.events.write("error", ename=type(e).__name__, evalue=str(e), traceback="".join(lines).splitlines())
        return 1
    return 0


def run_file(ctx: Context) -> None:
    """Run a spark_python_task: the platform defines no __file__."""
    path = str(ctx.task["path"])
    sys.argv = [path, *(ctx.task.get("argv") or [])]
    with open(path, "rb") as f:
        source = f.read()
    ctx.events.write("executed", digest="sha256:" + hashlib.sha256(source).hexdigest())
    code: CodeType = compile(source, path, "exec", dont_inherit=True)
    ctx.events.write("started")
    exec(code, ctx.namespace)


def run_wheel(ctx: Context) -> None:
    """Run a python_wheel_task: the entry point that the package's metadata
    names, else the function of that name in the package."""
    task = ctx.task
    entry = str(task["entry_point"])
    argv = [str(a) for a in task.get("argv") or []]
    argv += [f"--{k}={v}" for k, v in (task.get("named_parameters") or {}).items()]
    sys.argv = [entry, *argv]
    ctx.events.write("started")
    function = find_entry_point(str(task["package_name"]), entry)
    result = function()
    if isinstance(result, int) and result:  # As the console script would: sys.exit(main()).
        raise SystemExit(result)


def find_entry_point(package: str, entry: str) -> Callable[[], Any]:
    """Return what runs for entry. Raises RuntimeError saying what there is."""
    try:
        points = importlib.metadata.distribution(package).entry_points
    except importlib.metadata.PackageNotFoundError:
        points = None
    named = [p for p in points or () if p.name == entry]
    named.sort(key=lambda p: p.group != "console_scripts")
    if named:
        return named[0].load()  # type: ignore[no-any-return]
    name = package.replace("-", "_")
    try:
        return getattr(importlib.import_module(name), entry)  # type: ignore[no-any-return]
    except ModuleNotFoundError as e:
        if e.name != name:
            raise
        if points is None:
            raise RuntimeError(
                f"python_wheel_task: package {package} is not installed; is its wheel among the task's libraries?"
            ) from None
        raise RuntimeError(f"python_wheel_task: package {package} has no entry point {entry}{_known(points)}") from None
    except AttributeError:
        raise RuntimeError(
            f"python_wheel_task: package {package} has no entry point and no function {entry}{_known(points)}"
        ) from None


def _known(points: Any) -> str:
    names = sorted({p.name for p in points or ()})
    return f"; it has {', '.join(names)}" if names else ""


def user_frames(tb: TracebackType | None) -> TracebackType | None:
    """The traceback from the first frame that is not ours."""
    here = os.path.dirname(__file__)
    while tb is not None and tb.tb_frame.f_code.co_filename.startswith(here):
        tb = tb.tb_next
    return tb


def _line_buffered(fd: int) -> Any:
    return open(fd, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)


def end_threads() -> None:
    """What the interpreter does at its end: wait for threads, run atexit."""
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    except BaseException:
        traceback.print_exc()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass
