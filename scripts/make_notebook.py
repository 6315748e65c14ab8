"""Run a notebook and keep its outputs with small pictures: python scripts/make_notebook.py NOTEBOOK."""

import base64
import hashlib
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from PIL import Image

WIDEST = 800
"""Pixels of a kept picture's width."""

TIMEOUT = 600
"""Seconds that a cell may take: the first may run the whole workflow."""


def code_digest(notebook: Any) -> str:
    """Return a digest of a notebook's code, which its outputs belong to."""
    code = json.dumps([cell.source for cell in notebook.cells if cell.cell_type == "code"])
    return hashlib.sha256(code.encode()).hexdigest()


def run(path: Path) -> Any:
    """Return a notebook with its outputs, as it runs now."""
    notebook: Any = nbformat.reads(path.read_text(encoding="utf-8"), 4)  # type: ignore[no-untyped-call]
    NotebookClient(notebook, timeout=TIMEOUT, resources={"metadata": {"path": path.parent}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            # Messages on standard error name folders of this machine.
            cell.outputs = [_small(output) for output in cell.outputs if output.get("name") != "stderr"]
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "code_digest": code_digest(notebook),
    }
    return notebook


def texts(notebook: Any) -> list[str]:
    """Return what the cells of a notebook print or show as text."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs]


def _small(output: Any) -> Any:
    """Return an output whose picture is a JPEG of at most `WIDEST` pixels."""
    data = output.get("data", {})
    picture = data.pop("image/png", None) or data.pop("image/jpeg", None)
    if picture:
        image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")
        image.thumbnail((WIDEST, WIDEST))
        written = io.BytesIO()
        image.save(written, "JPEG", quality=80, optimize=True)
        output.data = {"image/jpeg": base64.b64encode(written.getvalue()).decode(), "text/plain": "<a picture>"}
    elif "text/html" in data:
        # The style of pandas only works in a notebook.
        data["text/html"] = re.sub(r"<style.*?</style>\n?", "", data["text/html"], flags=re.DOTALL)
    return output


def main(path: Path) -> None:
    """Write a notebook with its outputs over itself."""
    notebook = run(path)
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
