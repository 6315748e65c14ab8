"""How the code hangs together: imports, dependencies, sizes, and the digest of a script's code."""

import ast
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "scripts"
PACKAGE = SCRIPTS / "slidemill"
SCRIPT_NAMES = sorted(path.stem for path in SCRIPTS.glob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
LOCKS = {
    "requirements.lock": PROJECT["dependencies"] + EXTRAS["workflow"],
    "requirements-test.lock": PROJECT["dependencies"] + EXTRAS["workflow"] + EXTRAS["test"],
}
WORKFLOW = [ROOT / "workflow/Snakefile", *sorted((ROOT / "workflow/rules").glob("*.smk"))]
RULE_SCRIPTS = sorted(
    set(
        re.findall(
            r"scripts/(\w+)\.py\"",
            "".join(path.read_text(encoding="utf-8") for path in WORKFLOW),
        )
    )
)
PUBLIC_AS_IT_IS = [("slidemill/datasets/dataset.py: batches", 8), ("slidemill/torch.py: __init__", 8)]
"""`Dataset.batches` and `PatchStream`: users may give all their parameters by position, as the docs say."""
CONDA_NAMES = {
    "opencv-python-headless": "py-opencv",
    "lmdb": "python-lmdb",
    "xxhash": "python-xxhash",
    "matplotlib": "matplotlib-base",
}
PIP_ALONE = {"openslide-bin"}  # conda's openslide-python brings the library itself
HEAVY = ("openslide", "h5py", "lmdb", "pandas", "matplotlib")
LIBRARIES = (*HEAVY, "numpy", "cv2", "shapely", "tifffile", "pyarrow", "jsonschema", "pydantic")
NEEDED = {
    "discover_slides": {"openslide"},
    "sample_patches": {"openslide", "numpy", "cv2"},
    "write_metadata": {"openslide", "numpy", "shapely"},
    "store_patches": {"openslide", "numpy"},
    "validate_stores": {"openslide", "numpy"},
    "draw_slide": {"openslide", "numpy", "shapely"},
    "embed_patches": {"openslide", "numpy", "h5py"},
}
"""What the scripts of one slide load before they know their job; on small slides, that is most of a job's time."""


def module_name(path):
    parts = path.relative_to(SCRIPTS).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@cache
def parsed(name):
    return ast.parse(MODULES[name].read_bytes())


@cache
def import_statements(name):
    return [node for node in ast.walk(parsed(name)) if isinstance(node, ast.Import | ast.ImportFrom)]


def imported_names(node):
    """Return what an import statement may import, in full: modules, and what may be modules in a package."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]


def run(code, **variables):
    """Return what Python prints, in a process of its own that finds the package."""
    command = [sys.executable, "-c", code]
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS)} | variables
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_imports_are_absolute():
    """`code_digest` follows no others."""
    nodes = [(name, node) for name in MODULES for node in import_statements(name)]
    assert [name for name, node in nodes if isinstance(node, ast.ImportFrom) and node.level] == []


def test_package_imports_no_script():
    """What else may import what is in pyproject.toml, as contracts of import-linter."""
    found = {
        (name, target)
        for name in MODULES
        for node in import_statements(name)
        for target in imported_names(node)
        if target.split(".")[0] in SCRIPT_NAMES
    }
    assert found == set()


def test_contract_names_the_snakefiles_imports():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (own,) = (contract for contract in contracts if "Snakefile" in contract["name"])
    rules = "".join(path.read_text(encoding="utf-8") for path in WORKFLOW)
    assert own["source_modules"] == sorted(set(re.findall(r"^from (slidemill[\w.]*) import", rules, re.MULTILINE)))


def test_folders_and_modules_are_small():
    folders = {path.parent: [] for path in MODULES.values()}
    for path in MODULES.values():
        folders[path.parent].append(path)
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 300, path
    for folder, paths in folders.items():
        assert len(paths) <= (8 if folder == PACKAGE else 20), folder


def test_modules_of_one_folder_are_private():
    """What only its own folder imports begins with an underscore; formats and backends do not."""
    named = {f"slidemill.annotations.{name}" for name in ("asap", "geojson", "halo", "imagescope", "label_image_file")}
    named |= {f"slidemill.stores.{name}" for name in ("disk", "hdf5", "lmdb", "tar", "zarr")}
    outside = [*SCRIPTS.glob("*.py"), *ROOT.glob("benchmarks/*.py"), *WORKFLOW]
    imports = {path: set(re.findall(r"slidemill[\w.]*", path.read_text(encoding="utf-8"))) for path in outside}
    imports |= {
        path: {target for node in import_statements(name) for target in imported_names(node)}
        for name, path in MODULES.items()
    }
    public = [name for name, path in MODULES.items() if path.parent != PACKAGE and path.name != "__init__.py"]
    wrong = [
        name
        for name in public
        if name not in named
        and not any(name in own for path, own in imports.items() if path.parent != MODULES[name].parent)
        and not MODULES[name].stem.startswith("_")
    ]
    assert wrong == []


def test_the_snakefile_loads_no_heavy_library():
    """Each job of a cluster reads the Snakefile again."""
    rules = "".join(path.read_text(encoding="utf-8") for path in WORKFLOW)
    imports = re.findall(r"^from slidemill[\w.]* import .+$", rules, re.MULTILINE)
    assert len(imports) == 16
    code = "\n".join([*imports, "import sys", f"print([name for name in {HEAVY} if name in sys.modules])"])
    assert run(code).strip() == "[]"


def test_the_package_itself_loads_none_either_until_asked():
    code = f"import slidemill, sys; print([name for name in {(*HEAVY, 'numpy')} if name in sys.modules])"
    assert run(code).strip() == "[]"
    assert run("import slidemill; print(slidemill.open_store.__name__, slidemill.read_metadata.__name__)").split() == [
        "open_store",
        "read_metadata",
    ]


@pytest.mark.cases
@pytest.mark.parametrize("script", NEEDED)
def test_script_starts_without_libraries_it_may_not_need(script):
    loaded = run(f"import {script}, sys; print(*[name for name in {LIBRARIES} if name in sys.modules])").split()
    assert set(loaded) <= NEEDED[script]


def test_no_job_loads_pydantic():
    """The configuration is checked in Snakemake's process; scripts take its values."""
    rules = "".join(path.read_text(encoding="utf-8") for path in WORKFLOW)
    scripts = sorted(set(re.findall(r"scripts/(\w+)\.py", rules)))
    assert set(NEEDED) < set(scripts)
    code = "; ".join([f"import {', '.join(scripts)}", "import sys", "print('pydantic' in sys.modules)"])
    assert run(code).strip() == "False"


def test_listing_slides_loads_no_jsonschema():
    assert run("import slidemill.runs.planning, sys; print('jsonschema' in sys.modules)").strip() == "False"


def test_registry_loads_only_the_backend_asked_for():
    code = "from slidemill.stores.registry import STORES; import sys; STORES['disk']; print(*sys.modules)"
    loaded = set(run(code).split())
    assert "slidemill.stores.disk" in loaded
    assert not loaded & {"h5py", "lmdb", "slidemill.stores.tar"}


def test_registry_has_every_backend_by_its_name():
    code = "from slidemill.stores.registry import STORES; print(*[f'{key}={own.name}' for key, own in STORES.items()])"
    suffixes = run("from slidemill.core.results_layout import SUFFIXES; print(*SUFFIXES)").split()
    assert run(code).split() == [f"{name}={name}" for name in suffixes]


def versions(requirements):
    return {canonicalize_name(one.name): str(one.specifier) for one in map(Requirement, requirements)}


def test_the_conda_environment_is_the_projects():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    wanted = {
        CONDA_NAMES.get(name, name): version
        for name, version in versions(LOCKS["requirements.lock"]).items()
        if name not in PIP_ALONE
    }
    assert versions(environment["dependencies"]) == wanted | {"python": PROJECT["requires-python"]}


def locked(name):
    """Return a lock file's requirements with their lines of hashes, by name."""
    text = (ROOT / name).read_text(encoding="utf-8")
    lines = [line for line in text.replace("\\\n", "").splitlines() if line and not line.lstrip().startswith("#")]
    pins = [line.split(" --hash=") for line in (" ".join(line.split()) for line in lines)]
    return {canonicalize_name(Requirement(pin).name): (Requirement(pin), hashes) for pin, *hashes in pins}


@pytest.mark.parametrize("name", LOCKS)
def test_locks_pin_every_requirement_with_a_hash_and_name_no_url(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"^\s*-(i|f|e|-\S*index\S*|-find\S*)\b", text, re.MULTILINE)
    lock = locked(name)
    assert len(lock) > 20
    for requirement, hashes in lock.values():
        assert re.fullmatch(r"==[^*,]+", str(requirement.specifier)), requirement
        assert requirement.url is None
        assert hashes, requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", value) for value in hashes), requirement


@pytest.mark.parametrize("name", LOCKS)
def test_locks_hold_every_dependency_in_a_version_that_is_allowed(name):
    lock = locked(name)
    for wanted in map(Requirement, LOCKS[name]):
        assert canonicalize_name(wanted.name) in lock, wanted
        pin = lock[canonicalize_name(wanted.name)][0]
        assert wanted.specifier.contains(next(iter(pin.specifier)).version), f"{pin} is not {wanted}"


def test_tests_run_with_the_versions_that_runs_have():
    plain, test = locked("requirements.lock"), locked("requirements-test.lock")
    # Versions alone: what tests need beside may want a package on more systems than runs do.
    pinned = {name: str(pin.specifier) for name, (pin, _) in plain.items()}
    assert {name: str(test[name][0].specifier) for name in plain} == pinned


@pytest.mark.parametrize(
    "path",
    [*sorted(SCRIPTS.glob("*.py")), *WORKFLOW],
    ids=lambda path: path.name,
)
def test_scripts_and_rules_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) < (200 if path.suffix == ".smk" else 80)


