"""Parses every file of a project that has a grammar Python knows; prints what is wrong."""

import ast
import json
import sys
import tomllib
from pathlib import Path

for path in sorted(Path(sys.argv[1]).rglob("*")):
    try:
        if path.suffix == ".py":
            ast.parse(path.read_text())
        elif path.suffix == ".toml":
            tomllib.loads(path.read_text())
        elif path.suffix == ".ipynb":
            for cell in json.loads(path.read_text())["cells"]:
                if cell["cell_type"] == "code":
                    ast.parse("".join(cell["source"]))
    except (SyntaxError, ValueError) as e:
        print(f"{path}: {e}")
