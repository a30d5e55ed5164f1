"""The globals that every notebook and script finds defined."""

from __future__ import annotations

from typing import Any

from wherry_runtime import lazy

_dbutils: Any = None


def dbutils() -> Any:
    """The one dbutils of this task."""
    global _dbutils
    if _dbutils is None:
        from wherry_runtime.dbutils import DBUtils

        _dbutils = DBUtils()
    return _dbutils


def table(name: str) -> Any:
    """A table as a DataFrame."""
    return lazy.session().table(name)


def sql(query: str, *args: Any, **kwargs: Any) -> Any:
    """The result of a SQL statement as a DataFrame."""
    return lazy.session().sql(query, *args, **kwargs)


def udf(*args: Any, **kwargs: Any) -> Any:
    """pyspark.sql.functions.udf."""
    from pyspark.sql.functions import udf as make

    return make(*args, **kwargs)


def getArgument(name: str, default: str | None = None) -> str:
    """A widget's value: the old spelling of dbutils.widgets.get."""
    return dbutils().widgets.getArgument(name, default)  # type: ignore[no-any-return]


def global_names() -> dict[str, Any]:
    """The platform's namespace. A script's own imports may replace any of it."""
    from wherry_runtime import display

    return {
        "spark": lazy.spark,
        "sc": lazy.sc,
        "sqlContext": lazy.sqlContext,
        "dbutils": dbutils(),
        "display": display.display,
        "displayHTML": display.displayHTML,
        "table": table,
        "sql": sql,
        "udf": udf,
        "getArgument": getArgument,
    }
