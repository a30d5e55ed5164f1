"""The fork server of a box: `python -m wherry_runtime.zygote`, control socket at fd 3.

Messages on fd 3 (SOCK_SEQPACKET), one JSON object each:

    request  {"id", "kind": "notebook"|"script"|"wheel", "task": {...}, "env": {...}, "cwd",
              "tree": {"src", "dst", "upper"}, "uid", "gid", "isolate"}
             with SCM_RIGHTS fds [out, events, control]; "task_file", a path, in place of
             "task" where that is too long for a message (100 KB)
    reply    {"id", "pid", "error"?}  the task was taken; pid as seen by the box
    also     {"ready": true, "modules": [...]}   all preloading is done

Spark's daemons of Python workers are forked from here too: see spark_daemon.

Messages on a task's control socket (SOCK_SEQPACKET, or SOCK_STREAM with one line each):

    to the task    {"op": "interrupt"} | {"op": "kill"} | {"spark": {...}}; end of file means kill
    from the task  {"op": "spark", ...} | {"exit": code, "signal": n}   the last message

A task is two processes: a keeper (pid 1 of the task's pid namespace where there
is one) that serves the control socket, and its child that runs user code. Spares
of that pair wait on fd 3 themselves, so that a task starts without a fork, and
starts while the zygote is still importing.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import time
import warnings

from wherry_runtime import hooks, hugepages, isolation, keeper, spark_daemon

CONTROL_FD = 3
SPARES = 2
# A new spare is forked this long after one was taken, in seconds: not while
# the task's first lines run.
REST = 0.05

# What tasks import most, in the order of need; each stage ends with fresh spares.
# A module is imported here and never called: a BLAS or OpenMP pool that worked
# before the fork hangs the child.
STAGES: tuple[tuple[str, ...], ...] = (
    ("wherry_runtime.script", "wherry_runtime.names", "wherry_runtime.dbutils", "random"),
    ("wherry_runtime.shell",),
    ("numpy", "pandas"),
    ("pyarrow", "pyarrow.parquet", "pyarrow.dataset"),
    ("py4j.clientserver", "pyspark.sql", "pyspark.sql.functions", "pyspark.sql.pandas.types", "delta.tables"),
    ("pyspark.daemon", "pyspark.worker"),
    ("matplotlib.pyplot", "matplotlib_inline.backend_inline"),
    ("scipy.stats", "sklearn", "sklearn.ensemble", "sklearn.linear_model", "sklearn.metrics"),
    ("sklearn.pipeline", "sklearn.preprocessing", "sklearn.compose", "sklearn.model_selection"),
    ("mlflow", "mlflow.sklearn", "mlflow.pyfunc", "mlflow.models.signature"),
    ("mlflow.spark", "pyspark.ml", "pyspark.pandas"),
    ("databricks.sdk",),
)


class Zygote:
    """Keeps spares ready and imports while nothing asks for more."""

    def __init__(self, control: socket.socket, door: spark_daemon.Door | None) -> None:
        self.control, self.door = control, door
        self.spares: dict[int, socket.socket] = {}
        self.children: set[int] = set()
        self.isolate = isolation_works()
        self.own_pid_ns = os.open("/proc/self/ns/pid", os.O_RDONLY) if self.isolate else -1

    def run(self, stages: tuple[tuple[str, ...], ...]) -> None:
        """Serve until the control socket ends."""
        hooks.install()
        self.fill()
        loaded: list[str] = []
        for stage in stages:
            for module in stage:
                loaded += load(module)
                if module == "wherry_runtime.shell" and loaded[-1:] == [module]:
                    sys.modules[module].prepare()
                self.serve(0)
            self.retire()
            self.fill()
        if stages:
            if not self.canary():
                restart_without_preload()
            for _ in hugepages.collapse():
                self.serve(0)
            self.retire()
            self.fill()
        self.control.send(json.dumps({"ready": True, "modules": loaded, "isolate": self.isolate}).encode())
        while True:
            self.serve(None)

    def serve(self, timeout: float | None) -> None:
        """Replace spares that were taken; wait up to timeout for one to be."""
        taken = self.watch(timeout)
        while taken and self.spares and timeout is None:
            taken = self.watch(REST)
        self.reap()
        self.fill()

    def watch(self, timeout: float | None) -> bool:
        """Wait for spares to be taken; False if none was in that time."""
        links = list(self.spares.values())
        doors = [self.door.listener] if self.door else []
        ready = select.select(links + doors, [], [], timeout)[0]
        if self.door and self.door.listener in ready:
            ready.remove(self.door.listener)
            self.fork_daemon(self.door)
        for link in ready:
            pid = next(p for p, s in self.spares.items() if s is link)
            word = answer(link)
            del self.spares[pid]
            link.close()
            if word == b"ended":
                sys.exit(0)
            if word != b"taken":
                sys.exit("zygote: a spare died before it had a task")
        return bool(ready)

    def retire(self) -> None:
        """End idle spares, which lack what was imported since; one that has just
        taken a task goes on with it."""
        for pid, link in list(self.spares.items()):
            try:
                link.send(b"retire")
            except OSError:
                pass  # It has taken a task and gone on; its word is still to be read.
            if answer(link) == b"ended":
                sys.exit(0)
            del self.spares[pid]
            link.close()
        self.reap()

    def reap(self) -> None:
        for pid in list(self.children):
            if os.waitpid(pid, os.WNOHANG)[0] == pid:
                self.children.discard(pid)

    def fill(self) -> None:
        if len(self.spares) >= SPARES:
            return
        gc.collect()
        gc.freeze()
        while len(self.spares) < SPARES:
            self.fork_spare()

    def fork_spare(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        isolate = self.isolate
        if isolate:
            isolation.unshare(isolation.CLONE_NEWPID)
        pid = os.fork()
        if pid == 0:
            try:
                ours.close()
                for link in self.spares.values():
                    link.close()
                keeper.wait_for_task(self.control, theirs, isolate)
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                os._exit(70)
        if isolate:
            isolation.setns(self.own_pid_ns, isolation.CLONE_NEWPID)
        theirs.close()
        self.children.add(pid)
        self.spares[pid] = ours
        ours.send(str(pid).encode())

    def fork_daemon(self, door: spark_daemon.Door) -> None:
        """Fork a daemon of Spark's workers, in the box's own pid namespace: the
        driver is to see it."""
        inherited = [self.control.fileno(), *(s.fileno() for s in self.spares.values())]
        if self.own_pid_ns >= 0:
            inherited.append(self.own_pid_ns)
        pid = door.answer(inherited)
        if pid:
            self.children.add(pid)

    def canary(self) -> bool:
        """Whether a fork of this process can still compute."""
        pid = os.fork()
        if pid == 0:
            try:
                compute()
            finally:
                os._exit(0)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if os.waitpid(pid, os.WNOHANG)[0] == pid:
                return True
            self.serve(0.005)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return False


def answer(link: socket.socket) -> bytes:
    """A spare's last word; b"" if it died without one."""
    try:
        return link.recv(64)
    except ConnectionResetError:  # It left our word unread; its own comes next.
        return link.recv(64)


