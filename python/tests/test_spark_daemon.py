"""Daemons of Spark's Python workers, asked for as Spark's driver does."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import SOURCES, Zygote

from wherry_runtime import spark_daemon


class Daemon:
    """A daemon as the driver sees it: three streams and a port."""

    def __init__(self, door: Path, python_path: str, zygote: int = 0) -> None:
        self.zygote = zygote
        self.env = {
            **os.environ,
            "PYTHONPATH": python_path,
            "PYTHON_WORKER_FACTORY_SECRET": "s3cret",
            "WHERRY_SPARK_DAEMON": str(door),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "wherry_runtime.spark_daemon", "pyspark.worker"],
            env=self.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.process.stdout
        (self.port,) = struct.unpack("!i", self.process.stdout.read(4))

    def worker(self) -> int:
        """Have a worker forked; it ends as the secret is wrong. Returns its parent's pid."""
        with socket.create_connection(("127.0.0.1", self.port)) as link, link.makefile("rb") as answer:
            (pid,) = struct.unpack("!i", answer.read(4))
            parent = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
            link.sendall(struct.pack("!i", 5) + b"wrong")
            assert answer.read() == struct.pack("!i", 3) + b"err"
        return parent

    def end(self) -> str:
        """Close its input, as the driver does; return what it said on stderr."""
        return self.process.communicate(timeout=60)[1].decode()


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Daemon]]:
    deep = tmp_path / ("long" * 30)  # longer than the address of a socket may be
    deep.mkdir()
    door = deep / "workers"
    monkeypatch.setenv("WHERRY_SPARK_DAEMON", str(door))
    zygote = Zygote("light")
    zygote.wait("ready", True)

    def start(*folders: Path) -> Daemon:
        return Daemon(door, os.pathsep.join([*map(str, folders), str(SOURCES)]), zygote.process.pid)

    yield start
    zygote.close()


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def test_fork_of_the_zygote(start: Callable[..., Daemon], tmp_path: Path) -> None:
    (tmp_path / "json").mkdir()  # a folder without __init__.py replaces nothing
    daemon = start(tmp_path)
    parent = daemon.worker()
    assert parent_of(parent) == daemon.zygote
    assert daemon.end() == ""
    assert daemon.process.returncode == 0


def test_terminated(start: Callable[..., Daemon]) -> None:
    daemon = start()
    daemon.worker()
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.process.wait(60) == 0


def test_replaced_module(start: Callable[..., Daemon], tmp_path: Path) -> None:
    (tmp_path / "traitlets.py").write_text("")  # the zygote has another
    daemon = start(tmp_path)
    assert daemon.worker() == daemon.process.pid
    assert "PYTHONPATH replaces traitlets" in daemon.end()


def test_no_zygote(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "none", str(SOURCES))
    assert daemon.worker() == daemon.process.pid
    assert "workers without preloaded libraries" in daemon.end()


def test_silent_zygote(tmp_path: Path) -> None:
    """One that takes the request and says nothing is not waited for."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "door"))
        listener.listen()
        with pytest.raises(TimeoutError):
            spark_daemon.ask(str(tmp_path / "door"), ["pyspark.worker"], patience=0.01)
