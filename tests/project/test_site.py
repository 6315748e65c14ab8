"""The docs as a site, as code, and as a notebook: they build, ask nothing of a network, and do what they say."""

import errno
import html
import importlib.util
import inspect
import json
import os
import re
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import nbformat
import numpy as np
import openslide
import pytest
import yaml

import make_notebook
import slidemill
from slidemill import open_dataset, show
from slidemill.core.specs import GridSpec
from slidemill.datasets.dataset import Dataset
from slidemill.stores.base import Store
from slidemill.testing import write_svs
from tests.cohorts import write_cohort
from tests.conftest import NOTEBOOK, ROOT, once, painted, site_at
from tests.project.searches import SEARCHES

STALE = "the notebook has changed since it was run: make pictures"
PICTURES = sorted((ROOT / "docs" / "images").iterdir())
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
FETCHED = {"src", "srcset", "data", "poster", "action"}
"""Attributes by which a page has its reader's browser ask for something."""


class Page(HTMLParser):
    """What a page links to, what it has fetched, and its anchors."""

    def __init__(self, text):
        super().__init__()
        self.links, self.fetched, self.anchors = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.anchors |= {values[name] for name in ("id", "name") if values.get(name)}
        self.fetched += [values[name] for name in FETCHED & values.keys()]
        if "href" in values:
            (self.links if tag == "a" else self.fetched).append(values["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return once(tmp_path_factory, "a site", site_at)


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}


@pytest.mark.long
def test_the_pages_ask_nothing_of_another_host(site, pages):
    asked = {(path.name, target) for path, page in pages.items() for target in page.fetched}
    assert len(asked) > 20
    assert [one for one in asked if urlsplit(one[1]).scheme not in ("", "data") or urlsplit(one[1]).netloc] == []
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert re.findall(r"url\(['\"]?(?:https?:)?//", styles) == []
    assert "@import" not in styles


@pytest.mark.long
def test_the_index_of_search_is_a_script_for_pages_from_a_folder(site):
    """A page from a folder may run a script beside it, and may not read a file."""
    text = (site / "search" / "search_index.js").read_text(encoding="utf-8")
    assert text.startswith("var __index = {")
    index = json.loads(text.removeprefix("var __index = "))
    assert {entry["location"] for entry in index["docs"]} > {
        "reference/configuration.html",
        "reference/commands.html",
        "how-to/training.html",
    }


@pytest.mark.long
@pytest.mark.parametrize(("words", "page"), SEARCHES)
def test_pages_have_the_words_that_one_searches_for(site, words, page):
    """A section of the page has them all; tests/browser types them into the search itself."""
    text = (site / "search" / "search_index.js").read_text(encoding="utf-8")
    entries = json.loads(text.removeprefix("var __index = "))["docs"]
    own = [f"{one['title']} {one['text']}".lower() for one in entries if one["location"].partition("#")[0] == page]
    assert any(all(word in text for word in words.lower().split()) for text in own)


@pytest.mark.long
def test_the_notebook_is_a_page_with_all_its_cells(site, pages):
    text = html.unescape(
        re.sub(r"<[^>]+>", "", (site / "tutorials" / "slidemill-in-ten-minutes.html").read_text(encoding="utf-8"))
    )
    cells = nbformat.read(NOTEBOOK, 4).cells
    lines = [line for cell in cells if cell.cell_type == "code" for line in cell.source.splitlines() if line]
    assert len(lines) > 30
    assert [line for line in lines if line not in text] == []
    assert text.count("a slide, stitched from its patches") == 1
    assert "tutorials/slidemill-in-ten-minutes.html" in pages[site / "index.html"].links


@pytest.mark.long
def test_links_of_the_site_lead_somewhere(site, pages):
    broken = []
    for path, page in pages.items():
        for link in page.links:
            where = urlsplit(link)
            if where.scheme or path.name == "404.html":
                continue
            target = (path.parent / unquote(where.path)).resolve() if where.path else path
            known = pages[target].anchors if target in pages else set()
            if not target.exists() or (where.fragment and unquote(where.fragment) not in known):
                broken.append((path.name, link))
    assert broken == []


@pytest.mark.long
def test_every_page_is_in_the_navigation_and_each_document_on_a_page(site, pages):
    def leaves(value):
        return [value] if isinstance(value, str) else [leaf for one in value for leaf in leaves(*one.values())]

    named = [
        leaf for entry in yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"] for leaf in leaves(*entry.values())
    ]
    built = {path.relative_to(site).with_suffix(".md").as_posix() for path in pages} - {"404.md"}
    assert built - set(named) == set()
    for document, page in (("README.md", "index.html"), ("config/README.md", "reference/configuration.html")):
        title = re.search(r"^# (.+)$", (ROOT / document).read_text(encoding="utf-8"), re.MULTILINE)[1]
        assert f">{title}<" in (site / page).read_text(encoding="utf-8")


@pytest.mark.long
def test_lists_are_lists_on_the_site(pages):
    """Python's Markdown takes a list that follows a line of text for text."""
    for path in pages:
        text = re.sub(r"<(pre|code)\b.*?</\1>", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        assert re.findall(r"<p>[^<]*\n- .*", text) == [], path.name


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.name)
def test_pictures_are_small(picture):
    assert 5_000 < picture.stat().st_size < 300_000
    told = [path for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")) if picture.name in path.read_text()]
    assert told


def blocks(document):
    return BLOCK.findall((ROOT / document).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """Results of six slides, for whatever the docs do with them."""
    folder = tmp_path_factory.mktemp("docs")
    (folder / "slides").mkdir()
    slides = {f"case-{number:02}": folder / "slides" / f"case-{number:02}.svs" for number in range(6)}
    for seed, file in enumerate(slides.values()):
        write_svs(file, painted(280, 220, seed))
    return write_cohort(folder / "results", slides, GridSpec(32, level=0))


def run(document, **names):
    """Run the Python of a document, block after block; return what it left."""
    found = blocks(document)
    assert found
    for number, block in enumerate(found):
        exec(compile(block, f"{document}, block {number}", "exec"), names)
    return names


def test_the_blocks_of_the_page_on_training_run(shown, capsys):
    left = run("docs/how-to/training.md", results=str(shown))
    assert list(left["one_slide"].slides) == ["case-01"]
    assert len(left["test"].slides) == 2
    assert len(left["train"].slides) == 4
    assert "right: 0." in capsys.readouterr().out


@pytest.mark.long
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed: pip install torch")
def test_the_network_of_the_page_on_training_is_trained(shown):
    block = next(block for block in blocks("docs/how-to/training.md") if "slidemill.torch" in block)
    names = {}
    exec(compile(block, "docs/how-to/training.md", "exec"), names)
    with open_dataset(shown) as ds:
        network, right = names["train_network"](ds.select(slides=ds.slides[1:]), ds.select(slides=ds.slides[:1]))
    assert 0 < right <= 42
    assert sum(one.numel() for one in network.parameters()) > 1000


def test_the_blocks_of_the_page_on_pictures_run(shown):
    assert run("docs/how-to/pictures.md", results=str(shown))["figure"].axes


def test_the_blocks_of_the_page_on_stores_run(tmp_path, slide_file):
    for backend, encoding in (("lmdb", "zstd"), ("hdf5", "raw"), ("disk", "png")):
        write_cohort(tmp_path, {"one": slide_file}, GridSpec(64, level=0), backend, encoding)
    left = run("docs/reference/stores.md", results=str(tmp_path), slide="one", patch_id="r00003_c00004", size=64)
    with openslide.OpenSlide(slide_file) as slide:
        expected = slide.read_region((4 * 64, 3 * 64), 0, (64, 64)).convert("RGB")
    assert (left["from_lmdb"] == np.asarray(expected)).all()


@pytest.mark.long
def test_notebook_shows_what_it_shows_today(demo_results, monkeypatch):
    """The notebook runs on a new demo, and its text outputs are those that are stored."""
    monkeypatch.setenv("SLIDEMILL_RESULTS", str(demo_results))
    stored = nbformat.read(NOTEBOOK, 4)
    assert make_notebook.texts(make_notebook.run(NOTEBOOK)) == make_notebook.texts(stored), STALE


def test_notebook_has_the_outputs_of_its_code():
    notebook = nbformat.read(NOTEBOOK, 4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), STALE
    assert notebook.metadata["code_digest"] == make_notebook.code_digest(notebook), STALE


def test_notebook_has_small_pictures_and_no_folder_of_a_machine():
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert len(text) < 400_000
    outputs = [output for cell in nbformat.reads(text, 4).cells for output in cell.get("outputs", [])]
    assert sum("image/jpeg" in output.get("data", {}) for output in outputs) >= 4
    said = "".join(make_notebook.texts(nbformat.reads(text, 4)))
    assert "patches of 3 slides" in said
    assert re.findall(r"/(?:tmp|home|root|work)/\S+|\x1b", said) == []
    assert {output.get("name") for output in outputs} <= {None, "stdout"}


def test_messages_that_head_an_entry_are_those_that_one_sees():
    headings = re.findall(r'^## .*"(.+)"', (ROOT / "docs" / "how-to" / "troubleshooting.md").read_text(), re.MULTILINE)
    assert len(headings) > 3
    code = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "scripts").rglob("*.py")))
    told = (code + os.strerror(errno.ENOLCK)).lower()
    assert [text for text in headings if text.lower() not in told] == []


