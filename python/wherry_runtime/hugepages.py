"""Moves this process's memory into huge pages, so that forks of it are cheap:
a fork copies one entry per page, and the preloaded libraries are 60,000 pages."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator

SIZE = 2 << 20
_MADV_COLLAPSE = 25  # Linux 6.1; it needs no setting but "not never".
_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \S+ *(.*)")

_libc = ctypes.CDLL(None, use_errno=True)


def collapse() -> Iterator[int]:
    """Move the memory, a huge page (some ms) for each address that is yielded.
    Where the kernel cannot do it, nothing changes."""
    for start, end in _full_mappings():
        for at in range(-(-start // SIZE) * SIZE, end // SIZE * SIZE, SIZE):
            if _libc.madvise(ctypes.c_void_p(at), ctypes.c_size_t(SIZE), _MADV_COLLAPSE) == 0:
                yield at


def _full_mappings(smaps: str = "/proc/self/smaps") -> list[tuple[int, int]]:
    """Heap and anonymous memory that is in use for the most part: a thread's
    stack, for example, would only grow."""
    found = []
    start = end = 0
    try:
        with open(smaps) as lines:
            for line in lines:
                if m := _MAPPING.match(line):
                    start, end = int(m[1], 16), int(m[2], 16)
                    if m[3] != "rw-p" or m[4] not in ("", "[heap]"):
                        start = end = 0
                elif line.startswith("Anonymous:") and end - start >= SIZE:
                    if int(line.split()[1]) * 1024 * 4 >= (end - start) * 3:
                        found.append((start, end))
    except OSError:
        pass
    return found
