"""Secret values that must not appear in what a task prints."""

from __future__ import annotations

from typing import Any, TextIO

MARK = "[REDACTED]"
_values: list[str] = []


def add(value: str) -> None:
    """Redact value from now on. One of a single character would redact everything."""
    if len(value.strip()) > 1 and value not in _values:
        _values.append(value)
        _values.sort(key=lambda v: -len(v))


def apply(text: str) -> str:
    """Return text without the secrets."""
    for value in _values:
        text = text.replace(value, MARK)
    return text


def inside(value: Any) -> Any:
    """Return what is to become JSON without the secrets, in whatever it holds:
    a number that shows one becomes text."""
    if not _values or value is None or isinstance(value, bool):
        return value
    if isinstance(value, dict):
        return {apply(str(k)): inside(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [inside(v) for v in value]
    text = str(value)
    clean = apply(text)
    return value if clean == text else clean


def values() -> list[str]:
    """The values registered so far, longest first."""
    return list(_values)


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
