"""Keeps what a task writes below its bundle's folder in /Workspace.

The task sees the deployed tree there, as it was when it started: isolation.overlay.
It writes to a layer of its own above the tree; below the tree lies the live
folder, with what earlier tasks and Spark left. When the task has ended, what it
wrote goes to the live folder, and so to later tasks.
"""

from __future__ import annotations

import filecmp
import os
import shutil
import stat
from typing import Any

_OPAQUE = "user.overlay.opaque"  # a folder that replaces the one below
_PART = ".wherry-part"  # a copy that has no name yet


class View:
    """What one task sees of its bundle's folder; used by its keeper."""

    def __init__(self, request: dict[str, Any]) -> None:
        tree = request.get("tree") if request.get("isolate", True) else None
        self.tree: dict[str, str] = tree or {}
        self.live = -1
        try:
            self.live = os.open(self.tree["dst"], os.O_PATH | os.O_DIRECTORY) if tree else -1
        except OSError:
            pass  # Nothing is live there: the mount says so.

    def keep(self) -> list[str]:
        """Put what the task wrote into the live folder. Returns what could not
        be, and what later tasks do not see, in words for the task's output."""
        upper = os.path.join(self.tree.get("upper", ""), "upper")
        if self.live < 0 or not os.path.isdir(upper):
            return []
        said: list[str] = []
        os.fchdir(self.live)  # its name leads to the mount
        self._folder(upper, "", self.tree["src"], said)
        return said

    def _folder(self, upper: str, live: str, tree: str, said: list[str]) -> None:
        for entry in os.scandir(upper):
            to, deployed = os.path.join(live, entry.name), os.path.join(tree, entry.name)
            if entry.name == "__pycache__":
                continue
            try:
                if entry.is_dir(follow_symlinks=False):
                    if not _is_folder(to) or _replaces(entry.path):
                        _remove(to)
                        os.mkdir(to)
                    self._folder(entry.path, to, deployed, said)
                    os.chmod(to, stat.S_IMODE(entry.stat(follow_symlinks=False).st_mode))
                elif not _same(entry, deployed):
                    if os.path.lexists(deployed):
                        said.append(f"{to} is a deployed file: later tasks see it as it was deployed")
                    _replace(entry, to)
            except OSError as e:
                said.append(f"{to} was not kept: {e.strerror}")


def _same(entry: os.DirEntry[str], deployed: str) -> bool:
    """Whether a deployed file was opened to write and not changed."""
    if not (entry.is_file(follow_symlinks=False) and os.path.isfile(deployed)):
        return False
    return filecmp.cmp(entry.path, deployed, shallow=False)


def _is_folder(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


def _replaces(folder: str) -> bool:
    try:
        return os.getxattr(folder, _OPAQUE, follow_symlinks=False) == b"y"
    except OSError:
        return False


def _remove(path: str) -> None:
    if _is_folder(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.remove(path)


def _replace(entry: os.DirEntry[str], to: str) -> None:
    """Copy a file or a link whole or not at all. It cannot be moved: the layer is
    another mount."""
    kind = entry.stat(follow_symlinks=False)
    if stat.S_ISCHR(kind.st_mode) and kind.st_rdev == 0:  # The overlay's mark of what was removed.
        _remove(to)
    elif stat.S_ISREG(kind.st_mode) or stat.S_ISLNK(kind.st_mode):
        part = os.path.join(os.path.dirname(to), f"{_PART}-{os.getpid()}-{entry.inode()}")
        try:
            shutil.copy2(entry.path, part, follow_symlinks=False)
            if _is_folder(to):
                shutil.rmtree(to)
            os.replace(part, to)
        except OSError:
            _remove(part)
            raise