def test_rule_files_are_few():
    assert len(WORKFLOW) <= 7


def test_scripts_of_rules_are_wiring():
    """What a stage does is in the package, where tests call it without Snakemake."""
    assert len(RULE_SCRIPTS) == 16
    for script in RULE_SCRIPTS:
        text = (SCRIPTS / f"{script}.py").read_text(encoding="utf-8")
        assert len(text.splitlines()) < 25, script
        assert not re.search(r"^ *(def|class) ", text, re.MULTILINE), script
        assert "with script_job(snakemake) as job:" in text, script


def functions():
    """Yield each function of the package and the scripts: where it is, by name, and its parameters but ``self``."""
    trees = {path: ast.parse(path.read_bytes()) for path in SCRIPTS.glob("*.py")}
    for path, tree in (trees | {path: parsed(name) for name, path in MODULES.items()}).items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                own = [one.arg for one in (*node.args.posonlyargs, *node.args.args)]
                positional = own[1:] if own[:1] in (["self"], ["cls"]) else own
                yield f"{path.relative_to(SCRIPTS)}: {node.name}", positional, node.args.kwonlyargs


def test_functions_have_at_most_six_parameters():
    wrong = [(name, len(positional)) for name, positional, named in functions() if len(positional) + len(named) > 6]
    assert wrong == PUBLIC_AS_IT_IS


