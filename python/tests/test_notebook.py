"""Notebooks: outputs, errors, magics, dbutils."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Server, Zygote


def test_outputs(zygote: Zygote, tmp_path: Path) -> None:
    task = zygote.notebook(
        tmp_path / "n.py",
        "print('hello')\n1 + 1",
        "import pandas as pd\ndisplay(pd.DataFrame({'a': [1, None]}))\nNone",
        "displayHTML('<b>x</b>')",
        "import matplotlib.pyplot as plt\nplt.plot([1, 2]);",
        "import asyncio\nawait asyncio.sleep(0)\nx = 5",
        "%%time\nprint(x)",
        "!echo out; echo err >&2",
        "import warnings, sys\nprint('e', file=sys.stderr)\nx;",
    )
    assert task.end() == {"exit": 0, "signal": 0}
    assert task.outputs(0) == [
        {"output_type": "stream", "name": "stdout", "text": "hello\n"},
        {"output_type": "execute_result", "execution_count": 1, "data": {"text/plain": "2"}, "metadata": {}},
    ]
    assert "<td>1.0</td>" in task.outputs(1)[0]["data"]["text/html"]
    assert task.outputs(2)[0]["data"]["text/html"] == "<b>x</b>"
    assert task.outputs(3)[0]["data"]["image/png"].startswith("iVBOR")
    assert task.outputs(5)[0]["text"].startswith("5\n") and "Wall time" in task.outputs(5)[0]["text"]
    assert sorted((o["name"], o["text"]) for o in task.outputs(6)) == [("stderr", "err\n"), ("stdout", "out\n")]
    assert task.outputs(7) == [{"output_type": "stream", "name": "stderr", "text": "e\n"}]
    assert set(task.states().values()) == {"done"}
    assert [e["type"] for e in task.events][0] == "started" and task.events[-1]["ok"] is True


def test_error(zygote: Zygote, tmp_path: Path) -> None:
    task = zygote.notebook(
        tmp_path / "n.py",
        "def f():\n    return 1 / 0",
        "f()",
        "print('never')",
        {"kind": "markdown", "language": "md", "source": "x"},
    )
    assert task.end()["exit"] == 1
    assert task.states() == {0: "done", 1: "failed", 2: "skipped"}
    shown = task.outputs(1)[0]
    assert shown["ename"] == "ZeroDivisionError" and "\x1b[" in shown["traceback"][0]
    assert not any("wherry_runtime" in line for line in shown["traceback"])
    assert task.named("error")[0]["evalue"] == "division by zero"
    assert task.events[-1]["ok"] is False
    assert "never" not in task.text


def test_submitted_run_has_whole_mlflow_tags(zygote: Zygote, tmp_path: Path, server: Server) -> None:
    code = """
from mlflow.tracking.context import registry
print([k for k, v in registry.resolve_tags().items() if not isinstance(v, str)])
"""
    task = zygote.notebook(tmp_path / "n.py", code, **{**server.task, "job_id": 0})
    assert task.end()["exit"] == 0
    assert task.text == "[]\n"


@pytest.mark.parametrize(
    ("code", "exit", "ename"),
    [
        ("import sys; sys.exit(0)", 1, "SystemExit"),
        ("x = (", 1, "SyntaxError"),
        ("raise KeyboardInterrupt", 1, "KeyboardInterrupt"),
    ],
)
def test_failing_ends(zygote: Zygote, tmp_path: Path, code: str, exit: int, ename: str) -> None:
    task = zygote.notebook(tmp_path / "n.py", code, "print('never')")
    assert task.end()["exit"] == exit
    assert ename in task.named("error")[0]["ename"] or "IncompleteInput" in task.named("error")[0]["ename"]
    assert task.states()[1] == "skipped"


def test_interpreter_exit(zygote: Zygote, tmp_path: Path) -> None:
    task = zygote.notebook(tmp_path / "n.py", "import os\nos._exit(3)")
    assert task.end() == {"exit": 3, "signal": 0}
    assert not task.named("finished")


def test_interrupt(zygote: Zygote, tmp_path: Path) -> None:
    task = zygote.notebook(tmp_path / "n.py", "import time\nprint('up')\ntime.sleep(1000)", "1")
    task.wait_for("up")
    task.tell("interrupt")
    assert task.end()["exit"] == 1
    assert task.named("error")[0]["ename"] == "KeyboardInterrupt"


def test_exit_value(zygote: Zygote, tmp_path: Path) -> None:
    task = zygote.notebook(
        tmp_path / "n.py",
        "try:\n    dbutils.notebook.exit('{\"a\": 1}')\nexcept Exception:\n    print('swallowed')",
        "print('never')",
    )
    assert task.end()["exit"] == 0
    assert task.named("exit")[0]["value"] == '{"a": 1}'
    assert task.states() == {0: "done", 1: "skipped"}
    assert task.text == ""


def test_widgets(zygote: Zygote, tmp_path: Path) -> None:
    code = """
