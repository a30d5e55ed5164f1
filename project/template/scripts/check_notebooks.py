"""Checks that every notebook of a folder has an executed copy in another, with no cell left out or failed."""

import argparse
import sys
from pathlib import Path

import nbformat


def problems(source: Path, executed: Path) -> list[str]:
    """What is wrong with the executed copy of a notebook."""
    if not executed.exists():
        return [f"{source}: was not executed"]
    found = []
    cells = [cell for cell in nbformat.read(executed, as_version=4).cells if cell.cell_type == "code"]
    for number, cell in enumerate(cells, start=1):
        if cell.source.strip() and cell.execution_count is None:
            found.append(f"{source}: code cell {number} was not executed")
        for output in cell.outputs:
            if output.output_type == "error":
                found.append(f"{source}: code cell {number}: {output.ename}: {output.evalue}")
    return found


def main(notebooks: Path, results: Path) -> int:
    sources = sorted(notebooks.glob("*.ipynb"))
    found = [problem for source in sources for problem in problems(source, results / source.name)]
    print("\n".join(found) if found else f"{len(sources)} notebooks executed without error")
    return 1 if found or not sources else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("notebooks", type=Path)
    parser.add_argument("results", type=Path)
    arguments = parser.parse_args()
    sys.exit(main(arguments.notebooks, arguments.results))
