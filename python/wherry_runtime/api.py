"""Calls of the server with the task's token."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlencode, urlsplit

from wherry_runtime import context


class APIError(Exception):
    """The server's refusal."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


def call(method: str, path: str, body: Any = None, **query: Any) -> Any:
    """Call the server; return the decoded answer. Raises APIError."""
    task = context.get().task
    url = urlsplit(str(task.get("api_url") or ""))
    if not url.hostname:
        raise RuntimeError("this needs wherry's server, and the task was given none")
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    connection = kind(url.hostname, url.port, timeout=120)
    if query:
        path += "?" + urlencode({k: v for k, v in query.items() if v is not None})
    headers = {"Authorization": f"Bearer {task.get('token')}", "User-Agent": "wherry-runtime"}
    data = None
    if body is not None:
        data = json.dumps(body).encode()
        headers["Content-Type"] = "application/json"
    try:
        connection.request(method, path, data, headers)
        answer = connection.getresponse()
        raw = answer.read()
    finally:
        connection.close()
    try:
        value = json.loads(raw) if raw else {}
    except ValueError:
        value = {"message": raw[:500].decode("utf-8", "replace")}
    if answer.status >= 400:
        raise APIError(answer.status, str(value.get("error_code", "")), str(value.get("message", "")))
    return value