class Copy:
    """A copy of the scripts and the package, to be edited; each state of a file is parsed once."""

    def __init__(self, folder):
        self.scripts, self.before, self.parsed = folder / "scripts", {}, {}
        shutil.copytree(SCRIPTS, self.scripts, ignore=shutil.ignore_patterns("__pycache__"))
        location = self.scripts / "slidemill/runs/_code_digest.py"
        spec = importlib.util.spec_from_file_location("copied_provenance", location)
        self.provenance = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.provenance)
        self.parse, self.provenance._parse_once = self.provenance._parse_once.__wrapped__, self.parse_once

    def parse_once(self, path):
        state = path, path.read_bytes()
        if state not in self.parsed:
            self.parsed[state] = self.parse(path)
        return self.parsed[state]

    def digest(self, script="sample_patches"):
        return self.provenance.code_digest(self.scripts / f"{script}.py")

    def digests(self):
        return {name: self.digest(name) for name in SCRIPT_NAMES}

    def write(self, name, text):
        self.before.setdefault(name, (self.scripts / name).read_text(encoding="utf-8"))
        (self.scripts / name).write_text(text, encoding="utf-8")

    def edit(self, name, old, new):
        text = (self.scripts / name).read_text(encoding="utf-8")
        assert old in text
        self.write(name, text.replace(old, new, 1))

    def append(self, name, code="\nCHANGED = True\n"):
        self.write(name, (self.scripts / name).read_text(encoding="utf-8") + code)

    def restore(self):
        while self.before:
            name, text = self.before.popitem()
            (self.scripts / name).write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def one_copy(tmp_path_factory):
    return Copy(tmp_path_factory.mktemp("copy"))


