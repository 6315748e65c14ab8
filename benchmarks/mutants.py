"""Change one operator of the package at a time, and list the changes that no quick test notices.

    python -m benchmarks.mutants --number 150 --seed 1

A mutant replaces a comparison, an arithmetic operator, `and` or `or`, or drops a `not`. Mutants are written into a copy
of the tree. Each runs the quick tests that name its module first, then the rest of its folder's tests, then, with
`--rest`, all other quick tests but those that start Snakemake. A failed test counts only where it passes without the
mutant. Results are kept, so that a run that is ended goes on where it was.
"""

import argparse
import ast
import copy
import importlib
import json
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = Path("scripts", "slidemill")
COPIED = ("benchmarks", "config", "docs", "scripts", "tests", "workflow")
SLOW = {"browser", "cluster", "fuzz", "project", "torture", "workflow"}
"""Folders of tests that no mutant runs, unless they are its module's own."""
ALSO = {"stages": "faults"}
"""Folders of tests that test a folder of the package besides the one of its name."""
LOADED = ("cv2", "h5py", "hypothesis", "imagecodecs", "lmdb", "matplotlib.figure", "numpy", "openslide", "pandas")
"""Libraries that tests need, loaded once and inherited by each mutant's process."""
SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.And: ast.Or,
    ast.Or: ast.And,
}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of one module, and what became of it."""

    number: int
    module: str
    line: int
    before: str
    after: str
    outcome: str = ""
    test: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Site:
    """A node of a module that can be replaced: its place in bytes of the source, and what takes its place."""

    module: Path
    node: ast.expr
    mutated: ast.expr


def sites(module: Path, tree: ast.AST) -> Iterator[Site]:
    """Yield what can be changed in a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield Site(module, node, node.operand)
        elif isinstance(node, ast.Compare):
            for place, op in enumerate(node.ops):
                if swap := SWAPS.get(type(op)):
                    mutated = copy.deepcopy(node)
                    mutated.ops[place] = swap()  # type: ignore[call-overload]
                    yield Site(module, node, mutated)
        elif isinstance(node, ast.BinOp | ast.BoolOp) and (swap := SWAPS.get(type(node.op))):
            changed = copy.deepcopy(node)
            changed.op = swap()  # type: ignore[assignment]
            yield Site(module, node, changed)


def draw(root: Path, number: int, seed: int) -> list[Site]:
    """Draw sites: one of each module before a second of any, and the folders in proportion from the first on."""
    generator = random.Random(seed)  # noqa: S311
    folders: dict[Path, list[list[Site]]] = defaultdict(list)
    for path in sorted((root / PACKAGE).rglob("*.py")):
        found = list(sites(path.relative_to(root), ast.parse(path.read_bytes())))
        generator.shuffle(found)
        if found:
            folders[path.parent].append(found)
    keyed: list[tuple[float, int, Site]] = []
    for modules in folders.values():
        generator.shuffle(modules)
        longest = max(map(len, modules))
        turns = [one[turn] for turn in range(longest) for one in modules if turn < len(one)]
        keyed += [((place + generator.random()) / len(modules), len(keyed), one) for place, one in enumerate(turns)]
    return [one for *_, one in sorted(keyed, key=lambda key: key[:2])][:number]


def mutated_source(source: bytes, site: Site) -> bytes:
    """Return the source with the site replaced and all else as it was."""
    lines = source.splitlines(keepends=True)
    node = site.node
    assert node.end_lineno is not None and node.end_col_offset is not None
    start = sum(map(len, lines[: node.lineno - 1])) + node.col_offset
    end = sum(map(len, lines[: node.end_lineno - 1])) + node.end_col_offset
    return source[:start] + f"({ast.unparse(site.mutated)})".encode() + source[end:]


def stages(root: Path, module: Path, rest: bool) -> list[list[str]]:
    """Return the test files of a module, stage by stage: those that name it, its folder's, and the rest."""
    folder, dotted = module.parent.name, ".".join(module.with_suffix("").parts[1:]).removesuffix(".__init__")
    package = dotted.rpartition(".")[0] or dotted
    words = [f"{dotted}{end}" for end in (" ", "\n", ".")] + [f"from {package} import {module.stem}\n"]
    files = [path.relative_to(root) for path in sorted((root / "tests").rglob("test_*.py"))]
    homes = {folder, ALSO.get(folder)}
    files = [path for path in files if path.parts[1] not in SLOW or path.parts[1] in homes]
    texts = {path: (root / path).read_text(encoding="utf-8") for path in files}
    naming = [path for path in files if any(word in texts[path] for word in words)]
    own = [path for path in files if path not in naming and (path.parts[1] in homes or f"{package}." in texts[path])]
    others = [path for path in files if path not in naming and path not in own] if rest else []
    # Of those that name the module, its folder's first.
    naming.sort(key=lambda path: path.parts[1] != folder)
    return [[str(path) for path in stage] for stage in (naming, own, others) if stage]


class Recorder:
    """Write the name of the first test that fails to a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Keep the name of a failed test."""
        if report.failed and not self.file.exists():
            self.file.write_text(report.nodeid, encoding="utf-8")

    def pytest_collectreport(self, report: Any) -> None:
        """Keep the name of a module that cannot be imported."""
        self.pytest_runtest_logreport(report)


