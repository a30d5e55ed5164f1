"""Executes the notebooks one after the other, as the job does. CI does it in a step of its own."""

from pathlib import Path

import papermill
import pytest
import yaml

ROOT = Path(__file__).parent.parent
PARAMETERS = yaml.safe_load((ROOT / "tests" / "notebook_parameters.yml").read_text())


@pytest.mark.notebooks
def test_notebooks_run(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    (tmp_path / "src").symlink_to(ROOT / "src")
    (tmp_path / "notebooks").mkdir()
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    assert notebooks
    for notebook in notebooks:
        papermill.execute_notebook(
            notebook,
            tmp_path / "executed.ipynb",
            parameters={**PARAMETERS, "folder": str(tmp_path / "tables")},
            kernel_name="python3",
            cwd=tmp_path / "notebooks",
            progress_bar=False,
        )
