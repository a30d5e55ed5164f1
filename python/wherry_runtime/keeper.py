"""The keeper of a task: takes the request, starts the user's process, serves the
task's control socket and reports how the process ended."""

from __future__ import annotations

import array
import json
import os
import select
import signal
import socket
import sys
from typing import Any

from wherry_runtime import isolation, task, view

MAX_MESSAGE = 1 << 20


def wait_for_task(zygote: socket.socket, link: socket.socket, isolate: bool) -> None:
    """Be a spare: fork the process that will run user code, then wait for a
    request on the zygote's control socket or for the word to retire."""
    outer_pid = int(link.recv(64))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if isolate:
        isolation.private_mounts()
    else:
        isolation.adopt_orphans()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for s in (ours, theirs):
        s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MAX_MESSAGE)
    worker = os.fork()
    if worker == 0:
        ours.close()
        link.close()
        zygote.close()
        _work(theirs)
    theirs.close()
    data, fds = _take(zygote, link, ours)
    request = json.loads(data)
    reply = {"id": request["id"], "pid": outer_pid}
    try:
        if "task_file" in request:  # Too long for one message.
            with open(request["task_file"], "rb") as f:
                request["task"] = json.load(f)
            data = json.dumps(request).encode()
    except (OSError, ValueError) as e:
        reply["error"] = f"read the task: {e}"
    zygote.send(json.dumps(reply).encode())
    if "error" in reply:
        os._exit(0)
    zygote.close()
    link.close()
    control = socket.socket(fileno=fds[-1])
    seen = view.View(request)
    _send_all(ours, data, fds[:-1])
    for fd in fds[1:-1]:
        os.close(fd)
    isolation.drop_privileges(request.get("uid"), request.get("gid"))
    Keeper(control, ours, worker, isolate, seen, fds[0]).run()


def _take(zygote: socket.socket, link: socket.socket, worker: socket.socket) -> tuple[bytes, list[int]]:
    while True:
        ready = select.select([zygote, link, worker], [], [])[0]
        if link in ready:  # Retire, or the zygote is gone.
            _answer(link, b"retired")
            os._exit(0)
        if worker in ready:
            os._exit(71)
        try:
            data, fds = receive_at_once(zygote)
        except BlockingIOError:
            continue  # Another spare was faster.
        if not data:
            _answer(link, b"ended")
            os._exit(0)
        for fd in fds:
            os.set_inheritable(fd, False)
        _answer(link, b"taken")
        return data, list(fds)


def receive_at_once(sock: socket.socket) -> tuple[bytes, list[int]]:
    """A message with its descriptors. Raises BlockingIOError if there is none:
    socket.recv_fds would wait for one, as it forgets its flags."""
    fds = array.array("i")
    data, ancillary, _, _ = sock.recvmsg(MAX_MESSAGE, socket.CMSG_LEN(8 * fds.itemsize), socket.MSG_DONTWAIT)
    for level, kind, found in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(found[: len(found) - len(found) % fds.itemsize])
    return data, list(fds)


def _answer(link: socket.socket, word: bytes) -> None:
    try:
        link.send(word)
    except OSError:
        pass  # The zygote is gone; a task that was taken goes on.


def _send_all(sock: socket.socket, data: bytes, fds: list[int]) -> None:
    """Send data in pieces that fit a SEQPACKET message: the size, then the bytes."""
    socket.send_fds(sock, [len(data).to_bytes(8, "big")], fds)
    for at in range(0, len(data), 1 << 16):
        sock.sendall(data[at : at + (1 << 16)])


def _receive_all(sock: socket.socket) -> tuple[bytes, list[int]]:
    head, fds, _, _ = socket.recv_fds(sock, 8, 8)
    if not head:
        os._exit(0)
    size, data = int.from_bytes(head, "big"), bytearray()
    while len(data) < size:
        part = sock.recv(1 << 17)
        if not part:
            os._exit(0)
        data += part
    return bytes(data), list(fds)


