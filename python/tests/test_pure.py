"""What needs no process of its own."""

from __future__ import annotations

import builtins
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import SOURCES

from wherry_runtime import events, fs, hugepages, redact, source, sqltext

TESTDATA = SOURCES.parent / "notebook" / "testdata"


@pytest.mark.parametrize("name", ["etl.py", "query.sql", "plain.py", "model.ipynb"])
def test_source_agrees_with_go(name: str) -> None:
    language, cells = source.parse(name, (TESTDATA / name).read_text())
    assert {"language": language, "cells": cells} == json.loads((TESTDATA / (name + ".json")).read_text())


def test_broken_ipynb() -> None:
    for text in ("", "{", "{}", "[]", '{"cells": 3}'):
        with pytest.raises(ValueError, match="not an .ipynb"):
            source.parse("x.ipynb", text)


def test_sql_split() -> None:
    text = "SELECT 1; -- a; b\n/* c; d */ SELECT ';', \"x;\", `y;`;\n\n-- end;\n"
    assert sqltext.split(text) == ["SELECT 1", "-- a; b\n/* c; d */ SELECT ';', \"x;\", `y;`"]
    assert sqltext.split(" ; ;\n") == []
    assert sqltext.split("SELECT 'it''s', 'a\\'b;'; SELECT 2 - 1 / 3") == [
        "SELECT 'it''s', 'a\\'b;'",
        "SELECT 2 - 1 / 3",
    ]


def test_sql_widgets() -> None:
    widgets = {"a": "x'y", "n": "5", "t": "tbl"}
    assert sqltext.bind("SELECT :a, ':a', b::int, :other -- :n", widgets) == (
        "SELECT :a, ':a', b::int, :other -- :n",
        {"a": "x'y"},
    )
    assert (
        sqltext.bind("SELECT * FROM ${t} WHERE x = $n AND y = '$z'", widgets)[0]
        == "SELECT * FROM tbl WHERE x = 5 AND y = '$z'"
    )
    assert sqltext.bind("SELECT getArgument('a')", widgets)[0] == "SELECT 'x\\'y'"


@pytest.mark.parametrize(
    ("path", "posix"),
    [
        ("dbfs:/a/b", "/dbfs/a/b"),
        ("/a/b", "/dbfs/a/b"),
        ("/dbfs/a", "/dbfs/a"),
        ("dbfs:///a", "/dbfs/a"),
        ("/Volumes/c/s/v/f", "/Volumes/c/s/v/f"),
        ("dbfs:/Volumes/c/s/v", "/Volumes/c/s/v"),
        ("/Workspace/x", "/Workspace/x"),
        ("file:/tmp/x", "/tmp/x"),
        ("file:///tmp/x", "/tmp/x"),
        ("abfss://c@a.dfs.core.windows.net/x", None),
    ],
)
def test_fs_paths(path: str, posix: str | None) -> None:
    assert fs.local(path) == posix


def test_redaction() -> None:
    redact.add("a")  # Too short to mean anything.
    redact.add('p"w')
    try:
        assert redact.apply('x p"w a') == "x [REDACTED] a"
        assert redact.inside({'p"w': ['p"w', None, True, 5]}) == {redact.MARK: [redact.MARK, None, True, 5]}
    finally:
        redact._values.clear()


def test_redacted_events_stay_events() -> None:
    """Secrets that look like a time, a kind of event or a name of ours."""
    read, write = os.pipe()
    out = events.Events(write)
    data = {"text/plain": "17 output", "application/json": {"pin 17": 1717, "n": [3, True, None, "text"]}}
    for secret in (
        str(int(time.time()))[:2],
        "17",
        "output",
        "stream",
        "text/plain",
        "display_data",
        "true",
        '"',
        "python",
    ):
        redact.add(secret)
    try:
        out.begin_cell(17)
        out.output({"output_type": "display_data", "data": data, "metadata": {}})
        out.output({"output_type": "stream", "name": "stdout", "text": "a python of 17"})
        out.write("include", path="/a/17", cells=[{"index": 17, "language": "python", "source": "print(17)"}])
    finally:
        redact._values.clear()
        os.close(write)
    with os.fdopen(read) as lines:
        first, shown, printed, included = [json.loads(line) for line in lines]
    assert (first["type"], first["index"], first["state"]) == ("cell", 17, "running") and abs(
        first["t"] / 1000 - time.time()
    ) < 600
    assert shown["type"] == "output" and shown["output"]["output_type"] == "display_data"
    assert shown["output"]["data"] == {
        "text/plain": "[REDACTED] [REDACTED]",
        "application/json": {"pin [REDACTED]": "[REDACTED][REDACTED]", "n": [3, True, None, "text"]},
    }
    assert printed["output"] == {"output_type": "stream", "name": "stdout", "text": "a [REDACTED] of [REDACTED]"}
    assert included["path"] == "/a/[REDACTED]"
    assert included["cells"] == [{"index": 17, "language": "python", "source": "print([REDACTED])"}]


def test_path_shim(tmp_path: Path) -> None:
    """In a process of its own: it patches the interpreter."""
    (tmp_path / "ws").mkdir()
    (tmp_path / "ws" / "f.txt").write_text("hello")
    code = f"""
import json, os, glob, shutil, pathlib
from wherry_runtime import paths
paths.install(json.dumps({{"/Workspace": {str(tmp_path / "ws")!r}}}))
print(open("/Workspace/f.txt").read(), os.path.exists("/Workspace/f.txt"), os.listdir("/Workspace"), glob.glob("/Workspace/*"))
print(pathlib.Path("/Workspace/f.txt").read_text(), os.path.isdir("/Workspace"))
os.makedirs("/Workspace/a/b"); shutil.copy("/Workspace/f.txt", "/Workspace/a/b/g"); os.rename("/Workspace/a/b/g", "/Workspace/h")
os.chdir("/Workspace/a"); print(os.getcwd(), sorted(os.listdir("..")))
"""
    out = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(SOURCES)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert out.splitlines() == [
        "hello True ['f.txt'] ['/Workspace/f.txt']",
        "hello True",
        "/Workspace/a ['a', 'f.txt', 'h']",
    ]
    assert builtins.open is io.open


def test_huge_pages(tmp_path: Path) -> None:
    smaps = tmp_path / "smaps"
    smaps.write_text(
        "5600000000-5600600000 rw-p 00000000 00:00 0                          [heap]\nSize: 6144 kB\nAnonymous:  6144 kB\n"
        "7f00000000-7f00800000 rw-p 00000000 00:00 0 \nAnonymous:  132 kB\n"  # a thread's stack
        "7f01000000-7f01800000 rw-p 00000000 fe:00 77                         /lib/libx.so\nAnonymous:  8192 kB\n"
        "7f02000000-7f02800000 r--p 00000000 00:00 0 \nAnonymous:  8192 kB\n"
        "7f03000000-7f03100000 rw-p 00000000 00:00 0 \nAnonymous:  1024 kB\n"  # less than a huge page
    )
    assert hugepages._full_mappings(str(smaps)) == [(0x5600000000, 0x5600600000)]
    assert hugepages._full_mappings(str(tmp_path / "none")) == []
    code = (
        "from wherry_runtime import hugepages; import os\n"
        "kept = [os.urandom(4096) * 1024 for _ in range(8)]; sums = [hash(k) for k in kept]; copies = [bytearray(k) for k in kept]\n"
        "assert all(at % hugepages.SIZE == 0 for at in hugepages.collapse())\n"
        "assert [hash(bytes(c)) for c in copies] == sums\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=SOURCES)
