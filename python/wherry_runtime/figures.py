"""Outputs as notebooks keep them: figures as PNG, values as mime bundles."""

from __future__ import annotations

import base64
import sys
from typing import Any

# Larger than this a single representation is left out, in characters.
_MIME_LIMIT = 9 << 20


def register(shell: Any) -> None:
    """Show matplotlib's figures inline, whenever it comes to be imported."""
    png = shell.display_formatter.formatters["image/png"]
    png.for_type_by_name("matplotlib.figure", "Figure", figure_png)
    shell.events.register("post_execute", flush_figures)


def figure_png(figure: Any) -> Any:
    """A figure as base64 PNG."""
    from IPython.core.pylabtools import print_figure

    return print_figure(figure, "png", base64=True)


def flush_figures() -> None:
    """Show the figures that a cell drew and did not show."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is None or not pyplot.get_fignums():
        return
    from matplotlib_inline.backend_inline import flush_figures as flush

    flush()


def clean(data: dict[str, Any]) -> dict[str, Any]:
    """Make a mime bundle fit for JSON and bounded."""
    out: dict[str, Any] = {}
    for mime, value in data.items():
        if isinstance(value, bytes):
            value = base64.b64encode(value).decode()
        if isinstance(value, str) and len(value) > _MIME_LIMIT and mime != "text/plain":
            continue
        out[mime] = value
    return out or {"text/plain": ""}