dbutils.widgets.text("a", "default")
dbutils.widgets.dropdown("b", "x", ["x", "y"])
dbutils.widgets.multiselect("c", "1", ["1", "2"])
dbutils.widgets.combobox("d", "z", ["z"])
print(dbutils.widgets.get("a"), dbutils.widgets.get("b"), dbutils.widgets.get("given"), sorted(dbutils.widgets.getAll()))
print(getArgument("a"), dbutils.widgets.getArgument("none", "other"))
dbutils.widgets.remove("b"); dbutils.widgets.removeAll()
try:
    dbutils.widgets.get("b")
except Exception as e:
    print(e)
try:
    dbutils.widgets.dropdown("w", "q", ["x"])
except ValueError as e:
    print("refused")
"""
    task = zygote.notebook(tmp_path / "n.py", code, parameters={"a": "from job", "given": "g"})
    assert task.end()["exit"] == 0
    assert task.text.splitlines() == [
        "from job x g ['a', 'b', 'c', 'd', 'given']",
        "from job other",
        "InputWidgetNotDefined: No input widget named b is defined",
        "refused",
    ]


def test_run(zygote: Zygote, tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "setup.py").write_text(
        '# Databricks notebook source\ny = dbutils.widgets.get("mode") + dbutils.widgets.get("n")\n# COMMAND ----------\n# MAGIC %run ./deep\n'
    )
    (tmp_path / "lib" / "deep.ipynb").write_text(
        '{"cells": [{"cell_type": "code", "source": ["z = y * 2\\n", "print(\'deep\')"]}]}'
    )
    run = {"language": "run", "source": "./lib/setup $mode=\"full x\" $n='3'"}
    task = zygote.notebook(
        tmp_path / "n.py", run, "print(z)", {"language": "run", "source": f"{tmp_path}/lib/missing"}, "1"
    )
    assert task.end()["exit"] == 1
    assert task.text == "deep\nfull x3full x3\n"
    assert [Path(e["path"]).name for e in task.named("include")] == ["setup.py", "deep.ipynb"]
    assert "Notebook not found" in task.named("error")[0]["evalue"]


def test_run_of_itself(zygote: Zygote, tmp_path: Path) -> None:
    (tmp_path / "n.py").write_text("# Databricks notebook source\n# MAGIC %run ./n\n")
    task = zygote.notebook(tmp_path / "n.py", {"language": "run", "source": "./n"})
    assert task.end()["exit"] == 1
    assert "runs itself" in task.named("error")[0]["evalue"]


def test_sh_fs_and_refusals(zygote: Zygote, tmp_path: Path) -> None:
    task = zygote.notebook(
        tmp_path / "n.py",
        {"language": "sh", "source": "echo $0 | grep -c sh; pwd; false"},
        {"language": "fs", "source": f"put file:{tmp_path}/f.txt content true"},
        {"language": "fs", "source": f"ls file:{tmp_path}"},
        f"print(dbutils.fs.head('file:{tmp_path}/f.txt'), dbutils.fs.ls('file:{tmp_path}')[0])",
        f"print(dbutils.fs.cp('file:{tmp_path}/f.txt', 'file:{tmp_path}/d/g.txt'), dbutils.fs.rm('file:{tmp_path}/d', True), dbutils.fs.rm('file:{tmp_path}/d'))",
        f"try:\n    dbutils.fs.ls('file:{tmp_path}/none')\nexcept Exception as e:\n    print('java.io.FileNotFoundException' in str(e))",
        "try:\n    dbutils.fs.mount('a', 'b')\nexcept NotImplementedError as e:\n    print(e)",
        {"language": "scala", "source": "val x = 1"},
    )
    assert task.end()["exit"] == 1
    assert str(tmp_path) in task.outputs(0)[0]["text"]
    assert "f.txt" in task.outputs(2)[0]["data"]["text/html"]
    assert task.outputs(3)[0]["text"].startswith("content FileInfo(path='file:")
    assert task.outputs(4)[0]["text"] == "True True False\n"
    assert task.outputs(5)[0]["text"] == "True\n"
    assert "mount is not supported" in task.outputs(6)[0]["text"]
    assert "Scala cells are not supported" in task.named("error")[0]["evalue"]


def test_restart_python(zygote: Zygote, tmp_path: Path) -> None:
    wheel = tmp_path / "tiny_thing-1.0-py3-none-any.whl"
    make_wheel(wheel)
    task = zygote.notebook(
        tmp_path / "n.py",
        "x = 1\nprint('before')\ndbutils.widgets.text('w', 'kept')",
        f"%pip install --quiet {wheel}\ndbutils.library.restartPython()",
        "import tiny_thing\nprint('x' in globals(), tiny_thing.answer, dbutils.widgets.get('w'), __name__)",
        {"language": "sh", "source": "python -c 'import tiny_thing; print(tiny_thing.answer)'"},
        "1 / 0",
        parameters={"p": "1"},
        env={"UV_OFFLINE": "1"},
    )
    assert task.end() == {"exit": 1, "signal": 0}
    assert "before\n" in task.text and "False 42 kept __main__\n" in task.text
    assert task.states() == {0: "done", 1: "done", 2: "done", 3: "done", 4: "failed"}
    assert [e["type"] for e in task.events].count("started") == 1


def make_wheel(path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(path, "w") as z:
        z.writestr("tiny_thing.py", "answer = 42\n")
        z.writestr("tiny_thing-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-thing\nVersion: 1.0\n")
        z.writestr(
            "tiny_thing-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        z.writestr("tiny_thing-1.0.dist-info/RECORD", "tiny_thing.py,,\n")


def test_large_output(zygote: Zygote, tmp_path: Path) -> None:
    task = zygote.notebook(tmp_path / "n.py", "for i in range(50):\n    print('x' * (1 << 20))", "print('after')")
    assert task.end()["exit"] == 0
    assert 8 << 20 < len(task.text) < 12 << 20
    assert "over 10 MB; the rest is not kept" in task.text
    assert task.text.endswith("after\n")


def test_secrets_are_redacted(zygote: Zygote, tmp_path: Path, server: Server) -> None:
    code = """
