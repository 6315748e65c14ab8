"""Render a notebook with its outputs as a page of the site."""

import json
import re
from typing import Any


def notebook_markdown(notebook: str) -> str:
    """Return a notebook's text, code and outputs as Markdown."""
    blocks: list[str] = []
    for cell in json.loads(notebook)["cells"]:
        text = "".join(cell["source"])
        blocks.append(f"```python\n{text}\n```" if cell["cell_type"] == "code" else text)
        blocks += [_shown(output) for output in cell.get("outputs", [])]
    return "\n\n".join(blocks) + "\n"


def _shown(output: dict[str, Any]) -> str:
    """Return a cell's output as Markdown: a picture, a table, or text."""
    data = output.get("data", {"text/plain": output.get("text", "")})
    if "image/jpeg" in data:
        return f"![Output of the cell above](data:image/jpeg;base64,{''.join(data['image/jpeg']).strip()})"
    if "text/html" in data:
        # Only tables without a class have the site's style.
        return re.sub("<table[^>]*>", "<table>", "".join(data["text/html"]))
    return f"```text\n{''.join(data['text/plain']).rstrip()}\n```"