@pytest.fixture
def copied(one_copy):
    yield one_copy
    one_copy.restore()


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("sample_patches.py", "from slidemill", "# a comment\n\n\nfrom slidemill"),
        ("sample_patches.py", '"""', '"""A sentence. '),
        ("slidemill/slides/grid.py", '"""', '"""A sentence. '),
        ("slidemill/slides/grid.py", '    """', '    """A sentence. '),
        ("slidemill/errors.py", "class SlideError", "# a comment\nclass SlideError"),
        ("slidemill/core/columns.py", '("patch_id", "slide",', '("patch_id",\n     "slide",'),
    ],
)
def test_comments_docstrings_and_layout_do_not_change_the_digest(copied, name, old, new):
    before = copied.digest()
    copied.edit(name, old, new)
    assert copied.digest() == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("sample_patches.py", "as job:", "as one:"),
        ("slidemill/stages/sample.py", 'STAGE = "sample_patches"', 'STAGE = "sample_patchez"'),
        ("slidemill/slides/patch_table.py", '"mpp": mpp,', '"mpp": "",'),
        ("slidemill/errors.py", "class SlideError(SlidemillError)", "class SlideError(Exception)"),
        ("slidemill/core/files.py", "import json", "import json, re"),
    ],
    ids=["the script", "its stage", "a module that it imports", "a module of a module", "another"],
)
def test_code_changes_the_digest_in_whatever_module_is_imported(copied, name, old, new):
    before = copied.digest()
    copied.edit(name, old, new)
    assert copied.digest() != before


@pytest.mark.parametrize("name", ["slidemill/report/html_report.py", "slidemill/stores/lmdb.py", "store_patches.py"])
def test_modules_that_are_not_imported_do_not_change_the_digest(copied, name):
    before = copied.digest()
    copied.edit(name, "import", "import re\nimport") if name.endswith("lmdb.py") else (
        copied.write(name, "CHANGED = True\n")
    )
    assert copied.digest() == before


def test_code_digest_follows_parent_packages(copied):
    before = copied.digests()
    copied.append("slidemill/stores/__init__.py")
    after = copied.digests()
    assert after["store_patches"] != before["store_patches"]
    assert after["discover_slides"] == before["discover_slides"]


def test_code_digest_ignores_imports_for_types_alone(copied):
    name = "slidemill/stages/sample.py"
    before = copied.provenance._parse_once(copied.scripts / name)[1]
    for test, is_run in (("TYPE_CHECKING", False), ("ELSEWHERE", True)):
        copied.append(name, f"\nif {test}:\n    from slidemill.report.plots import draw_benchmark\n")
        assert (len(copied.provenance._parse_once(copied.scripts / name)[1]) > len(before)) == is_run
        copied.restore()


def test_code_digest_rejects_unknown_modules(copied):
    with pytest.raises(ValueError, match=r"^slidemill\.stores\.lmbd: the package has no such module"):
        copied.provenance.code_digest(copied.scripts / "store_patches.py", ["slidemill.stores.lmbd"])


@pytest.mark.cases
@pytest.mark.parametrize(
    ("stage", "scripts"),
    [
        ("benchmark", ["benchmark_stores", "estimate_stores"]),
        ("discover", ["discover_slides"]),
        ("draw", ["draw_slide"]),
        ("embed", ["embed_patches"]),
        ("gate", ["gate"]),
        ("gather", ["gather_results"]),
        ("job", RULE_SCRIPTS),
        ("label", ["write_metadata"]),
        ("report", ["render_report"]),
        ("sample", ["sample_patches"]),
        ("space", ["check_space"]),
        ("split", ["split_slides"]),
        ("store", ["store_patches", "validate_stores"]),
        ("validate", ["validate_stores"]),
    ],
)
def test_edit_of_a_stage_changes_its_scripts(copied, stage, scripts):
    """A stage imports no other, or an edit of one would run both again."""
    before = copied.digests()
    copied.append(f"slidemill/stages/{stage}.py")
    after = copied.digests()
    assert [script for script in SCRIPT_NAMES if after[script] != before[script]] == scripts


def test_the_report_changes_the_digest_of_the_script_that_renders_it_alone(copied):
    before = copied.digests()
    copied.append("slidemill/report/html_report.py")
    after = copied.digests()
    assert [script for script in SCRIPT_NAMES if after[script] != before[script]] == ["render_report"]


