"""SQL cells as text: statements, and the widgets that they name."""

from __future__ import annotations

import re
from typing import NamedTuple

# What may hide a semicolon or a marker: strings, quoted names, comments.
_TOKEN = re.compile(r"'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.)*\"|`(?:[^`]|``)*`|--[^\n]*|/\*.*?\*/|[^'\"`/\-]+|.", re.S)


def split(text: str) -> list[str]:
    """The statements of text, without comments around them."""
    statements: list[str] = []
    current = ""
    for token in _TOKEN.findall(text):
        if token[0] in "'\"`" and len(token) > 1 or token.startswith(("--", "/*")):
            current += token
            continue
        *whole, token = token.split(";")
        for part in whole:
            statements.append(current + part)
            current = ""
        current += token
    statements.append(current)
    return [s.strip() for s in statements if _bare(s).strip()]


class Widget(NamedTuple):
    """A CREATE WIDGET or REMOVE WIDGET statement of a SQL notebook."""

    kind: str  # text, dropdown, combobox, multiselect or remove
    name: str
    default: str = ""
    choices: str = ""  # a query, "" for none


_CREATE_WIDGET = re.compile(
    r"""CREATE\s+WIDGET\s+(TEXT|DROPDOWN|COMBOBOX|MULTISELECT)\s+(?:`([^`]+)`|([\w.-]+))\s+DEFAULT\s+"""
    r"""(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)')(?:\s+CHOICES\s+(.+))?\s*$""",
    re.S | re.I,
)
_REMOVE_WIDGET = re.compile(r"REMOVE\s+WIDGET\s+(?:`([^`]+)`|([\w.-]+))\s*$", re.I)


def widget(statement: str) -> Widget | None:
    """The widget that a statement makes or removes; None for any other statement."""
    text = _bare(statement).strip()
    if m := _CREATE_WIDGET.match(text):
        return Widget(m[1].lower(), m[2] or m[3], m[4] if m[4] is not None else m[5] or "", (m[6] or "").strip())
    if m := _REMOVE_WIDGET.match(text):
        return Widget("remove", m[1] or m[2])
    return None


def _bare(text: str) -> str:
    return "".join(t for t in _TOKEN.findall(text) if not t.startswith(("--", "/*")))


def bind(statement: str, widgets: dict[str, str]) -> tuple[str, dict[str, str]]:
    """Replace ${name}, $name and getArgument("name") of widgets by their values; return the
    arguments for :name markers beside it."""
    out, arguments = "", {}  # type: tuple[str, dict[str, str]]
    statement = re.sub(r"getArgument\(\s*['\"](\w+)['\"]\s*\)", lambda m: _literal(widgets, m[1], m[0]), statement)
    statement = re.sub(r"\$\{(\w+)\}|\$(\w+)", lambda m: widgets.get(m[1] or m[2], m[0]), statement)
    for token in _TOKEN.findall(statement):
        out += token
        if token[0] in "'\"`-/" and len(token) > 1:
            continue
        for name in re.findall(r"(?<![:\w]):(\w+)", token):
            if name in widgets:
                arguments[name] = widgets[name]
    return out, arguments


def _literal(widgets: dict[str, str], name: str, otherwise: str) -> str:
    if name not in widgets:
        return otherwise
    return "'" + widgets[name].replace("\\", "\\\\").replace("'", "\\'") + "'"
