"""Calls of the server with the task's token. A server that is being restarted
is waited for: the task must not notice."""

from __future__ import annotations

import http.client
import json
import time
from typing import Any
from urllib.parse import SplitResult, urlencode, urlsplit

from wherry_runtime import context

# How long a call is repeated while no server answers, in seconds.
PATIENCE = 120


class APIError(Exception):
    """The server's refusal."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


def call(method: str, path: str, body: Any = None, **query: Any) -> Any:
    """Call the server; return the decoded answer. Raises APIError. The call may
    come twice to the server: what would then happen twice needs a token in body."""
    task = context.get().task
    url = urlsplit(str(task.get("api_url") or ""))
    if not url.hostname:
        raise RuntimeError("this needs wherry's server, and the task was given none")
    if query:
        path += "?" + urlencode({k: v for k, v in query.items() if v is not None})
    headers = {"Authorization": f"Bearer {task.get('token')}", "User-Agent": "wherry-runtime"}
    data = None
    if body is not None:
        data = json.dumps(body).encode()
        headers["Content-Type"] = "application/json"
    end, pause = time.monotonic() + PATIENCE, 0.02
    while True:
        last = time.monotonic() > end
        try:
            status, raw = _send(url, method, path, data, headers)
            if status != 503 or last:
                return _answer(status, raw)
        except (OSError, http.client.HTTPException) as e:
            if last:
                raise ConnectionError(f"the wherry server does not answer: {e}") from e
        time.sleep(pause)
        pause = min(2 * pause, 1)


def _send(url: SplitResult, method: str, path: str, data: bytes | None, headers: dict[str, str]) -> tuple[int, bytes]:
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    connection = kind(url.hostname or "", url.port, timeout=PATIENCE)
    try:
        connection.request(method, path, data, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _answer(status: int, raw: bytes) -> Any:
    try:
        value = json.loads(raw) if raw else {}
    except ValueError:
        value = {"message": raw[:500].decode("utf-8", "replace")}
    if status >= 400:
        raise APIError(status, str(value.get("error_code", "")), str(value.get("message", "")))
    return value
