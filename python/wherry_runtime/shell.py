"""Runs a notebook in this process: IPython's shell without a kernel around it."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
import types
from collections.abc import Callable
from typing import Any

from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from traitlets import Type
from traitlets.config import Config

from wherry_runtime import context, figures, lazy, magics, names, source
from wherry_runtime.context import Context
from wherry_runtime.events import CellStream


class NotebookExit(BaseException):
    """dbutils.notebook.exit: ends the notebook, successfully."""

    def __init__(self, value: str) -> None:
        super().__init__(value)
        self.value = value


class RestartPython(BaseException):
    """dbutils.library.restartPython: the next cell runs in a fresh interpreter."""


class CellFailed(Exception):
    """A cell raised; the error was shown."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error


class Publisher(DisplayPublisher):
    """What is displayed becomes display_data."""

    def publish(
        self,
        data: dict[str, Any],
        metadata: dict[str, Any] | None = None,
        *,
        transient: Any = None,
        update: bool = False,
        **_: Any,
    ) -> None:
        output = {"output_type": "display_data", "data": figures.clean(data), "metadata": metadata or {}}
        context.get().events.output(output)

    def clear_output(self, wait: bool = False) -> None:
        """Output that was sent stays."""


class Hook(DisplayHook):
    """The value of a cell's last expression becomes execute_result."""

    def write_output_prompt(self) -> None:
        self._output: dict[str, Any] = {"output_type": "execute_result", "execution_count": self.prompt_count}

    def write_format_data(self, format_dict: dict[str, Any], md_dict: dict[str, Any] | None = None) -> None:
        self._output["data"] = figures.clean(format_dict)
        self._output["metadata"] = md_dict or {}

    def finish_displayhook(self) -> None:
        context.get().events.output(self._output)

    def quiet(self) -> bool:
        return bool(super().quiet())


class Shell(InteractiveShell):
    """IPython's shell, its outputs being events."""

    displayhook_class = Type(Hook)
    display_pub_class = Type(Publisher)

    def init_io(self) -> None:
        """The process's streams are set when a task starts."""

    def init_virtualenv(self) -> None:
        """The interpreter is the right one already."""

    def _showtraceback(self, etype: type, evalue: BaseException, stb: list[str]) -> None:
        self.error_output = {
            "output_type": "error",
            "ename": etype.__name__,
            "evalue": str(evalue),
            "traceback": list(stb),
        }
        context.get().events.output(self.error_output)

    def system(self, cmd: str) -> None:
        """!cmd: its output is the cell's."""
        self.user_ns["_exit_code"] = magics.run_process(["/bin/bash", "-c", self.var_expand(cmd, depth=1)])

    system_piped = system_raw = system


def prepare() -> Shell:
    """Make the shell. Called in the zygote: no thread may start here."""
    config = Config()
    config.HistoryManager.enabled = False
    config.HistoryManager.hist_file = ":memory:"
    config.InteractiveShell.colors = "linux"
    config.InteractiveShell.autocall = 0
    config.InteractiveShell.xmode = "Context"
    config.InteractiveShell.banner1 = ""
    main = types.ModuleType("__main__")
    before, hook = sys.modules["__main__"], sys.excepthook
    shell: Shell = Shell.instance(config=config, user_module=main)
    sys.modules["__main__"], sys.excepthook = before, hook
    magics.register(shell)
    figures.register(shell)
    for error in (NotebookExit, RestartPython):
        shell.set_custom_exc((*shell.custom_exceptions, error), lambda *_, **__: None)
    warm(shell)
    return shell


def warm(shell: Shell) -> None:
    """Run through the machinery once, so that forks find it imported and warm."""
    hook = shell.displayhook
    hook.write_format_data = hook.finish_displayhook = lambda *_: None  # type: ignore[method-assign]
    shell._showtraceback = lambda *_: None  # type: ignore[method-assign]
    for code in ("None", "1", "raise RuntimeError", "def broken("):
        shell.run_cell(code, store_history=False)
    del hook.write_format_data, hook.finish_displayhook, shell._showtraceback  # type: ignore[method-assign]


def run(ctx: Context) -> int:
    """Run the notebook; return the process's exit code."""
    shell: Shell = Shell.instance() if Shell.initialized() else prepare()  # type: ignore[assignment]
    sys.modules["__main__"] = shell.user_module
    sys.stdout = CellStream(ctx.events, "stdout", 1)  # type: ignore[assignment]
    sys.stderr = CellStream(ctx.events, "stderr", 2)  # type: ignore[assignment]
    ctx.namespace = shell.user_ns
    shell.user_ns.update(names.global_names())
    os.environ.setdefault("MLFLOW_EXPERIMENT_NAME", ctx.notebook_path)
    runner = Runner(ctx, shell)
    return runner.run()