def plain_signature(function):
    """A function's signature without annotations and `self`."""
    parameters = [
        one.replace(annotation=one.empty)
        for one in inspect.signature(function).parameters.values()
        if one.name != "self"
    ]
    return str(inspect.Signature(parameters)).replace("'", '"')


def test_the_page_on_python_has_every_function_as_it_is():
    text = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    public_functions = [getattr(slidemill, name) for name in slidemill.__all__ if name[0] != "_"]
    own = [function for name, function in vars(show).items() if inspect.isfunction(function) and name[0] != "_"]
    wanted = [f"{one.__name__}{plain_signature(one)}" for one in own if one.__module__ == show.__name__]
    wanted += [f"slidemill.{one.__name__}{plain_signature(one)}" for one in public_functions]
    for kind, name in ((Dataset, "ds"), (Store, "store")):
        public = {member for member in dir(kind) if member[0] != "_"}
        wanted += [f"{name}.{member}" for member in public - {"index_digest", "stored_ids", "stored"}]
    methods = (
        Dataset.select,
        Dataset.take,
        Dataset.read,
        Dataset.batches,
        Store.read,
        Store.read_many,
        Store.read_into,
        Store.view,
    )
    wanted += [f"{one.__name__}{plain_signature(one)}" for one in methods]
    assert len(wanted) > 25
    assert [one for one in wanted if one not in text] == []


def test_notebook_is_plain_json():
    text = NOTEBOOK.read_text(encoding="utf-8")
    notebook = nbformat.reads(text, 4)
    nbformat.validate(notebook)
    assert len([cell for cell in notebook.cells if cell.cell_type == "code"]) > 8
    assert text == json.dumps(json.loads(text), indent=1, ensure_ascii=False) + "\n"