def run_tests(root: Path, tests: list[str], limit: float) -> tuple[str, str]:
    """Run tests in a fork of this process, and return ``(outcome, name of the test that failed)``."""
    failed = root / "failed"
    failed.unlink(missing_ok=True)
    if not (child := os.fork()):
        os.setsid()
        os.chdir(root)
        with (root / "log").open("w") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        sys.path.insert(0, str(root))
        for name in [name for name in sys.modules if name.split(".")[0] == "benchmarks"]:
            del sys.modules[name]
        os._exit(int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests], plugins=[Recorder(failed)])))
    end = time.monotonic() + limit
    while not (ended := os.waitpid(child, os.WNOHANG))[0] and time.monotonic() < end:
        time.sleep(0.1)
    # What the tests left running goes too.
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if not ended[0]:
        os.waitpid(child, 0)
        return "time limit", ""
    code = os.waitstatus_to_exitcode(ended[1])
    if code in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        return "lived", ""
    return "killed", failed.read_text(encoding="utf-8") if failed.exists() else f"exit code {code}"


class Tree:
    """A copy of the tree, into which one mutant at a time is written."""

    def __init__(self, root: Path) -> None:
        self.root, self.passing, self.writes = root, set[str](), 0
        for name in COPIED:
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "out"))
        for name in ("pyproject.toml", "README.md", "environment.yml", "Makefile"):
            shutil.copy(ROOT / name, root)

    def write(self, path: Path, data: bytes) -> None:
        """Write a module with a time of its own, so that no bytecode of another mutant passes for its own."""
        self.writes += 1
        (self.root / path).write_bytes(data)
        os.utime(self.root / path, (0, 1_600_000_000 + 2 * self.writes))

    def try_mutant(self, mutant: Mutant, site: Site, limit: float, rest: bool) -> Mutant:
        """Run a mutant's tests stage by stage until one fails, and return the mutant with its outcome."""
        source, started = (self.root / site.module).read_bytes(), time.monotonic()
        outcome, test = "lived", ""
        for tests in stages(self.root, site.module, rest):
            self.write(site.module, mutated_source(source, site))
            outcome, test = run_tests(self.root, tests, limit)
            self.write(site.module, source)
            if outcome == "killed" and test.startswith("tests/") and test not in self.passing:
                if run_tests(self.root, [test], limit)[0] != "lived":
                    outcome, test = "not judged", f"{test} fails without the mutant too"
                else:
                    self.passing.add(test)
            if outcome != "lived":
                break
        return replace(mutant, outcome=outcome, test=test, seconds=round(time.monotonic() - started, 1))


def report(mutants: list[Mutant]) -> str:
    """Return the outcomes as Markdown: how many of each folder, and each that was not killed."""
    lines = ["| folder | killed | lived | other |", "|---|---:|---:|---:|"]
    folders: dict[str, Counter[str]] = defaultdict(Counter)
    for one in mutants:
        kind = {"killed": "killed", "time limit": "killed", "lived": "lived"}.get(one.outcome, "other")
        folders[Path(one.module).parent.name][kind] += 1
        folders["all"][kind] += 1
    lines += [f"| {name} | {own['killed']} | {own['lived']} | {own['other']} |" for name, own in folders.items()]
    lines += ["", "| mutant | before | after | outcome |", "|---|---|---|---|"]
    for one in mutants:
        if one.outcome not in ("killed", "time limit"):
            place = f"{one.module.removeprefix('scripts/slidemill/')}:{one.line}"
            lines.append(f"| {place} | `{one.before}` | `{one.after}` | {one.outcome} {one.test} |")
    return "\n".join(lines)


def main() -> None:
    """Run the mutants that have no result yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--number", type=int, default=150)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--skip", type=int, default=0, help="how many of the first to leave to another process")
    parser.add_argument("--limit", type=float, default=300, help="seconds for one stage of a mutant's tests")
    parser.add_argument("--nice", type=int, default=15)
    parser.add_argument("--rest", action="store_true", help="run all quick tests where a mutant lived")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "out")
    options = parser.parse_args()
    os.nice(options.nice)
    for name in LOADED:
        importlib.import_module(name)
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / f"mutants-{options.seed}.jsonl"
    known = {}
    if file.exists():
        known = {one["number"]: Mutant(**one) for one in map(json.loads, file.read_text().splitlines())}
    with TemporaryDirectory() as folder:
        tree, mutants = Tree(Path(folder)), list[Mutant]()
        for number, site in enumerate(draw(tree.root, options.number, options.seed), 1):
            before, after = (ast.unparse(node).replace("|", "\\|") for node in (site.node, site.mutated))
            if number <= options.skip:
                continue
            mutant = Mutant(number, str(site.module), site.node.lineno, before, after)
            if (old := known.get(number)) and replace(old, outcome="", test="", seconds=0.0) == mutant:
                mutants.append(old)
                continue
            mutants.append(tree.try_mutant(mutant, site, options.limit, options.rest))
            print(f"{number} {mutants[-1].outcome} {site.module}:{site.node.lineno} {mutants[-1].test}", flush=True)
            with file.open("a") as written:
                written.write(json.dumps(asdict(mutants[-1])) + "\n")
    print(report(mutants))


if __name__ == "__main__":
    main()
