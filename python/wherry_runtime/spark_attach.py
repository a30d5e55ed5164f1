"""Attach this process to the cluster's Spark driver: classic PySpark over Py4J, a session of its own."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from typing import Any

from wherry_runtime import context

# Held until the process ends: by its end the driver knows ours.
_lifeline: socket.socket | None = None


def attach(task: dict[str, Any], control: Any) -> Any:
    """Ask the agent for a session of the cluster's driver (which it starts if
    none runs) and return it as a SparkSession. Raises RuntimeError if there is
    no Spark to be had."""
    global _lifeline
    offer = control.ask("spark")["spark"]
    if offer.get("lifeline"):
        _lifeline = socket.create_connection(("127.0.0.1", int(offer["lifeline"])))
        _lifeline.sendall(f"{offer['id']}\n".encode())
    os.environ["PYSPARK_PYTHON"] = sys.executable
    gateway = _gateway(int(offer["port"]), str(offer["secret"]))
    return _session(gateway, str(offer.get("id", "")))


def _gateway(port: int, secret: str) -> Any:
    from pyspark.java_gateway import launch_gateway

    variables = {"PYSPARK_GATEWAY_PORT": str(port), "PYSPARK_GATEWAY_SECRET": secret}
    os.environ.update(variables)
    try:
        return launch_gateway()
    finally:
        for name in variables:  # Children of the task are not to find the way in.
            os.environ.pop(name, None)


def _session(gateway: Any, session_id: str) -> Any:
    from pyspark import SparkConf, SparkContext
    from pyspark.sql import SparkSession

    entry = gateway.entry_point
    java_context, java_session = entry.jsc(), entry.session()
    conf = SparkConf(_jvm=gateway.jvm, _jconf=java_context.getConf())
    sc = SparkContext(gateway=gateway, jsc=java_context, conf=conf)
    sc.environment = _WorkerEnvironment(sc.environment)
    spark = SparkSession(sc, jsparkSession=java_session)
    SparkSession._instantiatedSession = spark
    SparkSession._activeSession = spark
    gateway.jvm.org.apache.spark.sql.classic.SparkSession.setActiveSession(java_session)
    sc.addJobTag(f"wherry-{session_id}")
    _share(sc, spark, entry)
    return spark


def _share(sc: Any, spark: Any, entry: Any) -> None:
    """Keep this task from what is everybody's on the driver: the context's
    life and the other tasks' jobs."""
    from pyspark.sql.catalog import Catalog

    sc.stop = lambda: None
    spark.stop = lambda: None
    sc.cancelAllJobs = entry.cancelAll
    spark.newSession = lambda: type(spark)(sc, entry.newSession())
    set_current = Catalog.setCurrentCatalog

    def set_current_catalog(self: Any, catalogName: str) -> None:
        entry.ensureCatalog(catalogName)
        set_current(self, catalogName)

    Catalog.setCurrentCatalog = set_current_catalog


class _WorkerEnvironment(dict):  # type: ignore[type-arg]
    """The environment of this task's Python workers. PYTHONPATH is what
    sys.path has beyond the interpreter's own folders at the time a function is
    shipped, so that the task's modules import there too."""

    def keys(self) -> Any:
        self._refresh()
        return super().keys()

    def items(self) -> Any:
        self._refresh()
        return super().items()

    def __iter__(self) -> Iterator[Any]:
        self._refresh()
        return super().__iter__()

    def _refresh(self) -> None:
        path = os.pathsep.join(worker_path())
        if path:
            self["PYTHONPATH"] = path
        else:
            self.pop("PYTHONPATH", None)


def worker_path() -> list[str]:
    """The entries of sys.path that a worker must be given. The task's own view
    of a deployed tree is not the driver's: there the tree lies elsewhere."""
    request = context.current.request if context.current is not None else {}
    tree = request.get("tree") or {}
    source, shown = str(tree.get("src") or ""), str(tree.get("dst") or "")
    own = {os.path.realpath(p) for p in (sys.prefix, sys.base_prefix)}
    found: list[str] = []
    for entry in sys.path:
        entry = os.path.abspath(entry)
        inside = any(os.path.realpath(entry).startswith(p + os.sep + "lib") for p in own)
        if inside or not os.path.exists(entry):
            continue
        if source and (entry == shown or entry.startswith(shown + os.sep)):
            found.append(source + entry[len(shown) :])
        found.append(entry)
    return list(dict.fromkeys(found))
