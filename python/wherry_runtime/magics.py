"""What a cell that is no Python does, and the line magics."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from typing import Any

from wherry_runtime import context, lazy, sqltext

runner: Any = None
"""The shell.Runner of this process."""
pip_folder: str | None = None
"""Where %pip installs: the notebook's own libraries."""


def refuse(language: str) -> None:
    """Raise NotImplementedError naming the language."""
    name = {"scala": "Scala", "r": "R"}.get(language, language)
    raise NotImplementedError(
        f"%{language}: {name} cells are not supported by wherry; its notebooks run Python and SQL"
    )


def run_process(argv: list[str], stdin: str | None = None, env: dict[str, str] | None = None) -> int:
    """Run a program whose output becomes the cell's; return its exit code."""
    events = context.get().events
    process = subprocess.Popen(
        argv,
        stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        env=env,
    )

    def pump(stream: Any, name: str) -> None:
        while text := stream.readline():
            events.text(name, text)

    threads = [threading.Thread(target=pump, args=a) for a in ((process.stdout, "stdout"), (process.stderr, "stderr"))]
    for thread in threads:
        thread.start()
    try:
        if stdin is not None and process.stdin is not None:
            try:
                process.stdin.write(stdin)
                process.stdin.close()
            except BrokenPipeError:
                pass
        return process.wait()
    except BaseException:
        process.kill()
        raise
    finally:
        for thread in threads:
            thread.join()


def run_sh(text: str) -> None:
    """%sh: a script for bash. Its exit code is an error only with -e."""
    first, _, rest = text.partition("\n")
    strict = first.strip() == "-e" or first.startswith("-e ")
    script = (first.strip()[2:].lstrip() + "\n" + rest) if strict else text
    with tempfile.NamedTemporaryFile("w", suffix=".sh", delete=False) as f:
        f.write(script + "\n")
    try:
        code = run_process(["/bin/bash", *(["-e"] if strict else []), f.name])
    finally:
        os.unlink(f.name)
    if strict and code:
        raise RuntimeError(f"%sh -e: the script ended with exit code {code}")


def run_sql(text: str) -> None:
    """%sql: each statement in turn; the last result is shown and kept as _sqldf."""
    from wherry_runtime import display, names

    widgets = names.dbutils().widgets
    result = None
    for statement in sqltext.split(text):
        statement, arguments = sqltext.bind(statement, widgets.getAll())
        widget = sqltext.widget(statement)
        if widget is None:
            result = lazy.session().sql(statement, args=arguments or None)
        elif widget.kind == "remove":
            widgets.remove(widget.name)
        else:
            choices = [widget.default]
            if widget.choices:
                choices = [str(row[0]) for row in lazy.session().sql(widget.choices).collect()]
            if widget.kind == "text":
                widgets.text(widget.name, widget.default)
            else:
                getattr(widgets, widget.kind)(widget.name, widget.default, choices)
    if result is None:
        return
    ns = context.get().namespace
    ns["_sqldf"] = result
    if result.columns:
        display.display(result)
    else:
        print("OK")


def run_fs(text: str) -> None:
    """%fs ls /path: a call of dbutils.fs by words."""
    from wherry_runtime import display, names

    command, *arguments = shlex.split(text.strip()) or ["help"]
    function = getattr(names.dbutils().fs, command, None)
    if command.startswith("_") or not callable(function):
        raise ValueError(f"%fs has no command {command}")
    values: list[Any] = [{"true": True, "false": False}.get(a.lower(), a) for a in arguments]
    result = function(*values)
    if isinstance(result, list):
        display.display_rows([f._asdict() if hasattr(f, "_asdict") else {"value": f} for f in result])
    elif result is not None:
        print(result)


_ARGUMENT = re.compile(r"""\$(\w[\w.-]*)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|(\S+))""")


def run_run(text: str) -> None:
    """%run ./other $name="value": the other notebook's cells, here."""
    from wherry_runtime import names

    text = text.strip()
    if text[:1] in ('"', "'"):
        end = text.index(text[0], 1)
        path, rest = text[1:end], text[end + 1 :]
    else:
        path, rest = re.match(r"(.*?)(?=\s+\$\w|\s*$)", text, re.S).group(1), ""  # type: ignore[union-attr]
        rest = text[len(path) :]
    path = path.strip()
    if not path or "\n" in path:
        raise ValueError("%run needs the path of one notebook, alone in its cell")
    values = {m[1]: next(v for v in m.groups()[1:] if v is not None) for m in _ARGUMENT.finditer(rest)}
    names.dbutils().widgets.bind(values)
    runner.include(path)


CELLS: dict[str, Callable[[str], None]] = {"sql": run_sql, "sh": run_sh, "fs": run_fs, "run": run_run}


