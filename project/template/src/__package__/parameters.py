"""Parameters of a notebook."""

from types import SimpleNamespace
from typing import Any


def read_parameters(namespace: dict[str, Any], *names: str) -> SimpleNamespace:
    """The named variables of the notebook's parameters cell.

    Papermill sets them by a cell of its own. In a workspace a job's parameters come as widgets, which hold text: each
    takes the place of its variable, turned into the type of the variable's value.
    """
    values = {name: namespace[name] for name in names}
    dbutils = namespace.get("dbutils")
    if dbutils is not None:
        for name, default in values.items():
            dbutils.widgets.text(name, str(default))
            values[name] = type(default)(dbutils.widgets.get(name))
    return SimpleNamespace(**values)