value = dbutils.secrets.get("s", "k")
print(len(value), value, [value])
print(dbutils.secrets.listScopes(), dbutils.secrets.list("s"))
try:
    dbutils.secrets.get("s", "none")
except Exception as e:
    print(e)
import sys; print(value, file=sys.stderr)
value
"""
    task = zygote.notebook(tmp_path / "n.py", code, "!echo $V", "raise ValueError(value)", **server.task)
    assert task.end()["exit"] == 1
    assert "11 [REDACTED] ['[REDACTED]']" in task.text
    assert "SecretScope(name='s')" in task.text and "Secret does not exist with scope: s and key: none" in task.text
    assert not any("secret-word" in str(e) for e in task.events) and "secret-word" not in task.out
    task = zygote.script(tmp_path / "s.py", "print(dbutils.secrets.get('s', 'k'))", **server.task)
    assert task.end()["exit"] == 0
    assert task.out == "[REDACTED]\n"


def test_task_values(zygote: Zygote, tmp_path: Path, server: Server) -> None:
    values = "dbutils.jobs.taskValues"
    code = f"""
{values}.set("n", {{"a": [1]}})
print({values}.get("a", "n"), {values}.get("a", "none", default=3))
for call in (lambda: {values}.get("a", "none"), lambda: {values}.set("big", "x" * 50000)):
    try:
        call()
    except ValueError as e:
        print("ValueError", e)
