"""Secret values that must not appear in what a task prints."""

from __future__ import annotations

import json
from typing import TextIO

MARK = "[REDACTED]"
_values: list[tuple[str, str]] = []


def add(value: str) -> None:
    """Redact value from now on. One of a single character would redact everything."""
    pair = (value, json.dumps(value, ensure_ascii=False)[1:-1])
    if len(value.strip()) > 1 and pair not in _values:
        _values.append(pair)
        _values.sort(key=lambda p: -len(p[0]))


def apply(text: str, escaped: bool = False) -> str:
    """Return text without the secrets; escaped text is JSON."""
    for plain, quoted in _values:
        text = text.replace(quoted if escaped else plain, MARK)
    return text


def values() -> list[str]:
    """The values registered so far, longest first."""
    return [plain for plain, _ in _values]


class RedactedStream:
    """A text stream that redacts what is written; all else is the stream's own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(apply(text))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)
