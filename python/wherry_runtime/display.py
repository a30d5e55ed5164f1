"""display() and displayHTML()."""

from __future__ import annotations

import html
import sys
from typing import Any

from wherry_runtime import context

# How many rows display() fetches, and how many of them it writes as HTML.
FETCHED, SHOWN = 10_000, 1_000
_CELL_TEXT = 2_000


def display(*objects: Any, **_: Any) -> None:
    """Show values richly: tables, figures, anything IPython can."""
    for value in objects:
        _display(value)


def displayHTML(html: str, **_: Any) -> None:
    """Show HTML; the run page isolates it in a frame."""
    _emit({"text/html": str(html), "text/plain": "<HTML>"})


def _display(value: Any) -> None:
    kind = type(value)
    module = kind.__module__
    if module.startswith("pyspark.sql") and kind.__name__ == "DataFrame":
        _spark(value)
    elif module.startswith("pyspark.pandas"):
        _pandas(value.head(FETCHED).to_pandas())
    elif module.startswith("pandas.") and kind.__name__ in ("DataFrame", "Series"):
        _pandas(value)
    elif isinstance(value, list) and value and all(hasattr(v, "__fields__") or hasattr(v, "_asdict") for v in value):
        display_rows([v.asDict() if hasattr(v, "asDict") else v._asdict() for v in value])
    elif module.startswith("matplotlib") and hasattr(value, "get_figure") and not hasattr(value, "savefig"):
        _rich(value.get_figure())
    else:
        _rich(value)


def _rich(value: Any) -> None:
    if context.get().kind != "notebook":
        print(value)
        return
    from IPython.display import display as show

    show(value)
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None and type(value).__name__ == "Figure" and hasattr(value, "number"):
        pyplot.close(value)  # Else the end of the cell would show it again.


def _spark(frame: Any) -> None:
    if frame.isStreaming:
        raise NotImplementedError(
            "display() of a streaming DataFrame is not supported by wherry: write the stream to a table"
        )
    rows = frame.limit(FETCHED + 1).collect()
    more = len(rows) > FETCHED
    _table(frame.columns, [list(r) for r in rows[:FETCHED]], f"more than {FETCHED:,}" if more else f"{len(rows):,}")


def _pandas(frame: Any) -> None:
    if type(frame).__name__ == "Series":
        frame = frame.to_frame()
    total = len(frame)
    head = frame.head(FETCHED)
    columns = [str(c) for c in head.columns]
    named = [n for n in head.index.names if n is not None]
    if named:
        head = head.reset_index()
        columns = [str(c) for c in head.columns]
    _table(columns, head.astype(object).values.tolist(), f"{total:,}")


def display_rows(rows: list[dict[str, Any]]) -> None:
    """Show dicts of the same keys as a table."""
    columns = list(rows[0]) if rows else []
    _table(columns, [[r.get(c) for c in columns] for r in rows], f"{len(rows):,}")


def _table(columns: list[str], rows: list[list[Any]], total: str) -> None:
    plain = "\t".join(columns) + "\n" + "\n".join("\t".join(_text(v) for v in r) for r in rows[:20])
    if context.get().kind != "notebook":
        print(plain)
        return
    parts = [
        '<table class="wherry-table"><thead><tr>',
        *(f"<th>{html.escape(c)}</th>" for c in columns),
        "</tr></thead><tbody>",
    ]
    for row in rows[:SHOWN]:
        parts += ["<tr>", *(f"<td>{html.escape(_text(v))}</td>" for v in row), "</tr>"]
    parts.append("</tbody></table>")
    shown = "" if len(rows) <= SHOWN else f", the first {SHOWN:,} shown"
    parts.append(f'<p class="wherry-note">{total} rows{shown}</p>')
    _emit({"text/html": "".join(parts), "text/plain": plain})


def _text(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (bytes, bytearray)):
        return value[:_CELL_TEXT].hex()
    text = str(value)
    return text if len(text) <= _CELL_TEXT else text[:_CELL_TEXT] + "…"


def _emit(data: dict[str, Any]) -> None:
    ctx = context.get()
    if ctx.kind == "notebook":
        ctx.events.output({"output_type": "display_data", "data": data, "metadata": {}})
    else:
        print(data["text/plain"])
