"""Import hooks: modules that only the platform's runtime has, and pyspark patched as it is imported."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any

from wherry_runtime import lazy

PATCHES: dict[str, Callable[[Any], None]] = {
    "pyspark.sql.session": lazy.patch_session,
    "pyspark.sql.utils": lazy.patch_utils,
    "pyspark.sql.functions.builtin": lazy.patch_functions,
    "pyspark.core.context": lazy.patch_context,
}


class _Built(importlib.abc.Loader):
    """Loads a module that a function fills."""

    def __init__(self, fill: Callable[[types.ModuleType], None]) -> None:
        self.fill = fill

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        return None

    def exec_module(self, module: types.ModuleType) -> None:
        self.fill(module)


class _Patched(importlib.abc.Loader):
    """Loads a module as usual, then patches it."""

    def __init__(self, loader: Any, patch: Callable[[Any], None]) -> None:
        self.loader, self.patch = loader, patch

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType | None:
        return self.loader.create_module(spec)  # type: ignore[no-any-return]

    def exec_module(self, module: types.ModuleType) -> None:
        self.loader.exec_module(module)
        self.patch(module)

    def __getattr__(self, name: str) -> Any:  # get_source, get_data: inspect asks for them
        return getattr(self.loader, name)


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None) -> Any:
        if name in MODULES:
            spec = importlib.machinery.ModuleSpec(name, _Built(MODULES[name]), is_package=name in PACKAGES)
            return spec
        patch = PATCHES.get(name)
        if patch is None:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                spec.loader = _Patched(spec.loader, patch)
                return spec
        return None


def install() -> None:
    """Install the hooks in this process, patching what is already imported."""
    sys.meta_path.insert(0, _Finder())
    for name, patch in PATCHES.items():
        if name in sys.modules:
            patch(sys.modules[name])


def _names(module: types.ModuleType) -> None:
    from wherry_runtime import names

    module.__dict__.update(names.global_names())


def _pyspark_dbutils(module: types.ModuleType) -> None:
    from wherry_runtime import names

    class DBUtils:
        """DBUtils(spark) gives the task's dbutils."""

        def __new__(cls, *_: Any, **__: Any) -> Any:
            return names.dbutils()

    module.__dict__.update(DBUtils=DBUtils)


def _dbruntime(module: types.ModuleType) -> None:
    from wherry_runtime import names

    class UserNamespaceInitializer:
        """What databricks.sdk.runtime asks for the notebook's globals."""

        @staticmethod
        def getOrCreate() -> UserNamespaceInitializer:
            return UserNamespaceInitializer()

        def get_namespace_globals(self) -> dict[str, Any]:
            return names.global_names()

    module.__dict__.update(UserNamespaceInitializer=UserNamespaceInitializer)


def _repl_context(module: types.ModuleType) -> None:
    from wherry_runtime import replcontext

    module.__dict__.update(get_context=replcontext.get_context)


def _connect(module: types.ModuleType) -> None:
    class DatabricksSession:
        """In a job the session of databricks.connect is the notebook's own."""

        class Builder:
            def __getattr__(self, name: str) -> Callable[..., Any]:
                if name.startswith("_"):
                    raise AttributeError(name)
                return lambda *_, **__: self

            def getOrCreate(self) -> Any:
                return lazy.session()

            create = getOrCreate

        builder = Builder()

        @classmethod
        def getActiveSession(cls) -> Any:
            return lazy.session()

    module.__dict__.update(DatabricksSession=DatabricksSession)


def _feature_engineering(module: types.ModuleType) -> None:
    def missing(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise NotImplementedError(f"databricks.feature_engineering ({name}) is not supported by wherry yet")

    module.__dict__["__getattr__"] = missing


MODULES: dict[str, Callable[[types.ModuleType], None]] = {
    "pyspark.dbutils": _pyspark_dbutils,
    "dbruntime": _dbruntime,
    "dbruntime.databricks_repl_context": _repl_context,
    "dbruntime.dbutils": _names,
    "databricks.connect": _connect,
    "databricks.feature_engineering": _feature_engineering,
    "databricks.feature_store": _feature_engineering,
}
PACKAGES = {"dbruntime", "databricks.connect", "databricks.feature_engineering", "databricks.feature_store"}