class Runner:
    """Runs cells in order; knows what was executed."""

    def __init__(self, ctx: Context, shell: Shell) -> None:
        self.ctx, self.shell = ctx, shell
        self.resume: dict[str, Any] = ctx.request.get("resume") or {}
        self.digest = hashlib.sha256()
        self.executed: list[str] = self.resume.get("executed") or []
        self.paths: list[str] = [str(ctx.task.get("path") or "")]
        self.started = time.monotonic() - (self.resume.get("elapsed") or 0)
        ctx.namespace["__wherry_runner__"] = self
        magics.runner = self

    def run(self) -> int:
        cells = self.ctx.task.get("source") or source.read(self.paths[0])[2]
        if isinstance(cells, dict):
            cells = cells["cells"]
        if not self.resume:
            self.ctx.events.write("started")
        for at, cell in enumerate(cells):
            if at < self.resume.get("cell", 0):
                continue
            try:
                self.run_cell(cell)
            except NotebookExit as e:
                self.ctx.events.write("exit", value=e.value)
                self.skip(cells[at + 1 :])
                break
            except RestartPython:
                self.restart(at + 1)
            except CellFailed as e:
                self.skip(cells[at + 1 :])
                return self.failed(e.error)
        return self.finish(True)

    def run_cell(self, cell: source.Cell) -> None:
        """Run one cell of the notebook, with its events."""
        if cell["kind"] == "markdown":
            return
        events, index = self.ctx.events, cell["index"]
        events.begin_cell(index)
        started = time.monotonic()
        state = "failed"
        try:
            self.execute(cell)
            state = "done"
        except (NotebookExit, RestartPython):
            state = "done"
            raise
        finally:
            events.write("cell", index=index, state=state, ms=round((time.monotonic() - started) * 1000))

    def execute(self, cell: source.Cell) -> None:
        """Run what a cell holds, in the shell's namespace. Raises CellFailed,
        NotebookExit or RestartPython."""
        self.executed.append(f"{cell['language']}\n{cell['source']}")
        if cell["language"] == "python":
            self.run_python(cell["source"])
            return
        magic: Callable[[str], Any] | None = magics.CELLS.get(cell["language"])
        if magic is None:
            self.guard(lambda: magics.refuse(cell["language"]))
        else:
            self.guard(lambda: magic(cell["source"]))

    def run_python(self, code: str) -> None:
        result = self.shell.run_cell(code, store_history=True)
        error = result.error_before_exec or result.error_in_exec
        if isinstance(error, (NotebookExit, RestartPython, CellFailed)):
            raise error
        if error is not None:
            raise CellFailed(error)

    def guard(self, body: Callable[[], Any]) -> None:
        """Run what is no Python with the same treatment of errors."""
        try:
            body()
        except (NotebookExit, RestartPython, CellFailed):
            raise
        except BaseException as e:
            # The frames are ours and pyspark's; what the user wrote is in the message.
            self.shell.showtraceback(exception_only=True)
            raise CellFailed(e) from None

    def include(self, path: str) -> None:
        """%run: the cells of another notebook in this namespace."""
        path = os.path.normpath(os.path.join(os.path.dirname(self.paths[-1]), path))
        if not path.startswith(("/Workspace/", "/Volumes/", "/dbfs/")) and not os.path.exists(os.path.dirname(path)):
            path = "/Workspace" + path
        file, _, cells = source.read(path)
        if file in self.paths or len(self.paths) > 50:
            raise RecursionError(f"%run {path}: the notebook runs itself ({' → '.join([*self.paths, file])})")
        self.ctx.events.write("include", index=self.ctx.events.index, path=file, cells=cells)
        self.paths.append(file)
        try:
            for cell in cells:
                if cell["kind"] == "code":
                    self.execute(cell)
        finally:
            self.paths.pop()

    def skip(self, cells: list[source.Cell]) -> None:
        for cell in cells:
            if cell["kind"] == "code":
                self.ctx.events.write("cell", index=cell["index"], state="skipped", ms=0)

    def failed(self, error: BaseException) -> int:
        shown = getattr(self.shell, "error_output", None) or {}
        ename = type(error).__name__
        trace = shown.get("traceback") or [f"{ename}: {error}"]
        self.ctx.events.write("error", ename=ename, evalue=str(error), traceback=trace)
        return self.finish(False)

    def finish(self, ok: bool) -> int:
        from wherry_runtime import script

        elapsed = round((time.monotonic() - self.started) * 1000)
        script.end_threads()
        text = "\n# COMMAND ----------\n".join(self.executed)
        self.ctx.events.write("executed", digest="sha256:" + hashlib.sha256(text.encode()).hexdigest())
        self.ctx.events.write("finished", ok=ok, execution_ms=elapsed)
        return 0 if ok else 1

    def restart(self, cell: int) -> None:
        """Go on with cell in a fresh interpreter; does not return."""
        from wherry_runtime import resume

        self.ctx.events.flush()
        request = dict(self.ctx.request)
        request["resume"] = {
            "cell": cell,
            "executed": self.executed,
            "elapsed": time.monotonic() - self.started,
            "widgets": names.dbutils().widgets.state(),
            "pip": magics.pip_folder or "",
            "total_bytes": self.ctx.events.total_bytes,
            "env": dict(os.environ),
            "attached": lazy.attached(),
        }
        request.pop("fds", None)
        resume.fresh_interpreter(json.loads(json.dumps(request)), self.ctx.events.fd, self.ctx.control.link)
