"""Nothing of a user's becomes code, leaves the results, or is more than text on the report's page."""

import ast
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from PIL import Image

from slidemill.core.columns import SLIDE_COLUMNS, UNREADABLE_COLUMNS, VALIDATION_COLUMNS
from slidemill.core.outcomes import Outcome, read_outcome
from slidemill.core.pyramid import SlideInfo
from slidemill.core.results_layout import SUFFIXES, store_file, store_path
from slidemill.core.stage_facts import LabelFacts
from slidemill.errors import ConfigError, SlidemillError
from slidemill.report.html_report import Pictures, ReportData, render
from slidemill.report.versions import Run
from slidemill.slides.discovery import find_slides
from slidemill.slides.sample_sheet import read_sheet
from tests.conftest import ROOT

pytestmark = pytest.mark.cases

CODE = sorted((ROOT / "scripts").rglob("*.py"))
RULES = [ROOT / "workflow" / "Snakefile", *sorted((ROOT / "workflow" / "rules").glob("*.smk"))]
SCHEMA = yaml.safe_load((ROOT / "workflow/schemas/slides.schema.yaml").read_text(encoding="utf-8"))
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "jsonpickle"}
FORBIDDEN_CALLS = {
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen", "subprocess.getoutput"),
    *("subprocess.getstatusoutput", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "numpy.load", "np.load"),
    *("pandas.read_pickle", "pd.read_pickle", "pandas.eval", "pd.eval", "tempfile.mktemp"),
}


def imports_nothing_from_pickles(tree):
    """Whether all use of pickle is as `pickle.Unpickler`, the base of a class that finds classes by itself."""
    bases = [base for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for base in node.bases if finds(node)]
    uses = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == "pickle"]
    safe = [base.value for base in bases if ast.unparse(base) == "pickle.Unpickler"]
    return bool(uses) and all(use in safe for use in uses)


def finds(node):
    """Whether a class finds classes by a method of its own, which does not go on to the one that imports them."""
    methods = [part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "find_class"]
    return bool(methods) and "super" not in ast.unparse(node) and "__import__" not in ast.unparse(node)