def _work(link: socket.socket) -> None:
    """The user's process: wait for the request, run it, never return."""
    code = 1
    try:
        task.prepare()
        data, fds = _receive_all(link)
        code = task.run(json.loads(data), fds, link)
        leave(code, fds, link)
    except BaseException:
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def leave(code: int, fds: list[int], link: socket.socket) -> None:
    """Say how the task ended before the kernel takes down the address space,
    which takes longer than many tasks."""
    null = os.open(os.devnull, os.O_WRONLY)
    for fd in (1, 2, *fds):
        os.dup2(null, fd)
    link.send(json.dumps({"exit": code}).encode())


class Keeper:
    """Between the agent (control) and the user's process (worker)."""

    def __init__(
        self, control: socket.socket, link: socket.socket, worker: int, isolate: bool, seen: view.View, out: int
    ) -> None:
        self.control, self.link, self.worker, self.isolate = control, link, worker, isolate
        self.seen, self.out = seen, out
        self.stream = control.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_STREAM
        self.rest = b""
        self.code: int | None = None  # as the worker told it

    def run(self) -> None:
        """Serve until the worker has ended, then tell how and end all it left."""
        watch: list[Any] = [self.control, self.link]
        wake, _ = _signal_pipe()
        watch.append(wake)
        while (status := self.reap()) is None and self.code is None:
            ready = select.select(watch, [], [])[0]
            if wake in ready:
                os.read(wake, 4096)
            if self.control in ready:
                self.from_agent()
            if self.link in ready and not self.from_worker():
                watch.remove(self.link)
        code, number = self.code or 0, 0
        if status is not None and os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
        elif status is not None:
            code = os.WEXITSTATUS(status)
        self.kill_all()
        self.keep_files()
        self.say({"exit": code, "signal": number})
        os._exit(0)

    def from_agent(self) -> None:
        try:
            data = self.control.recv(MAX_MESSAGE if self.stream is False else 1 << 16)
        except OSError:
            data = b""
        if not data:
            self.kill_all()
            self.keep_files()
            os._exit(0)
        self.rest += data if self.stream else data + b"\n"
        *lines, self.rest = self.rest.split(b"\n")
        for line in filter(None, lines):
            message = json.loads(line)
            op = message.get("op")
            if op == "interrupt":
                os.kill(self.worker, signal.SIGINT)
            elif op == "kill":
                self.kill_worker()
            else:
                self.link.send(line)

    def from_worker(self) -> bool:
        """Pass one message of the worker on; False at its end."""
        try:
            data = self.link.recv(1 << 20)
        except OSError:
            return False
        message = json.loads(data) if data else {}
        if "exit" in message:
            self.code = message["exit"]
        elif data:
            self.say(message)
        return bool(data)

    def say(self, message: dict[str, Any]) -> None:
        try:
            self.control.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            pass  # The agent is gone: the next read ends the task.

    def keep_files(self) -> None:
        for line in self.seen.keep():
            try:
                os.write(self.out, f"wherry: {line}\n".encode(errors="surrogateescape"))
            except OSError:
                return  # Nobody reads it.

    def reap(self) -> int | None:
        """Collect ended children; the wait status of the worker once it has ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return None
            if pid == self.worker:
                return status
            if pid == 0:
                return None

    def kill_worker(self) -> None:
        try:
            os.killpg(self.worker, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        try:
            os.kill(self.worker, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def kill_all(self) -> None:
        """End everything that the task left running. In a pid namespace our own
        end does that; elsewhere what was adopted is hunted down."""
        if self.isolate:
            try:
                os.kill(-1, signal.SIGKILL)
            except ProcessLookupError:
                pass
            return
        self.kill_worker()
        while children := _children():
            for pid in children:
                try:
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                except (ProcessLookupError, ChildProcessError):
                    pass


def _children() -> list[int]:
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as f:
            return [int(pid) for pid in f.read().split()]
    except OSError:
        return []


def _signal_pipe() -> tuple[int, int]:
    """A pipe that becomes readable when a child ends."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    os.set_blocking(read, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    return read, write
