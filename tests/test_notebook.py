"""The notebook runs from its top to its end in a kernel, and is kept without what it printed."""

from __future__ import annotations

import nbformat
import pytest
from nbclient import NotebookClient

from tests.source_tree import ROOT

PATH = ROOT / "examples" / "three_ways.ipynb"


def test_it_is_kept_without_outputs() -> None:
    notebook = nbformat.read(PATH, as_version=4)
    nbformat.validate(notebook)
    assert not [cell for cell in notebook.cells if cell.get("outputs")]


@pytest.mark.slow
def test_every_cell_runs_and_masks_are_drawn() -> None:
    notebook = nbformat.read(PATH, as_version=4)
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": PATH.parent}})
    client.execute()
    outputs = [each for cell in notebook.cells for each in cell.get("outputs", ())]
    drawn = [each for each in outputs if "image/png" in each.get("data", {})]
    assert len(drawn) == 2
    told = "".join(each.get("text", "") for each in outputs)
    assert "motorcycle" in told
    assert "dog" in told  # what "puppy" is read as
