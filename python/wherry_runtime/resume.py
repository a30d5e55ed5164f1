"""Goes on with a task in a fresh interpreter: after restartPython, and where a
task's libraries replace modules that the zygote had imported.

Run as `python -m wherry_runtime.resume REQUEST EVENTS LINK`, three fd numbers.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import tempfile
from typing import Any, NoReturn


def fresh_interpreter(request: dict[str, Any], events: int, link: socket.socket | None) -> NoReturn:
    """Replace this process's program; the process, its view and its rights stay."""
    request.setdefault("resume", {})
    with tempfile.TemporaryFile(buffering=0) as f:
        f.write(json.dumps(request).encode())
        f.seek(0)
        fds = [f.fileno(), events, -1 if link is None else link.fileno()]
        for fd in fds:
            if fd >= 0:
                os.set_inheritable(fd, True)
        env = dict(os.environ)
        here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        env["WHERRY_PYTHONPATH"] = env.get("PYTHONPATH", "")
        env["PYTHONPATH"] = here
        os.execve(sys.executable, [sys.executable, "-m", "wherry_runtime.resume", *map(str, fds)], env)


def main() -> None:
    request_fd, events, link_fd = map(int, sys.argv[1:4])
    os.environ["PYTHONPATH"] = os.environ.pop("WHERRY_PYTHONPATH", "")
    with os.fdopen(request_fd, "rb") as f:
        request = json.load(f)
    for fd in (events, link_fd):
        if fd >= 0:
            os.set_inheritable(fd, False)
    link = socket.socket(fileno=link_fd) if link_fd >= 0 else None
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from wherry_runtime import hooks, keeper, task

    hooks.install()
    folder = request["resume"].get("pip")
    if folder:
        sys.path.insert(0, folder)
    code = task.start(request, events, link)  # type: ignore[arg-type]
    if link is not None:
        keeper.leave(code, [events], link)
    os._exit(code)


if __name__ == "__main__":
    main()