"""
    task = zygote.notebook(tmp_path / "n.py", code, **server.task)
    assert task.end()["exit"] == 0
    assert task.text.splitlines()[0] == "{'a': [1]} 3"
    assert task.text.count("ValueError") == 2
    outside = f"{values}.set('a', 1)\nprint({values}.get('t', 'k', debugValue=4))\ntry:\n    {values}.get('t', 'k')\nexcept TypeError:\n    print('TypeError')"
    task = zygote.notebook(tmp_path / "n.py", outside)
    assert task.end()["exit"] == 0
    assert task.text == "4\nTypeError\n"


def test_notebook_run(zygote: Zygote, tmp_path: Path, server: Server) -> None:
    task = zygote.notebook(
        tmp_path / "n.py",
        "print(dbutils.notebook.run('../other/child', 60, {'a': 1}))",
        **server.task,
        cluster_id="c-1",
    )
    assert task.end()["exit"] == 0
    assert task.text == "from child\n"
    token = server.runs[0].pop("idempotency_token")
    assert len(token) == 32
    assert server.runs == [{"path": "../other/child", "timeout_seconds": 60, "arguments": {"a": "1"}}]


def test_lost_answers(zygote: Zygote, tmp_path: Path, server: Server) -> None:
    """A server that dies before it answers is asked again; a notebook that is
    run twice bears the token of the first call."""
    server.lost = 2
    code = """
dbutils.jobs.taskValues.set("n", 5)
print(dbutils.jobs.taskValues.get("a", "n"), len(dbutils.secrets.get("s", "k")))
print(dbutils.notebook.run("child"), dbutils.notebook.run("child"))
"""
    task = zygote.notebook(tmp_path / "n.py", code, **server.task)
    assert task.end()["exit"] == 0
    assert task.text == "5 11\nfrom child from child\n"
    tokens = [run["idempotency_token"] for run in server.runs]
    assert len(tokens) == 4 and len(set(tokens[:3])) == 1 and tokens[3] not in tokens[:3]


def test_context(zygote: Zygote, tmp_path: Path, server: Server) -> None:
    code = """
import json
c = dbutils.notebook.entry_point.getDbutils().notebook().getContext()
print(c.notebookPath().get(), c.apiToken().get() == "t0ken", c.apiUrl().getOrElse(None)[:7], c.currentRunId().get().id(), c.jobId().get())
print(c.tags().get("jobId").get(), c.tags().get("nothing").isDefined(), json.loads(c.toJson())["tags"]["user"])
from pyspark.dbutils import DBUtils
print(DBUtils(spark).widgets is dbutils.widgets)
from databricks.sdk.runtime import dbutils as d2, spark as s2
print(d2 is dbutils, s2 is spark)
from databricks.sdk import WorkspaceClient
w = WorkspaceClient()
print(w.config.host, w.dbutils is dbutils)
from mlflow.utils import databricks_utils as u
print(u.is_in_databricks_notebook(), u.is_in_databricks_job(), u.get_notebook_path(), u.get_job_id(), u.get_job_run_id())
from mlflow.tracking.context import registry
tags = registry.resolve_tags()
print(tags["mlflow.databricks.jobRunID"], tags["mlflow.databricks.notebookPath"], tags["mlflow.user"])
from databricks.connect import DatabricksSession
try:
    from databricks.feature_engineering import FeatureEngineeringClient
except NotImplementedError as e:
    print(e)
"""
    task = zygote.notebook(tmp_path / "n.py", code, **server.task)
    assert task.end()["exit"] == 0, task.events[-3:]
    path = str(tmp_path / "n")
    lines = "".join(o["text"] for o in task.outputs(0) if o["name"] == "stdout").splitlines()
    assert lines[0] == f"{path} True http:// 7 3"
    assert lines[1] == "3 False me@x"
    assert lines[2:4] == ["True", "True True"]
    assert lines[4].endswith(" True") and lines[4].startswith("http://127.0.0.1:")
    assert lines[5] == f"True True {path} 3 7"
    assert lines[6].startswith(f"7 {path} ")
    assert "FeatureEngineeringClient" in lines[7] and "not supported by wherry" in lines[7]


def test_spark_is_asked_of_the_agent(zygote: Zygote, tmp_path: Path) -> None:
    """Touching spark asks the agent; without an answer to attach to, the cell fails."""
    task = zygote.notebook(tmp_path / "n.py", "type(spark).__name__\nspark.range(1)")
    asked = task.control.recv(1 << 16)
    assert b'"op": "spark"' in asked
    task.control.send(b'{"error": "no Java on this machine"}')
    assert task.end()["exit"] == 1
    assert "no Java on this machine" in task.named("error")[0]["evalue"]
