"""What this process runs: the task, its events, and its line to the agent."""

from __future__ import annotations

import json
import socket
import threading
from typing import Any

from wherry_runtime.events import Events


class Control:
    """Asks the agent, through the keeper."""

    def __init__(self, link: socket.socket | None) -> None:
        self.link = link
        self._lock = threading.Lock()

    def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        """Send {"op": op, …} and return the agent's reply. Raises RuntimeError
        with the reply's "error"."""
        if self.link is None:
            raise RuntimeError(f"{op} is not to be had outside a wherry task")
        with self._lock:
            self.link.sendall(json.dumps({"op": op, **fields}).encode())
            data = self.link.recv(1 << 20)
        if not data:
            raise RuntimeError(f"the agent ended before it answered {op}")
        reply: dict[str, Any] = json.loads(data)
        if reply.get("error"):
            raise RuntimeError(str(reply["error"]))
        return reply


class Context:
    """The state of the one task of this process. Fields of task are those of
    agent/protocol.Task."""

    def __init__(self, request: dict[str, Any], events: Events, control: Control) -> None:
        self.request = request
        self.task: dict[str, Any] = request.get("task") or {}
        self.events = events
        self.control = control
        self.kind: str = request["kind"]
        self.namespace: dict[str, Any] = {}

    @property
    def notebook_path(self) -> str:
        """The notebook's path as the workspace names it, without the extension."""
        path = str(self.task.get("path") or "")
        path = path.removeprefix("/Workspace")
        for ext in (".py", ".ipynb", ".sql", ".scala", ".r"):
            if path.endswith(ext):
                return path[: -len(ext)]
        return path


current: Context | None = None


def get() -> Context:
    """The running task. Raises RuntimeError where there is none."""
    if current is None:
        raise RuntimeError("this needs a wherry task: none runs in this process")
    return current
