"""Platform paths in a box without a mount view: /Workspace/x is opened where the box keeps it.

Only what Python opens by name is reached; programs that it starts and C code see the machine's paths.
"""

from __future__ import annotations

import builtins
import io
import json
import os
import os.path
from collections.abc import Callable
from typing import Any

_roots: list[tuple[str, str]] = []


def install(spec: str) -> None:
    """Patch the functions that take paths. spec is JSON: {"/Workspace": "/real/folder", …}."""
    _roots[:] = sorted(json.loads(spec).items(), key=lambda r: -len(r[0]))
    builtins.open = io.open = _first(io.open)  # type: ignore[assignment]
    for name in _ONE:
        if hasattr(os, name):
            setattr(os, name, _first(getattr(os, name)))
    for name in ("rename", "replace", "link", "symlink"):
        setattr(os, name, _both(getattr(os, name)))
    os.getcwd = _back(os.getcwd)


# genericpath and posixpath call os.stat and os.lstat; shutil, glob, pathlib and
# pandas come down to these too.
_ONE = (
    "open",
    "stat",
    "lstat",
    "listdir",
    "scandir",
    "mkdir",
    "rmdir",
    "unlink",
    "remove",
    "chmod",
    "chdir",
    "access",
    "readlink",
    "utime",
    "truncate",
    "statvfs",
    "walk",
)


def real(path: Any) -> Any:
    """Where path is on this machine; what is no platform path stays as it is."""
    if not isinstance(path, (str, os.PathLike)):
        return path
    text = os.fspath(path)
    if isinstance(text, str):
        for shown, folder in _roots:
            if text == shown or text.startswith(shown + "/"):
                return folder + text[len(shown) :]
    return path


def shown(path: str) -> str:
    """The platform's name of a path on this machine."""
    for name, folder in _roots:
        if path == folder or path.startswith(folder + "/"):
            return name + path[len(folder) :]
    return path


def _first(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(path: Any = ".", *args: Any, **kwargs: Any) -> Any:
        return function(real(path), *args, **kwargs)

    call.__name__ = getattr(function, "__name__", "call")
    return call


def _both(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(source: Any, target: Any, *args: Any, **kwargs: Any) -> Any:
        return function(real(source), real(target), *args, **kwargs)

    return call


def _back(function: Callable[[], str]) -> Callable[[], str]:
    return lambda: shown(function())
