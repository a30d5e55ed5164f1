"""Scripts, wheels and the life of a task."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from pathlib import Path

import pytest
from conftest import Zygote

from wherry_runtime import keeper

FACTS = """
import os, sys, json
print(json.dumps({"argv": sys.argv, "file": "__file__" in globals(), "cwd": os.getcwd(), "name": __name__,
  "path": sys.path[:2], "names": sorted(n for n in ("spark", "sc", "dbutils", "display", "get_ipython") if n in globals()),
  "secret": "SECRET" in os.environ, "host": os.environ.get("DATABRICKS_HOST"), "stdin": sys.stdin.read()}))
"""


def test_nothing_to_receive() -> None:
    """Of two spares that see a request, the slower one must not wait for the next."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        with pytest.raises(BlockingIOError):
            keeper.receive_at_once(ours)
        socket.send_fds(theirs, [b"request"], [0, 1])
        data, fds = keeper.receive_at_once(ours)
        assert data == b"request" and len(fds) == 2
        for fd in fds:
            os.close(fd)


def test_script(zygote: Zygote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = zygote.script(tmp_path / "s.py", FACTS, "a", "b c", api_url="http://h:1", roots=["/proc"])
    assert task.end() == {"exit": 0, "signal": 0}
    facts = json.loads(task.out)
    assert facts == {
        "argv": [str(tmp_path / "s.py"), "a", "b c"],
        "file": False,
        "cwd": str(tmp_path),
        "name": "__main__",
        "path": [str(tmp_path), "/proc"],
        "names": ["dbutils", "display", "sc", "spark"],
        "secret": False,
        "host": "http://h:1",
        "stdin": "",
    }
    assert [e["type"] for e in task.events] == ["executed", "started", "finished"]
    assert task.events[-1]["ok"] is True


def test_settings_of_the_machine(zygote: Zygote, tmp_path: Path) -> None:
    """A task's own /proc opens no way to them, even if the task is the machine's root."""
    code = """
import os
for name in "/proc/sys/kernel/core_pattern", "/proc/sys/vm/swappiness", "/proc/sysrq-trigger":
    try:
        os.close(os.open(name, os.O_WRONLY))
        print(name, "is open")
    except OSError:
        print("refused")
"""
    task = zygote.script(tmp_path / "s.py", code, isolate=True)
    assert task.end() == {"exit": 0, "signal": 0}
    assert task.out == "refused\n" * 3


def test_imports_and_pickle(zygote: Zygote, tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("def double(x): return 2 * x\n")
    code = (
        "import pickle, helper\nclass A: pass\nprint(helper.double(4), type(pickle.loads(pickle.dumps(A()))).__name__)"
    )
    task = zygote.script(tmp_path / "s.py", code)
    assert task.end()["exit"] == 0
    assert task.out == "8 A\n"


@pytest.mark.parametrize(
    ("code", "exit", "signal_number", "error"),
    [
        ("raise ValueError('bad')", 1, 0, "ValueError"),
        ("import sys; sys.exit(3)", 3, 0, "SystemExit"),
        ("import sys; sys.exit('words')", 1, 0, "SystemExit"),
        ("import sys; sys.exit()", 0, 0, None),
        ("import os; os._exit(4)", 4, 0, None),
        ("import os; os.kill(os.getpid(), 9)", 0, signal.SIGKILL, None),
        ("def broken(:", 1, 0, "SyntaxError"),
    ],
)
def test_ends(zygote: Zygote, tmp_path: Path, code: str, exit: int, signal_number: int, error: str | None) -> None:
    task = zygote.script(tmp_path / "s.py", code)
    assert task.end() == {"exit": exit, "signal": signal_number}
    errors = task.named("error")
    assert [e["ename"] for e in errors] == ([error] if error else [])
    if error == "ValueError":
        assert "wherry_runtime" not in task.out and "raise ValueError('bad')" in task.out
    died = "os." in code
    assert bool(task.named("finished")) is not died


def test_kill_takes_descendants(zygote: Zygote, tmp_path: Path) -> None:
    code = "import subprocess, os, time\nsubprocess.Popen(['sleep', '1000'], start_new_session=True)\nprint('up', flush=True)\ntime.sleep(1000)"
    task = zygote.script(tmp_path / "s.py", code)
    task.wait_for("up")
    task.tell("kill")
    # The end of the streams shows that the sleep is gone too: it held them.
    assert task.end() == {"exit": 0, "signal": signal.SIGKILL}


def test_end_of_control_kills(zygote: Zygote, tmp_path: Path) -> None:
    task = zygote.script(tmp_path / "s.py", "import time\nprint('up', flush=True)\ntime.sleep(1000)")
    task.wait_for("up")
    task.control.shutdown(2)
    task.end()
    assert not task.named("finished")


def test_interrupt(zygote: Zygote, tmp_path: Path) -> None:
    task = zygote.script(tmp_path / "s.py", "import time\nprint('up', flush=True)\ntime.sleep(1000)")
    task.wait_for("up")
    task.tell("interrupt")
    assert task.end()["exit"] == 1
    assert task.named("error")[0]["ename"] == "KeyboardInterrupt"


def test_no_isolation(tmp_path: Path) -> None:
    z = Zygote("light", isolate=False)
    code = "import subprocess, os, time\nsubprocess.Popen(['setsid', 'sleep', '1000'])\nprint('up', flush=True)\n"
    task = z.script(tmp_path / "s.py", code)
    assert task.end() == {"exit": 0, "signal": 0}
    z.close()


def test_many_at_once(zygote: Zygote, tmp_path: Path) -> None:
    tasks = [zygote.script(tmp_path / f"{i}.py", f"import random\nprint({i}, random.random())") for i in range(8)]
    outs = []
    for task in tasks:
        assert task.end()["exit"] == 0
        outs.append(task.out.split())
    assert [o[0] for o in outs] == [str(i) for i in range(8)]
    assert len({o[1] for o in outs}) == 8, "forks must not draw the same numbers"


def test_long_request_by_file(zygote: Zygote, tmp_path: Path) -> None:
    source = [
        {
            "index": 0,
            "kind": "code",
            "language": "python",
            "source": f"x = {'a' * 500_000!r}\nprint(len(x))",
            "line": 1,
            "title": "",
        }
    ]
    file = tmp_path / "task.json"
    file.write_text(json.dumps({"path": str(tmp_path / "n.py"), "source": source}))
    task = zygote.start("notebook", {}, task_file=str(file))
    assert task.end()["exit"] == 0
    assert task.text == "500000\n"


WHEEL_METADATA = "Metadata-Version: 2.1\nName: my-job\nVersion: 1.0\n"


def make_package(
    folder: Path, entry_points: str = "[console_scripts]\nrun = my_job.cli:main\n[other]\nelse = my_job.cli:other\n"
) -> None:
    """An installed package, as a library overlay has it."""
    (folder / "my_job").mkdir(parents=True)
    (folder / "my_job" / "__init__.py").write_text("import sys\ndef direct(): print('direct', sys.argv)\n")
    (folder / "my_job" / "cli.py").write_text(
        "import sys\ndef main(): print('main', sys.argv)\ndef other(): return 5\n"
    )
    info = folder / "my_job-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(WHEEL_METADATA)
    (info / "entry_points.txt").write_text(entry_points)


@pytest.mark.parametrize(
    ("entry", "exit", "out"),
    [
        ("run", 0, "main ['run', 'x', '--k=v']\n"),
        ("direct", 0, "direct ['direct', 'x', '--k=v']\n"),
        ("else", 5, ""),
        ("nothing", 1, "has no entry point and no function nothing; it has else, run"),
    ],
)
def test_wheel(zygote: Zygote, tmp_path: Path, entry: str, exit: int, out: str) -> None:
    make_package(tmp_path / "overlay")
    fields = {
        "package_name": "my_job",
        "entry_point": entry,
        "argv": ["x"],
        "named_parameters": {"k": "v"},
        "overlay": str(tmp_path / "overlay"),
    }
    task = zygote.start("wheel", fields)
    assert task.end()["exit"] == exit
    assert out in task.out


def test_overlay_replaces_what_is_loaded(zygote: Zygote, tmp_path: Path) -> None:
    overlay = tmp_path / "overlay"
    overlay.mkdir()
    (overlay / "IPython").mkdir()
    (overlay / "IPython" / "__init__.py").write_text("ours = True\n")
    task = zygote.script(
        tmp_path / "s.py", "import IPython, sys\nprint(IPython.ours, sys.argv)", "a", overlay=str(overlay)
    )
    assert task.end()["exit"] == 0
    assert task.out == f"True {[str(tmp_path / 's.py'), 'a']}\n"


def test_no_preload(tmp_path: Path) -> None:
    """A task that is no Python waits for no import, and has its input and nothing else."""
    z = Zygote("none")
    try:
        assert z.wait("ready", True)["modules"] == []
        task = z.start("command", {"argv": ["/bin/cat"], "input": {"a": 1}}, cwd=str(tmp_path))
        assert task.end() == {"exit": 0, "signal": 0}
        assert task.out == '{"a": 1}'
    finally:
        z.close()


def test_full_preload(tmp_path: Path) -> None:
    """With everything imported, a task can still compute on several threads."""
    z = Zygote("all")
    first = z.script(tmp_path / "early.py", "print('early')")
    assert first.end()["exit"] == 0, "a task runs while the zygote is still importing"
    ready = z.wait("ready", True)
    assert {"pandas", "sklearn", "mlflow", "pyspark.sql"} <= set(ready["modules"])
    code = """
import sys
loaded = "sklearn.ensemble" in sys.modules
import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
X = np.random.rand(2000, 5); y = (X[:, 0] > .5).astype(int)
print(loaded, HistGradientBoostingClassifier(max_iter=5).fit(X, y).score(X, y) > .9, float((np.ones((300, 300)) @ np.ones((300, 300))).sum()))
"""
    task = z.script(tmp_path / "s.py", code)
    assert task.end()["exit"] == 0
    assert task.out == "True True 27000000.0\n"
    z.close()


TREE_TASK = """
import os, shutil
print(sorted(os.listdir(".")), open("conf").read(), os.path.exists("out/old"))
open("r+", "r+").close()
os.makedirs("made/deep"); open("made/deep/f", "w").write("f")
open("src/model", "w").write("m"); os.chmod("src/model", 0o755)
os.remove("left")
shutil.rmtree("out"); os.mkdir("out"); open("out/new", "w").write("new")
open("log", "a").write("two ")
os.symlink("log", "link")
open("conf", "w").write("changed")
print(sorted(os.listdir(".")), sorted(os.listdir("out")), flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux" or os.getuid() != 0, reason="needs root for the overlay")
@pytest.mark.parametrize("end", ["exit", "kill", "agent gone"])
def test_tree(zygote: Zygote, tmp_path: Path, end: str) -> None:
    """A task sees the deployed tree, unchanged by what happens to the live files,
    above what earlier tasks left; what it wrote is live after it, however it ended."""
    tree, live, upper = tmp_path / "tree", tmp_path / "a, b:c" / "live", tmp_path / "upper"
    for folder in (tree / "src", live / "out", live / "src", upper):
        folder.mkdir(parents=True)
    files = {tree / "conf": "deployed", tree / "r+": "", live / "conf": "live", live / "r+": "as it is"}
    files |= {live / "left": "", live / "out" / "old": "", live / "log": "one ", live / "src" / "mine": "mine"}
    for path, text in files.items():
        path.write_text(text)
    rest = "" if end == "exit" else "import time; time.sleep(600)"
    (tree / "s.py").write_text(TREE_TASK + rest)
    (live / "s.py").write_text("print('live')")
    task = zygote.start(
        "script",
        {"path": str(live / "s.py")},
        tree={"src": str(tree), "dst": str(live), "upper": str(upper)},
        isolate=True,
    )
    task.wait_for("['new']")
    if end == "agent gone":
        task.control.shutdown(socket.SHUT_WR)
        task.end()
    else:
        if end == "kill":
            task.tell("kill")
        assert task.end()["exit"] == 0
    names = ["conf", "link", "log", "made", "out", "r+", "s.py", "src"]
    before = ["conf", "left", "log", "out", "r+", "s.py", "src"]
    said = "wherry: conf is a deployed file: later tasks see it as it was deployed\n"
    assert task.out.splitlines(True)[:2] == [f"{before} deployed True\n", f"{names} ['new']\n"]
    assert "".join(task.out.splitlines(True)[2:]) == said
    assert sorted(os.listdir(live)) == names and sorted(os.listdir(live / "out")) == ["new"]
    assert (live / "made" / "deep" / "f").read_text() == "f" and (live / "src" / "mine").read_text() == "mine"
    assert (live / "src" / "model").stat().st_mode & 0o777 == 0o755
    assert (live / "log").read_text() == "one two " and os.readlink(live / "link") == "log"
    assert (live / "r+").read_text() == "as it is" and (live / "s.py").read_text() == "print('live')"
    assert (tree / "conf").read_text() == "deployed" and sorted(os.listdir(tree)) == ["conf", "r+", "s.py", "src"]
