"""Drives the zygote over its socket, as the agent does."""

from __future__ import annotations

import http.server
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SOURCES = Path(__file__).parent.parent


class Task:
    """A task that was handed to a zygote."""

    def __init__(self, out: int, events: int, control: socket.socket) -> None:
        self.control = control
        self.control.settimeout(120)
        self._parts: dict[str, bytes] = {}
        self.lines = threading.Condition()
        self._threads = [threading.Thread(target=self._read, args=a) for a in (("out", out), ("events", events))]
        for thread in self._threads:
            thread.start()

    def _read(self, name: str, fd: int) -> None:
        with os.fdopen(fd, "rb") as f:
            while data := f.read1(1 << 16):
                with self.lines:
                    self._parts[name] = self._parts.get(name, b"") + data
                    self.lines.notify_all()

    def wait_for(self, text: str) -> None:
        """Wait until the task has written text to either stream."""
        with self.lines:
            assert self.lines.wait_for(lambda: any(text.encode() in p for p in self._parts.values()), 120)

    def tell(self, op: str) -> None:
        self.control.send(json.dumps({"op": op}).encode())

    def end(self) -> dict[str, Any]:
        """Wait for the end; return what the keeper said last."""
        last: dict[str, Any] = {}
        while data := self.control.recv(1 << 16):
            last = json.loads(data)
            if "exit" in last:
                break
        for thread in self._threads:
            thread.join(120)
        self.control.close()
        return last

    @property
    def out(self) -> str:
        return self._parts.get("out", b"").decode()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._parts.get("events", b"").decode().splitlines()]

    def named(self, kind: str) -> list[dict[str, Any]]:
        return [e for e in self.events if e["type"] == kind]

    @property
    def text(self) -> str:
        """All that cells printed."""
        return "".join(e["output"].get("text", "") for e in self.named("output"))

    def outputs(self, index: int) -> list[dict[str, Any]]:
        return [e["output"] for e in self.named("output") if e["index"] == index]

    def states(self) -> dict[int, str]:
        return {e["index"]: e["state"] for e in self.named("cell")}


class Zygote:
    """A zygote process and our end of its control socket."""

    def __init__(self, preload: str, isolate: bool = True) -> None:
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(240)
        env = {**os.environ, "PYTHONPATH": str(SOURCES), "WHERRY_PRELOAD": preload, "PYTHONDONTWRITEBYTECODE": "1"}
        if not isolate:
            env["WHERRY_ISOLATE"] = "0"
        fd = theirs.fileno()
        # What is inherited as fd 3 must not be ours: a shell moves it.
        argv = ["/bin/bash", "-c", f'exec "$0" -m wherry_runtime.zygote 3<&{fd}', sys.executable]
        self.process = subprocess.Popen(argv, env=env, pass_fds=[fd])
        theirs.close()
        self.messages: list[dict[str, Any]] = []

    def wait(self, key: str, value: Any) -> dict[str, Any]:
        while True:
            for message in self.messages:
                if message.get(key) == value:
                    self.messages.remove(message)
                    return message
            self.messages.append(json.loads(self.socket.recv(1 << 16)))

    def start(self, kind: str, task: dict[str, Any], **more: Any) -> Task:
        """Start a task. A request too long for a message goes through a file."""
        out, events, control = os.pipe(), os.pipe(), socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        env = {"PATH": os.environ["PATH"], "HOME": "/tmp", "LANG": "C.UTF-8"}
        request = {
            "id": "1",
            "kind": kind,
            "task": {"run_id": 7, **task},
            "env": {**env, **more.pop("env", {})},
            **more,
        }
        socket.send_fds(self.socket, [json.dumps(request).encode()], [out[1], events[1], control[1].fileno()])
        for fd in (out[1], events[1]):
            os.close(fd)
        control[1].close()
        assert self.wait("id", "1")["pid"] > 0
        return Task(out[0], events[0], control[0])

    def script(self, path: Path, code: str, *argv: str, **more: Any) -> Task:
        path.write_text(code)
        return self.start("script", {"path": str(path), "argv": list(argv), **more})

    def notebook(self, path: Path, *cells: str | dict[str, Any], **task: Any) -> Task:
        """Run cells; a str is a Python cell."""
        source = []
        for i, cell in enumerate(cells):
            cell = {"language": "python", "source": cell} if isinstance(cell, str) else cell
            source.append({"index": i, "kind": "code", "line": 1, "title": "", **cell})
        return self.start("notebook", {"path": str(path), "source": source, **task})

    def close(self) -> None:
        self.socket.close()
        assert self.process.wait(60) == 0


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    z = Zygote("light")
    yield z
    z.close()


class Server(http.server.ThreadingHTTPServer):
    """Stands for wherry's server: the few routes that dbutils calls."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.values: dict[str, Any] = {}
        self.secrets = {("s", "k"): "c2VjcmV0LXdvcmQ="}  # secret-word
        self.runs: list[dict[str, Any]] = []
        self.calls: dict[str, int] = {}
        self.lost = 0  # of each call, the answers that never arrive

    @property
    def task(self) -> dict[str, Any]:
        """The fields of a task that point here."""
        return {
            "api_url": f"http://127.0.0.1:{self.server_port}",
            "token": "t0ken",
            "job_run_id": 5,
            "job_id": 3,
            "task_key": "a",
            "host": "h:1",
            "user_name": "me@x",
        }


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self, value: Any, status: int = 200) -> None:
        call = self.command + self.path
        self.server.calls[call] = self.server.calls.get(call, 0) + 1
        if self.server.calls[call] <= self.server.lost:
            return  # what was asked is done, and the connection closes
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        from urllib.parse import parse_qsl, urlsplit

        url = urlsplit(self.path)
        query = dict(parse_qsl(url.query))
        if url.path.startswith("/api/") and self.headers["Authorization"] != "Bearer t0ken":
            return self.answer({"error_code": "UNAUTHENTICATED", "message": "no token"}, 401)
        missing = {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such thing"}
        if url.path == "/api/2.0/secrets/get":
            value = self.server.secrets.get((query["scope"], query["key"]))
            return self.answer({"key": query["key"], "value": value}) if value else self.answer(missing, 404)
        if url.path == "/api/2.0/secrets/scopes/list":
            return self.answer({"scopes": [{"name": "s"}]})
        if url.path == "/api/2.0/secrets/list":
            return self.answer({"secrets": [{"key": "k"}]})
        if url.path == "/api/wherry/task-values":
            value = self.server.values.get(query["task_key"] + "/" + query["key"], missing)
            return self.answer(value, 404) if value is missing else self.answer({"value": value})
        if url.path == "/api/2.1/jobs/runs/get":
            return self.answer(
                {
                    "run_id": 9,
                    "state": {"life_cycle_state": "TERMINATED", "result_state": "SUCCESS"},
                    "tasks": [{"run_id": 10}],
                }
            )
        if url.path == "/api/2.1/jobs/runs/get-output":
            return self.answer({"notebook_output": {"result": "from child"}})
        return self.answer(missing, 404)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/api/wherry/task-values":
            self.server.values["a/" + body["key"]] = body["value"]
            return self.answer({})
        self.server.runs.append(body)
        return self.answer({"run_id": 9})


@pytest.fixture
def server() -> Iterator[Server]:
    s = Server()
    thread = threading.Thread(target=s.serve_forever)
    thread.start()
    yield s
    s.shutdown()
    thread.join()
    s.server_close()