def dangers(source):
    """What a piece of Python does that names or files from elsewhere could take hold of."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            if ast.unparse(node) == "import pickle" and imports_nothing_from_pickles(tree):
                continue
            yield from (name for name in names if name.split(".")[0] in FORBIDDEN_MODULES)
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in FORBIDDEN_CALLS:
                yield name
            for keyword in node.keywords:
                allowed = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                if keyword.arg in ("shell", "allow_pickle") and not allowed:
                    yield f"{name}({keyword.arg}={ast.unparse(keyword.value)})"


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import pickle\npickle.loads(data)",
        "import pickle as other\nother.loads(data)",
        "import pickle\npickle.Unpickler(file).load()",
        "import pickle\nclass Own(pickle.Unpickler): pass",
        "import pickle\nclass Own(pickle.Unpickler):\n def find_class(self, *a): return super().find_class(*a)",
        "import pickle\nclass Own(pickle.Unpickler):\n def find_class(self, *a): return {}[a]\npickle.loads(data)",
        "from pickle import Unpickler",
        "from pickle import loads",
        "eval(name)",
        "subprocess.run(command, shell=True)",
        "subprocess.run(command, shell=asked)",
        "os.system(f'rm {name}')",
        "yaml.load(file)",
        "np.load(path)",
        "read(path, allow_pickle=True)",
    ],
)
def test_dangers_are_seen(source):
    assert list(dangers(source))


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_code_runs_nothing_that_it_reads(path):
    assert list(dangers(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.name)
def test_rules_run_scripts_and_no_shell(path):
    """A script gets names as values; a shell command would be made of them."""
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"^\s*(shell|run)\s*:", text, re.MULTILINE)
    assert not re.search(r"\b(eval|exec|os\.system|subprocess|pickle)\b|yaml\.load\b", text)
    writing = len(re.findall(r"^\s*output:$", text, re.MULTILINE))
    assert len(re.findall(r"^\s*script:$", text, re.MULTILINE)) + text.count("touch(") >= writing


def sheet_of(folder, slide, path="a.svs"):
    sheet = folder / "sheet.csv"
    sheet.write_text(f'slide,path\n"{slide}","{path}"\n', encoding="utf-8")
    return sheet


def lies_below(path, results):
    """Whether a path, relative to the results as in every rule, lies in them, dots and all resolved."""
    return (results / path).resolve().is_relative_to(results.resolve())


BAD_IDS = [
    "../../x",
    "..",
    ".",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "../a",
    "a/../../b",
    "~",
    "-rf",
    ".hidden",
    "a\nb",
    "a b",
]
BAD_IDS += ["", "$(id)", "{slide}", "a;b", "a\0b", "x" * 101, "ä"]


@pytest.mark.parametrize("slide", BAD_IDS)
def test_no_id_of_a_sheet_leads_out_of_the_results(tmp_path, slide):
    with pytest.raises(ConfigError):
        read_sheet(sheet_of(tmp_path, slide), SCHEMA, frozenset())


@pytest.mark.parametrize("slide", ["a", "a..", "a...b", "A-1", "con", "x" * 100, "manifest.json", "0.aside"])
@pytest.mark.parametrize("backend", SUFFIXES)
def test_ids_that_may_be_stand_in_the_results(tmp_path, slide, backend):
    (found,) = read_sheet(sheet_of(tmp_path, slide), SCHEMA, frozenset())
    for path in (store_path(backend, found.slide), store_file(backend, found.slide), Path("slides", f"{slide}.json")):
        assert lies_below(path, tmp_path)
        assert lies_below(path.parent, tmp_path)
        assert path.name != ".."


@pytest.mark.parametrize("path", ["../../x.svs", "/etc/passwd", "a/../../../x.svs", "$(touch x).svs", "{slide}.svs"])
def test_a_slides_own_path_names_nothing_that_is_written(tmp_path, path):
    (found,) = read_sheet(sheet_of(tmp_path, "a", path), SCHEMA, frozenset())
    assert found.slide == "a"


@pytest.mark.parametrize("name", ["$(id).svs", "a;b.svs", "-rf.svs", "a\nb.svs", "{x}.svs", "ä.svs"])
def test_ids_of_slides_that_are_found_are_safe_whatever_their_names(tmp_path, name):
    (tmp_path / "slides").mkdir()
    (tmp_path / "slides" / name).touch()
    (found,) = find_slides(tmp_path / "slides")
    assert re.fullmatch(SCHEMA["properties"]["slide"]["pattern"], found.slide)
    assert all(lies_below(store_path(backend, found.slide), tmp_path) for backend in SUFFIXES)


EVIL = "<script>alert('x')</script><img src=x onerror=alert(1)>\"'&{{ 7 * 7 }}</pre></td>"


class Page(HTMLParser):
    """The tags of a page, and those of their attributes that run or fetch something."""

    def __init__(self):
        super().__init__()
        self.tags, self.active = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            fetched = name in ("src", "href") and not (value or "").startswith(("data:image/", "#"))
            if name.startswith("on") or fetched or "javascript:" in (value or ""):
                self.active.append((tag, name, value))


def rendered(folder, **changed):
    """The report of one slide, with one field of it changed."""
    for name in ("plot.png", "own.jpg"):
        Image.new("RGB", (8, 8)).save(folder / name)
    fields = {name: changed.get(name, "x") for name in ("name", "label", "note", "command", "parameter", "version")}
    row = dict.fromkeys(SLIDE_COLUMNS, "") | {"status": "failed", "message": "x", "stage": "x"}
    row |= {"patches": "0", "slide": fields["name"]}
    row |= {key.removeprefix("slides_"): value for key, value in changed.items() if key.startswith("slides_")}
    finding = dict.fromkeys(VALIDATION_COLUMNS, "x") | {"status": "failed", "checked": "1"}
    finding |= {key.removeprefix("checks_"): value for key, value in changed.items() if key.startswith("checks_")}
    broken = dict.fromkeys(UNREADABLE_COLUMNS, "1")
    broken |= {
        key.removeprefix("unreadable_"): value for key, value in changed.items() if key.startswith("unreadable_")
    }
    labels = LabelFacts(counts={fields["label"]: 2}, unmapped=[fields["label"]], notes=[fields["note"]])
    measured = [
        {"source": "lmdb", "encoding": "raw", "measure": "random", "workers": "0", "cache": "cold", "unit": unit}
        | {"median": "1", "low": "1", "high": "1", "repeats": "1", "note": fields["note"]}
        for unit in ("patches/s", "bytes")
    ]
    run = Run(
        {"labels": {"map": {fields["label"]: 1}, "outside": fields["parameter"]}, "seed": fields["parameter"]},
        {"slidemill": fields["version"], "Python": fields["version"]},
        fields["command"],
        "today",
    )
    own = Pictures(folder / "own.jpg", folder / "own.jpg")
    outcome = Outcome(fields["name"], "write_metadata", labels=labels)
    page = folder / "report.html"
    data = ReportData(
        slides=[row],
        stored=[],
        validation=[finding],
        measured=measured,
        outcomes=[outcome],
        label_map={},
        pictures={fields["name"]: own},
        run=run,
        unreadable=[broken],
    )
    render(page, data)
    return page.read_text(encoding="utf-8")


FIELDS = [
    *("name", "label", "note", "command", "parameter", "version"),
    *(f"slides_{name}" for name in ("slide", "path", "message", "stage", "vendor", "reader", "reader_reason", "mpp_x")),
    *(f"checks_{name}" for name in ("slide", "backend", "check", "message")),
    *(f"unreadable_{name}" for name in ("slide", "patch_id", "reason", "x0")),
]


@pytest.mark.parametrize("field", FIELDS)
def test_what_a_user_names_is_text_on_the_report(tmp_path, field):
    plain, page = Page(), Page()
    # A slide shows its id next to its path, if it has one.
    plain.feed(rendered(tmp_path, **({field: "y"} if field == "slides_path" else {})))
    text = rendered(tmp_path, **{field: EVIL})
    page.feed(text)
    assert page.tags == plain.tags
    assert page.active == []
    assert "&lt;script&gt;alert(&#39;x&#39;)" in text
    assert "{{ 7 * 7 }}" in text


@pytest.mark.parametrize(
    "value",
    [
        *([], 5, "text", None, {}, {"slide": "a"}, {"slide": 5, "stage": "x"}, {"slide": "a", "stage": []}),
        *({"slide": "a", "stage": "x", "details": 5}, {"slide": "a", "stage": "x", "details": []}),
        *({"slide": "a", "stage": "x", "status": "well"}, {"slide": "a", "stage": "x", "message": None}),
        {"slide": "a", "stage": "x", "more": 1},
    ],
)
def test_an_outcome_with_a_value_of_another_kind_is_refused_in_words(tmp_path, value):
    path = tmp_path / "outcome.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    with pytest.raises(SlidemillError, match="remove it and run again"):
        read_outcome(path)


INFO = {
    "vendor": "aperio",
    "dimensions": [[10, 10]],
    "downsamples": [1.0],
    "bounds": None,
    "mpp_x": None,
    "mpp_y": 0.5,
    "objective_power": 20,
    "background": "ffffff",
}


@pytest.mark.parametrize(
    "change",
    [
        *({"dimensions": 5}, {"dimensions": [5]}, {"dimensions": [["a", "b"]]}, {"dimensions": [[1, 2, 3]]}),
        *({"dimensions": []}, {"downsamples": None}, {"downsamples": ["1"]}, {"downsamples": [1.0, 2.0]}),
        *({"bounds": 7}, {"bounds": [1]}, {"mpp_x": "0.5"}, {"background": 1}, {"vendor": None}, {"more": 1}),
    ],
)
def test_facts_of_another_kind_are_refused_in_words(change):
    SlideInfo.from_json(INFO)
    with pytest.raises(SlidemillError, match="remove it and run again"):
        SlideInfo.from_json(INFO | change)


@pytest.mark.parametrize("missing", INFO)
def test_facts_that_are_missing_too(missing):
    with pytest.raises(SlidemillError, match="remove it and run again"):
        SlideInfo.from_json({key: value for key, value in INFO.items() if key != missing})
