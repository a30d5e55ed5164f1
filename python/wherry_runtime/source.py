"""Notebook files as cells: the same rules as Go's package notebook (their goldens are shared)."""

from __future__ import annotations

import json
import os
import re
from typing import Any

Cell = dict[str, Any]
"""{"index", "kind": "code"|"markdown", "language", "source", "line", "title"}"""

COMMENTS = {"python": "#", "sql": "--", "scala": "//", "r": "#"}
EXTENSIONS = {".py": "python", ".sql": "sql", ".scala": "scala", ".r": "r", ".ipynb": "python"}
_MAGIC = re.compile(r"\s*%(python|sql|scala|run|r|sh|fs|md-sandbox|md)(?:[ \t]+|\Z|\n)[ \t]*\n?")


def parse(name: str, text: str) -> tuple[str, list[Cell]]:
    """Return the notebook's language and cells. Raises ValueError for a broken .ipynb."""
    ext = os.path.splitext(name)[1].lower()
    if ext == ".ipynb":
        return _parse_ipynb(text)
    language = EXTENSIONS.get(ext, "python")
    comment = COMMENTS[language]
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    if lines[0].rstrip() != f"{comment} Databricks notebook source":
        return language, _number([_cell(language, lines, 1, "")])
    cells: list[Cell] = []
    start, current = 2, []  # type: tuple[int, list[str]]
    for number, line in enumerate(lines[1:] + [f"{comment} COMMAND ----------"], 2):
        if re.fullmatch(re.escape(comment) + r" COMMAND -{10,}[ \t\r\f\v]*", line):
            cells.append(_source_cell(language, comment, current, start))
            start, current = number + 1, []
        else:
            current.append(line)
    return language, _number(cells)


def _source_cell(language: str, comment: str, lines: list[str], start: int) -> Cell:
    title = ""
    while lines and not lines[0].strip():
        lines, start = lines[1:], start + 1
    if lines and (found := re.match(re.escape(comment) + r" DBTITLE \d+,(.*)", lines[0])):
        title, lines, start = found[1].strip(), lines[1:], start + 1
    magic = comment + " MAGIC"
    lines = [line[len(magic) :].removeprefix(" ") if line.startswith(magic) else line for line in lines]
    return _cell(language, lines, start, title)


def _cell(language: str, lines: list[str], line: int, title: str) -> Cell:
    while lines and not lines[0].strip():
        lines, line = lines[1:], line + 1
    source = "\n".join(lines).rstrip()
    kind = "code"
    if found := _MAGIC.match(source):
        language, source = found[1], source[found.end() :]
        line += found[0].count("\n")
        if language.startswith("md"):
            language, kind = "md", "markdown"
    return {"kind": kind, "language": language, "source": source, "line": line, "title": title}


def _parse_ipynb(text: str) -> tuple[str, list[Cell]]:
    try:
        notebook = json.loads(text)
        meta = notebook.get("metadata") or {}
        language = (meta.get("application/vnd.databricks.v1+notebook") or {}).get("language")
        language = language or (meta.get("language_info") or {}).get("name") or "python"
        cells = []
        for raw in notebook["cells"]:
            source = raw.get("source") or ""
            source = source if isinstance(source, str) else "".join(source)
            title = ((raw.get("metadata") or {}).get("application/vnd.databricks.v1+cell") or {}).get("title") or ""
            if raw.get("cell_type") == "code":
                cells.append(_cell(language, source.split("\n"), 1, title))
            elif raw.get("cell_type") == "markdown":
                cells.append(
                    {"kind": "markdown", "language": "md", "source": source.strip(), "line": 1, "title": title}
                )
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise ValueError(f"not an .ipynb notebook: {e!r}") from None
    return language, _number(cells)


def _number(cells: list[Cell]) -> list[Cell]:
    kept = [c for c in cells if c["source"].strip() or c["language"] in ("run",)]
    return [{"index": i, **c} for i, c in enumerate(kept)]


def find(path: str) -> str:
    """The file of a notebook that is named without its extension. Raises FileNotFoundError."""
    if os.path.isfile(path):
        return path
    for ext in (".py", ".ipynb", ".sql", ".scala", ".r", ".R"):
        if os.path.isfile(path + ext):
            return path + ext
    raise FileNotFoundError(f"Notebook not found: {path}")


def read(path: str) -> tuple[str, str, list[Cell]]:
    """Find and parse a notebook; return its file, language and cells."""
    file = find(path)
    with open(file, encoding="utf-8") as f:
        language, cells = parse(file, f.read())
    return file, language, cells
