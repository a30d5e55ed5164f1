"""Linux namespaces, mounts and capabilities through libc, for one task."""

from __future__ import annotations

import ctypes
import os
import sys

CLONE_NEWNS = 0x20000
CLONE_NEWPID = 0x20000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND = 0x20, 0x1000
MS_REC, MS_SLAVE = 0x4000, 0x80000
MACHINE_SETTINGS = ("sys", "irq", "bus", "fs", "acpi", "scsi", "sysrq-trigger", "mtrr")
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_CAPBSET_READ, _PR_CAPBSET_DROP = 23, 24
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Leave the namespaces named by flags; needs CAP_SYS_ADMIN here."""
    _check(_libc.unshare(flags), "unshare")


def setns(fd: int, kind: int) -> None:
    """Join the namespace behind fd."""
    _check(_libc.setns(fd, kind), "setns")


def mount(source: str, target: str, kind: str | None, flags: int = 0, data: str | None = None) -> None:
    """mount(2); raises OSError naming the target."""
    _check(
        _libc.mount(
            source.encode(),
            os.fsencode(target),
            kind.encode() if kind else None,
            ctypes.c_ulong(flags),
            data.encode() if data else None,
        ),
        f"mount {target}",
    )


def private_mounts() -> None:
    """Give this process its own mount table with its own /proc. Mounts that are
    made outside later, a new volume for example, still arrive."""
    unshare(CLONE_NEWNS)
    mount("none", "/", None, MS_REC | MS_SLAVE)
    flags = MS_NOSUID | MS_NODEV | MS_NOEXEC
    mount("proc", "/proc", "proc", flags)
    # As in the box's own /proc: the machine's settings obey root, whatever its capabilities.
    for name in MACHINE_SETTINGS:
        path = f"/proc/{name}"
        if os.path.exists(path):
            mount(path, path, None, MS_BIND)
            mount("none", path, None, MS_REMOUNT | MS_BIND | MS_RDONLY | flags)


def overlay(lower: str, upper: str, target: str) -> None:
    """Show lower at target, above what is there; what is written there goes
    below upper. Marks are in user.* attributes, which need no rights."""
    for name in ("upper", "work"):
        os.makedirs(os.path.join(upper, name), exist_ok=True)
    below = os.open(target, os.O_PATH | os.O_DIRECTORY)  # its name may hold what mount's options may not
    try:
        layers = f"lowerdir={lower}:/proc/self/fd/{below}"
        data = f"{layers},upperdir={upper}/upper,workdir={upper}/work,userxattr"
        mount("overlay", target, "overlay", MS_NOSUID | MS_NODEV, data)
    finally:
        os.close(below)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ended."""
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with_parent() -> None:
    """Be killed when the thread that forked this process ends."""
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_PDEATHSIG, 9, 0, 0, 0)


def drop_privileges(uid: int | None = None, gid: int | None = None) -> None:
    """Give up every capability for good, and become uid where it is not us already."""
    if sys.platform != "linux":
        return
    for cap in range(64):
        if _libc.prctl(_PR_CAPBSET_READ, cap, 0, 0, 0) < 0:
            break
        _libc.prctl(_PR_CAPBSET_DROP, cap, 0, 0, 0)
    if uid is not None and uid != os.getuid():
        group = uid if gid is None else gid
        try:
            os.setgroups([])
        except PermissionError:
            pass  # A user namespace with setgroups denied: there are none to drop.
        os.setresgid(group, group, group)
        os.setresuid(uid, uid, uid)
    _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _check(_libc.capset(header, (ctypes.c_uint32 * 6)()), "capset")
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