def compute() -> None:
    """Use what hangs after a bad fork: BLAS and pandas. It raises nothing: a
    library that is not there is no bad fork."""
    try:
        import numpy
        import pandas

        square = numpy.ones((200, 200))
        pandas.DataFrame(square @ square).sum().sum()
    except Exception:
        pass


def isolation_works() -> bool:
    """Whether a child can have its own pid and mount namespaces."""
    if sys.platform != "linux" or os.environ.get("WHERRY_ISOLATE") == "0":
        return False
    ns = os.open("/proc/self/ns/pid", os.O_RDONLY)
    try:
        isolation.unshare(isolation.CLONE_NEWPID)
    except OSError:
        os.close(ns)
        return False
    pid = os.fork()
    if pid == 0:
        try:
            isolation.private_mounts()
            os._exit(0)
        except OSError:
            os._exit(1)
    isolation.setns(ns, isolation.CLONE_NEWPID)
    os.close(ns)
    return os.waitpid(pid, 0)[1] == 0


def load(module: str) -> list[str]:
    """Import module if it is installed. A broken one is the task's to meet."""
    gc.disable()  # Modules stay, and looking for garbage is a sixth of their import.
    try:
        importlib.import_module(module)
    except BaseException as e:
        if not isinstance(e, ModuleNotFoundError):
            print(f"zygote: {module} was not preloaded: {e!r}", file=sys.stderr, flush=True)
        return []
    finally:
        gc.enable()
    return [module]


def restart_without_preload() -> None:
    """Start over with the light modules only: slower tasks, but none that hang."""
    print("zygote: a forked canary hung; going on without preloaded libraries", file=sys.stderr, flush=True)
    os.set_inheritable(CONTROL_FD, True)
    os.environ["WHERRY_PRELOAD"] = "light"
    os.execv(sys.executable, [sys.executable, "-m", "wherry_runtime.zygote"])


def main() -> None:
    warnings.filterwarnings("ignore", message=".*multi-threaded, use of fork.*", category=DeprecationWarning)
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # as in a task: decided at MLflow's import
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=CONTROL_FD)
    os.set_inheritable(CONTROL_FD, False)
    preload = {"none": STAGES[:0], "light": STAGES[:2]}.get(os.environ.get("WHERRY_PRELOAD", ""), STAGES)
    path = os.environ.pop(spark_daemon.SOCKET, "")
    Zygote(control, spark_daemon.Door(path) if path else None).run(preload)


if __name__ == "__main__":
    main()
