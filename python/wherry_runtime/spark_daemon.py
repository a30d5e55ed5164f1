"""Spark's daemon of Python workers as a fork of the zygote, so that functions in
Python find their libraries imported.

The driver starts `python -m wherry_runtime.spark_daemon WORKER_MODULE`
(spark.python.daemon.module) once for each environment of workers. That program
hands its streams, arguments, environment and folder to the zygote over the unix
socket named by WHERRY_SPARK_DAEMON, and waits for the fork's end. Where there is
no zygote, or a folder of PYTHONPATH replaces what the zygote has imported, it is
pyspark's daemon itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import signal
import socket
import stat
import sys
import types
from collections.abc import Iterator
from typing import Any

from wherry_runtime import isolation, task

SOCKET = "WHERRY_SPARK_DAEMON"
_DAEMON = "pyspark.daemon"
_MAX_MESSAGE = 1 << 20
_PATIENCE = 20.0
"""Seconds for the zygote's answer: it may be importing something large."""


@contextlib.contextmanager
def _short(path: str) -> Iterator[str]:
    """A name of path that fits a socket's address, however deep the folder."""
    folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{os.path.basename(path)}"
    finally:
        os.close(folder)


class Door:
    """The zygote's side: where daemons are asked for."""

    def __init__(self, path: str) -> None:
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # of a zygote that died
        with _short(path) as name:
            self.listener.bind(name)
        os.chmod(path, stat.S_IRUSR | stat.S_IWUSR)
        self.listener.listen()
        # What the interpreter itself puts on sys.path, PYTHONPATH aside.
        given = set(_path_entries(os.environ.get("PYTHONPATH", "")))
        self.interpreter_path = [p for p in sys.path if p and p not in given and p != os.getcwd()]

    def answer(self, inherited: list[int]) -> int:
        """Take one request and fork its daemon, which closes the descriptors in
        inherited. Return the child's pid; 0 if there is none."""
        link, _ = self.listener.accept()
        with link:
            link.settimeout(10)
            try:
                request, fds = _receive(link)
            except (OSError, ValueError) as e:
                print(f"zygote: a request for a Spark daemon: {e}", file=sys.stderr, flush=True)
                return 0
            try:
                return self._fork(link, request, fds, inherited)
            finally:
                for fd in fds:
                    os.close(fd)

    def _fork(self, link: socket.socket, request: dict[str, Any], fds: list[int], inherited: list[int]) -> int:
        env = request["env"]
        replaced = shadowed(_path_entries(env.get("PYTHONPATH", "")), env.get("SPARK_HOME", ""))
        if replaced:
            link.sendall(f"PYTHONPATH replaces {', '.join(replaced)}\n".encode())
            return 0
        pid = os.fork()
        if pid == 0:
            try:
                for fd in inherited:
                    os.close(fd)
                self.listener.close()
                link.sendall(f"{os.getpid()}\n".encode())
                self._become(request, fds)
            except SystemExit:
                pass  # how pyspark's daemon ends
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                os._exit(1)
        return pid

    def _become(self, request: dict[str, Any], fds: list[int]) -> None:
        """Be the daemon; never return."""
        for at, fd in enumerate(fds):
            os.dup2(fd, at)
            os.close(fd)
        isolation.drop_privileges()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ.clear()
        os.environ.update(request["env"])
        os.chdir(request["cwd"])
        sys.argv = [_DAEMON, *request["args"]]
        sys.path[:] = [os.getcwd(), *_path_entries(os.environ.get("PYTHONPATH", "")), *self.interpreter_path]
        sys.modules["__main__"] = types.ModuleType("__main__")
        task.reseed()
        from pyspark import daemon

        daemon.manager()


def _path_entries(value: str) -> list[str]:
    return [p for p in value.split(os.pathsep) if p]


def shadowed(entries: list[str], spark_home: str) -> list[str]:
    """The imported modules that folders of PYTHONPATH replace; what Spark itself
    puts there is what is imported."""
    own = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    loaded = {m for m in sys.modules if "." not in m}
    found = set()
    for entry in entries:
        if os.path.realpath(entry) == os.path.realpath(own) or (spark_home and entry.startswith(spark_home)):
            continue
        with contextlib.suppress(OSError):  # a zip of Spark's own, or nothing
            found.update(_modules(entry) & loaded)
    return sorted(found)


def _modules(folder: str) -> set[str]:
    """The modules and packages in a folder, those without __init__.py aside:
    they never come before others."""
    names = set()
    for name in os.listdir(folder):
        stem, _, extension = name.partition(".")
        if extension == "py" or extension.endswith("so"):
            names.add(stem)
        elif not extension and os.path.isfile(os.path.join(folder, name, "__init__.py")):
            names.add(stem)
    return names - set(sys.builtin_module_names)


def _receive(link: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """A request: its size, with the descriptors of the three streams, then JSON."""
    head, fds, _, _ = socket.recv_fds(link, 8, 3)
    size, data = int.from_bytes(head, "big"), bytearray()
    while len(data) < min(size, _MAX_MESSAGE):
        part = link.recv(1 << 16)
        if not part:
            break
        data += part
    if len(fds) != 3 or len(data) != size:
        for fd in fds:
            os.close(fd)
        raise ValueError(f"{len(fds)} descriptors and {len(data)} of {size} bytes")
    return json.loads(data), list(fds)


def ask(path: str, args: list[str], patience: float = _PATIENCE) -> tuple[int, socket.socket]:
    """Have the zygote at path fork a daemon with this process's streams and
    environment. Returns its pid, and the socket that ends with it. Raises
    OSError if there is no zygote or it says nothing in time: a fork that it
    makes later finds nobody to tell its pid, and ends. Raises RuntimeError if
    it may not be used."""
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    link.settimeout(patience)
    with _short(path) as name:
        link.connect(name)
    data = json.dumps({"args": args, "env": dict(os.environ), "cwd": os.getcwd()}).encode()
    socket.send_fds(link, [len(data).to_bytes(8, "big")], [0, 1, 2])
    link.sendall(data)
    with link.makefile("r") as lines:
        answer = lines.readline().strip()
    if not answer.isdecimal():
        raise RuntimeError(answer or "the zygote ended")
    link.settimeout(None)
    return int(answer), link


def main() -> None:
    pid, path = 0, os.environ.pop(SOCKET, "")
    try:
        if path:
            pid, link = ask(path, sys.argv[1:])
    except (OSError, RuntimeError) as e:
        print(f"wherry: workers without preloaded libraries: {e}", file=sys.stderr, flush=True)
    if pid == 0:
        sys.argv[0] = _DAEMON
        runpy.run_module(_DAEMON, run_name="__main__", alter_sys=True)
        return
    signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGTERM))
    for fd in (0, 1):
        os.close(fd)  # The driver is to see the ends of the daemon's streams.
    while link.recv(64):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
