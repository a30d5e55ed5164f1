"""The events of a task: JSON lines to the agent, and output streams that become events."""

from __future__ import annotations

import io
import json
import os
import threading
import time
from typing import Any

from wherry_runtime import redact

CELL_LIMIT = 10 << 20
TOTAL_LIMIT = 30 << 20
_FLUSH_SECONDS = 0.1
_FLUSH_BYTES = 16 << 10

# Fields of events, of their outputs and cells that hold our own words and
# numbers. All else is the user's.
_OURS = frozenset(
    "digest execution_count execution_ms index kind language line ms name ok output_type state".split(),
)


def _redacted(fields: dict[str, Any]) -> dict[str, Any]:
    """Return an event's fields without the secrets. What the server reads of an
    event stays, whatever the secrets are."""
    clean: dict[str, Any] = {}
    for key, value in fields.items():
        if key in _OURS:
            clean[key] = value
        elif key == "output":
            clean[key] = _redacted(value)
        elif key == "cells":
            clean[key] = [_redacted(cell) for cell in value]
        elif key == "data":
            clean[key] = {mime: redact.inside(shown) for mime, shown in value.items()}
        else:
            clean[key] = redact.inside(value)
    return clean


class Events:
    """Writes events; bounds the output of a cell and of the whole notebook."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.pid = os.getpid()
        self.index = -1  # the cell that runs
        self._lock = threading.RLock()
        self._stream, self._text, self._size = "", [], 0  # type: tuple[str, list[str], int]
        self._cell_bytes = self.total_bytes = 0
        self._flusher: threading.Thread | None = None
        self._cut = False

    def write(self, kind: str, **fields: Any) -> None:
        """Write one event after the text that waits."""
        with self._lock:
            self.flush()
            self._write(kind, fields)

    def begin_cell(self, index: int) -> None:
        with self._lock:
            self.write("cell", index=index, state="running")
            self.index, self._cell_bytes, self._cut = index, 0, False

    def output(self, output: dict[str, Any]) -> None:
        """Write one nbformat output of the running cell."""
        with self._lock:
            self.flush()
            self._output(output)

    def text(self, stream: str, text: str) -> None:
        """Add text to stdout or stderr of the running cell; it is sent within
        a tenth of a second."""
        if not text:
            return
        with self._lock:
            if stream != self._stream or self._size > _FLUSH_BYTES:
                self.flush()
            self._stream = stream
            self._text.append(text)
            self._size += len(text)
            if self._flusher is None:
                self._flusher = threading.Thread(target=self._flush_often, daemon=True, name="wherry-output")
                self._flusher.start()

    def flush(self) -> None:
        with self._lock:
            if self._text:
                text, self._text, self._size = "".join(self._text), [], 0
                self._output({"output_type": "stream", "name": self._stream, "text": text})

    def _flush_often(self) -> None:
        while True:
            time.sleep(_FLUSH_SECONDS)
            self.flush()

    def _output(self, output: dict[str, Any]) -> None:
        size = len(json.dumps(output, default=str))
        limit = min(CELL_LIMIT - self._cell_bytes, TOTAL_LIMIT - self.total_bytes)
        if size > limit and output["output_type"] != "error":
            if self._cut:
                return
            self._cut = True
            if output["output_type"] == "stream" and limit > 0:
                self._output({**output, "text": output["text"][: limit // 2]})
            what = "cell is over 10 MB" if self.total_bytes < TOTAL_LIMIT - CELL_LIMIT else "notebook is over 30 MB"
            output = {
                "output_type": "stream",
                "name": "stderr",
                "text": f"\n*** the output of this {what}; the rest is not kept ***\n",
            }
            size = 0
        self._cell_bytes += size
        self.total_bytes += size
        self._write("output", {"index": self.index, "output": output})

    def _write(self, kind: str, fields: dict[str, Any]) -> None:
        event = {"type": kind, "t": int(time.time() * 1000), **_redacted(fields)}
        line = json.dumps(event, default=str, ensure_ascii=False)
        data = memoryview(line.encode("utf-8", "replace") + b"\n")
        while data:
            data = data[os.write(self.fd, data) :]


class CellStream(io.TextIOBase):
    """sys.stdout or sys.stderr of a notebook. What a forked child of the
    notebook prints goes to the task's plain output."""

    encoding = "utf-8"
    errors = "replace"

    def __init__(self, events: Events, name: str, fd: int) -> None:
        super().__init__()
        self._events, self.name, self._fd = events, name, fd

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        return self._fd

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if os.getpid() == self._events.pid:
            self._events.text(self.name, text)
        else:
            os.write(self._fd, redact.apply(text).encode("utf-8", "replace"))
        return len(text)

    def flush(self) -> None:
        if os.getpid() == self._events.pid:
            self._events.flush()