def test_imports_within_functions_change_the_digest(copied):
    before = copied.digest()
    copied.edit(
        "slidemill/stages/sample.py",
        "    found = read_outcome(job.facts)",
        "    import slidemill.report.html_report\n    found = 1",
    )
    with_report = copied.digest()
    copied.append("slidemill/report/html_report.py")
    assert len({before, with_report, copied.digest()}) == 3


@pytest.mark.long
def test_the_digest_does_not_depend_on_where_the_code_lies(copied, tmp_path):
    assert copied.digests() == Copy(tmp_path / "elsewhere").digests()


@pytest.mark.long
def test_the_digest_is_the_same_in_every_process():
    """Python's hashes of strings differ between processes, and the order of a set with them."""
    code = (
        "import json, pathlib, slidemill.runs._code_digest as provenance\n"
        "scripts = sorted(pathlib.Path('scripts').glob('*.py'))\n"
        "print(json.dumps({script.stem: provenance.code_digest(script) for script in scripts}))"
    )
    digests = [json.loads(run(code, PYTHONHASHSEED=str(seed))) for seed in range(6)]
    assert digests[0].keys() == set(SCRIPT_NAMES)
    changing = [script for script in SCRIPT_NAMES if len({digest[script] for digest in digests}) > 1]
    assert changing == []


KEPT_DIGESTS = """
import ast, importlib.util, json, os, pathlib

folder = pathlib.Path(os.environ["COPY"])
spec = importlib.util.spec_from_file_location("provenance", folder / "slidemill/runs/_code_digest.py")
provenance = importlib.util.module_from_spec(spec)
spec.loader.exec_module(provenance)
parsed, parse = [], ast.parse
ast.parse = lambda data: parsed.append(data) or parse(data)
print(json.dumps([provenance.code_digest(folder / "sample_patches.py"), len(parsed)]))
"""


@pytest.fixture
def started(tmp_path):
    """A copy of the scripts from yesterday, and a function for its digest in a new process, and how much was parsed."""
    folder = tmp_path / "scripts"
    shutil.copytree(SCRIPTS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for path in folder.rglob("*.py"):
        os.utime(path, ns=(0, path.stat().st_mtime_ns - 86_400 * 10**9))
    return folder, lambda: json.loads(run(KEPT_DIGESTS, COPY=str(folder)))


@pytest.mark.long
def test_code_digest_parses_changed_files_only(started):
    folder, digest = started
    before, parsed = digest()
    assert parsed > 20
    assert digest() == [before, 0]
    grid = folder / "slidemill/slides/grid.py"
    grid.write_text(grid.read_text(encoding="utf-8") + "\nCHANGED = True\n", encoding="utf-8")
    after, parsed = digest()
    assert (after != before, parsed) == (True, 1)
    # A second edit may be within the clock's step: what is that young is parsed each time.
    assert digest() == [after, 1]


@pytest.mark.long
@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"by": 1, "files": {}}'])
def test_code_digest_survives_damaged_memory(started, content):
    folder, digest = started
    before, parsed = digest()
    (kept,) = (folder / "__pycache__").glob("code_digest.*.json")
    whole = kept.read_text()
    kept.write_text(content)
    assert digest() == [before, parsed]
    # One changed digit of a digest would otherwise run jobs again.
    place = whole.index('"', whole.index("]", whole.index("[["))) + 1
    for other in (whole.replace("[[", "[1, [", 1), whole[:place] + "0f"[whole[place] == "0"] + whole[place + 1 :]):
        kept.write_text(other)
        assert digest() == [before, parsed]


def test_code_digest_sees_edits_that_set_the_time_back(started):
    """As of archives whose files all have one time, and of copies that keep it."""
    folder, digest = started
    before, _ = digest()
    grid = folder / "slidemill/slides/grid.py"
    status, text = grid.stat(), grid.read_text(encoding="utf-8")
    grid.write_text(text.replace("100_000", "200_000"), encoding="utf-8")
    os.utime(grid, ns=(0, status.st_mtime_ns))
    assert (grid.stat().st_size, grid.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    after, parsed = digest()
    assert (after != before, parsed) == (True, 1)


@pytest.mark.long
def test_code_digest_needs_no_memory(started):
    """In a folder that may not be written, or is told to keep nothing."""
    folder, digest = started
    before, parsed = digest()
    shutil.rmtree(folder / "__pycache__")
    (folder / "__pycache__").touch()
    assert digest() == digest() == [before, parsed]
