"""Add documents from elsewhere in the repository to the site.

So no text is written twice. Their links lead to the site's pages.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from notebook_page import notebook_markdown

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "README.md": "index.md",
    "config/README.md": "reference/configuration.md",
    "ARCHITECTURE.md": "design/architecture.md",
    "CONTRIBUTING.md": "design/contributing.md",
    "benchmarks/RESULTS.md": "explanation/benchmarks.md",
    "CHANGELOG.md": "changelog.md",
    "docs/tutorials/slidemill-in-ten-minutes.ipynb": "tutorials/slidemill-in-ten-minutes.md",
}
"""Documents outside docs/, and their pages on the site."""
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the documents outside docs/."""
    for source, page in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(
            File.generated(config, page, content=notebook_markdown(text) if source.endswith(".ipynb") else text)
        )
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return a page with links and lists adapted to the site."""
    homes = {page: source for source, page in PAGES.items()}
    here = posixpath.dirname(page.file.src_uri) or "."
    home = posixpath.dirname(homes.get(page.file.src_uri, f"docs/{page.file.src_uri}"))

    def led(found: re.Match[str]) -> str:
        image, text, target = found.groups()
        place, mark, anchor = target.partition("#")
        if not place or ":" in place:
            return found[0]
        path = posixpath.normpath(posixpath.join(home, place))
        on_site = PAGES.get(path, path.removeprefix("docs/") if path.startswith("docs/") else None)
        # Files that only the repository has are named, not linked; a file's name there is a page's title here.
        if on_site and text.endswith(".md"):
            text = (ROOT / path).read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
        if not on_site:
            return text
        return f"{image}[{text}]({posixpath.relpath(on_site, here)}{mark}{anchor})"

    return _spaced(LINK.sub(led, markdown))


def _spaced(markdown: str) -> str:
    """Return text with an empty line before each list.

    Python's Markdown needs it, and GitHub's does not.
    """
    lines: list[str] = []
    fenced = False
    for line in markdown.splitlines():
        fenced ^= line.startswith("```")
        begins = not fenced and re.match(r"([-*]|\d+\.) ", line)
        if begins and lines and lines[-1].strip() and not re.match(r"([-*]|\d+\.) | ", lines[-1]):
            lines.append("")
        lines.append(line)
    return "\n".join(lines)