def register(shell: Any) -> None:
    """Give the shell the line magics %pip, %conda, %run, %sql and %fs."""
    for name, function in {
        "pip": run_pip,
        "conda": run_conda,
        "run": run_run,
        "fs": run_fs,
        "sql": run_sql,
        "sh": run_sh,
    }.items():
        shell.register_magic_function(_line(function), "line", name)
    for name, function in {"sql": run_sql, "sh": run_sh}.items():
        shell.register_magic_function(_cell(function), "cell", name)


def _line(function: Callable[[str], None]) -> Callable[[str], None]:
    return lambda line: function(line)


def _cell(function: Callable[[str], None]) -> Callable[[str, str], None]:
    return lambda line, cell: function(f"{line}\n{cell}" if line else cell)


def run_conda(_: str) -> None:
    raise NotImplementedError("%conda is not supported by wherry (nor by current Databricks runtimes): use %pip")


def run_pip(text: str) -> None:
    """%pip: install into the notebook's own folder; other commands as pip's."""
    global pip_folder
    words = shlex.split(text)
    if not words:
        raise ValueError("%pip needs a command: %pip install PACKAGE")
    if words[0] == "uninstall":
        raise NotImplementedError("%pip uninstall is not supported by wherry: the cluster's packages are shared")
    if words[0] != "install":
        if run_process([sys.executable, "-m", "pip", *words]):
            raise RuntimeError(f"pip {words[0]} failed")
        return
    if pip_folder is None:
        resumed = (context.get().request.get("resume") or {}).get("pip")
        pip_folder = resumed or tempfile.mkdtemp(prefix="wherry-pip-")
    _install(words[1:], pip_folder)
    if pip_folder not in sys.path:
        sys.path.insert(0, pip_folder)
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [pip_folder, os.environ.get("PYTHONPATH")]))
    importlib.invalidate_caches()


# What uv's dry run would add: name==version, or name @ URL.
_PLANNED = re.compile(r"^ *\+ (([^=\s]+)(?:==\S+| @ \S+))", re.M)
# Options of pip that say where packages are, which the second step needs as well.
_INDEX = ("-i", "--index-url", "--extra-index-url", "-f", "--find-links", "--trusted-host", "--no-index")


def _install(arguments: list[str], folder: str) -> None:
    arguments = [
        a
        for a in arguments
        if a not in ("-q", "--quiet", "-y", "--no-warn-script-location", "--disable-pip-version-check")
    ]
    arguments = [a for a in arguments if a not in ("-e", "--editable", "--user", "--force-reinstall", "-v")]
    uv = os.path.join(os.path.dirname(sys.executable), "uv")
    uv = uv if os.path.exists(uv) else shutil.which("uv") or ""
    if not uv:
        code = run_process(
            [sys.executable, "-m", "pip", "install", "--quiet", "--target", folder, "--upgrade", *arguments]
        )
        if code:
            raise RuntimeError("%pip install failed; pip's words are above")
        return
    env = {**uv_environment(), **os.environ}
    # What the runtime has already is not installed again: see Go's environment.Overlay.
    plan = subprocess.run(
        [uv, "pip", "install", "--dry-run", "--python", sys.executable, *arguments],
        env=env,
        capture_output=True,
        text=True,
    )
    if plan.returncode:
        sys.stderr.write(plan.stderr)
        raise RuntimeError("%pip install failed: " + plan.stderr.strip().splitlines()[-1])
    found = _PLANNED.findall(plan.stderr)
    if not found:
        print("Requirements already satisfied.")
        return
    packages = [package for package, _ in found]
    index = [
        w
        for i, a in enumerate(arguments)
        if a.split("=")[0] in _INDEX
        for w in arguments[i : i + (1 if "=" in a or a == "--no-index" else 2)]
    ]
    # `pip install --upgrade` replaces what an earlier %pip put there.
    argv = [
        uv,
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--upgrade",
        "--python",
        sys.executable,
        "--target",
        folder,
        *index,
        *packages,
    ]
    if run_process(argv, env=env):
        raise RuntimeError("%pip install failed; uv's words are above")
    print("Successfully installed " + ", ".join(packages))
    loaded = sorted({name.replace("-", "_") for _, name in found} & set(sys.modules))
    if loaded:
        print(
            f"Note: {', '.join(loaded)} is loaded already: call dbutils.library.restartPython() to use the new version."
        )


def uv_environment() -> dict[str, str]:
    """uv's names for what pip is told by its environment."""
    env = {
        "UV_NO_PROGRESS": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_CACHE_DIR": os.path.join(tempfile.gettempdir(), "wherry-uv"),
    }
    pairs = {
        "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
        "PIP_EXTRA_INDEX_URL": "UV_INDEX",
        "PIP_TRUSTED_HOST": "UV_INSECURE_HOST",
        "PIP_CERT": "SSL_CERT_FILE",
    }
    for pip, uv in pairs.items():
        if value := os.environ.get(pip):
            env[uv] = value
    links = [p for p in os.environ.get("PIP_FIND_LINKS", "").split() if "://" in p or os.path.exists(p)]
    if links:
        env["UV_FIND_LINKS"] = ",".join(links)
    return env
