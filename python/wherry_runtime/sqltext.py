"""SQL cells as text: statements, and the widgets that they name."""

from __future__ import annotations

import re

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
