"""The cluster's Spark session, attached to when something first touches it."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from typing import Any

from wherry_runtime import context

_lock = threading.RLock()
_session: Any = None
_attaching = False


def session() -> Any:
    """Return the SparkSession of this task, attaching to the cluster's driver
    if that has not happened. Raises RuntimeError where there is no Spark."""
    global _session, _attaching
    if _session is not None:
        return _session
    with _lock:
        if _session is None:
            ctx = context.get()
            _attaching = True
            try:
                from wherry_runtime import spark_attach

                _session = spark_attach.attach(ctx.task, ctx.control)
            finally:
                _attaching = False
            _settle(ctx)
    return _session


def attached() -> bool:
    """Whether Spark runs in this task, or is being attached to."""
    return _session is not None or _attaching


def _settle(ctx: context.Context) -> None:
    """Put the real objects where the notebook still has the proxies."""
    # pyspark logs the context of an error that it raises as well.
    logging.getLogger("SQLQueryContextLogger").disabled = True
    for name in ("spark", "sc", "sqlContext"):
        if isinstance(type(ctx.namespace.get(name)), _ProxyType):
            ctx.namespace[name] = target(name)


def target(name: str) -> Any:
    """The real object behind the global of that name."""
    if name == "sc":
        return session().sparkContext
    if name == "sqlContext":
        return _sql_context()
    return session()


_sql: Any = None


def _sql_context() -> Any:
    global _sql
    if _sql is None:
        import warnings

        from pyspark.sql import SQLContext

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _sql = SQLContext(session().sparkContext, session())
    return _sql


class _ProxyType(type):
    pass


class Proxy(metaclass=_ProxyType):
    """Stands for an object that is made at the first touch of an attribute."""

    __slots__ = ("_wherry_name", "_wherry_class")

    def __init__(self, name: str, cls: Callable[[], type]) -> None:
        object.__setattr__(self, "_wherry_name", name)
        object.__setattr__(self, "_wherry_class", cls)

    @property
    def __class__(self) -> type:  # isinstance(spark, SparkSession) is true
        return object.__getattribute__(self, "_wherry_class")()

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("_repr_", "_ipython_", "__")):
            raise AttributeError(name)  # A look at the object is no use of it.
        return getattr(target(object.__getattribute__(self, "_wherry_name")), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(target(object.__getattribute__(self, "_wherry_name")), name, value)

    def __dir__(self) -> list[str]:
        return dir(object.__getattribute__(self, "_wherry_class")())

    def __repr__(self) -> str:
        return repr(target(object.__getattribute__(self, "_wherry_name")))

    def __reduce__(self) -> Any:
        return target, (object.__getattribute__(self, "_wherry_name"),)


def _session_class() -> type:
    from pyspark.sql import SparkSession

    return SparkSession


def _context_class() -> type:
    from pyspark import SparkContext

    return SparkContext


def _sql_context_class() -> type:
    from pyspark.sql import SQLContext

    return SQLContext


spark = Proxy("spark", _session_class)
sc = Proxy("sc", _context_class)
sqlContext = Proxy("sqlContext", _sql_context_class)


def patch_session(module: Any) -> None:
    """Make pyspark's own ways to a session give the task's."""
    cls = module.SparkSession
    builder = cls.Builder
    get_or_create, get_active = builder.getOrCreate, cls.getActiveSession.__func__

    def attach_or_create(self: Any) -> Any:
        if _attaching or "spark.remote" in self._options or context.current is None:
            return get_or_create(self)
        found = session()
        for key, value in self._options.items():
            if key.startswith(("spark.sql.", "spark.databricks.")) and key not in (
                "spark.sql.extensions",
                "spark.sql.catalog.spark_catalog",
            ):
                try:
                    found.conf.set(key, value)
                except Exception:  # A static setting: the cluster's stays.
                    pass
        return found

    def active(kind: Any) -> Any:
        # mlflow asks in passing, with Spark or without; that must not start a JVM.
        caller = sys._getframe(1).f_globals.get("__name__", "")
        if not attached() and context.current is not None and not caller.startswith("mlflow."):
            return session()
        return get_active(kind)

    builder.getOrCreate = attach_or_create
    cls.getActiveSession = classmethod(active)


def patch_utils(module: Any) -> None:
    """Make col("x") before the first use of `spark` find a context."""
    original = module.get_active_spark_context

    def get_active_spark_context() -> Any:
        if not attached() and context.current is not None:
            session()
        return original()

    for name, other in list(sys.modules.items()):
        if name.startswith("pyspark."):
            for attribute in ("get_active_spark_context", "_get_active_spark_context"):
                if other.__dict__.get(attribute) is original:
                    setattr(other, attribute, get_active_spark_context)


def patch_functions(module: Any) -> None:
    """pyspark.sql.functions.builtin asserts on the class attribute instead."""
    original = module._invoke_function

    def invoke(*args: Any) -> Any:
        if not attached() and context.current is not None:
            session()
        return original(*args)

    module._invoke_function = invoke


def patch_context(module: Any) -> None:
    """Make SparkContext.getOrCreate give the cluster's."""
    cls = module.SparkContext
    get_or_create = cls.getOrCreate.__func__

    def attach_or_create(kind: Any, conf: Any = None) -> Any:
        if attached() or context.current is None:
            return get_or_create(kind, conf)
        return session().sparkContext

    cls.getOrCreate = classmethod(attach_or_create)
