"""display() and displayHTML()."""

from __future__ import annotations

from typing import Any


def display(*objects: Any, **_: Any) -> None:
    print(*objects)


def displayHTML(html: str, **_: Any) -> None:
    print(html)
