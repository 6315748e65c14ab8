"""Digest the code that a script runs, so that only affected rules run again.

Snakemake sees edits of a script, but not of the modules that it imports.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1]
KEPT = PACKAGE.parent / "__pycache__" / f"code_digest.{sys.implementation.cache_tag}.json"
"""What was parsed in earlier starts: parsing took half of a start. It is next to Python's own compiled modules."""
SETTLED = 2 * 10**9
"""Nanoseconds after which a file's time distinguishes it from later edits, as git assumes too."""


def code_digest(script: Path, unused: Collection[str] = ()) -> str:
    """Return a digest of a script and all package modules that it imports.

    Indirect imports count.

    Comments, blank lines and docstrings do not count.

    Parameters
    ----------
    script
        The script's file.
    unused
        Modules, such as ``slidemill.stores.lmdb``, that the script imports and does not run: they do not count either.

    Raises
    ------
    ValueError
        When the package has no such module as one of `unused`.
    """
    modules: set[Path] = set()
    left_out = set()
    for module in unused:
        if not (file := _file(module)):
            raise ValueError(f"{module}: the package has no such module; correct the name where the rules leave it out")
        left_out.add(file)
    waiting = [script]
    while waiting:
        path = waiting.pop()
        if path not in modules and path not in left_out:
            modules.add(path)
            waiting.extend(file for name in _parse_once(path)[1] if (file := _file(name)))
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(modules):
        digest.update(bytes.fromhex(_parse_once(path)[0]))
    _kept().save()
    return digest.hexdigest()


class _Kept:
    """The parsed files of earlier starts, by path, each with its time and size."""

    def __init__(self) -> None:
        self._is_changed = False
        # Another version of this module may parse otherwise.
        self._own = _stamp(Path(__file__).stat())
        self._files: dict[str, list[Any]] = {}
        with suppress(OSError, ValueError, KeyError, TypeError):
            known, _, content = KEPT.read_bytes().partition(b"\n")
            # One wrong digit of a digest would run everything again.
            found = json.loads(content) if known == _digest(content) else {}
            if found["by"] == self._own:
                self._files = dict(found["files"])

    def parsed(self, path: Path) -> tuple[str, tuple[str, ...]]:
        """Return what `_parse` returns for a file."""
        status, name = path.stat(), os.path.relpath(path, PACKAGE.parent)
        stamp = _stamp(status)
        with suppress(KeyError, TypeError, ValueError):
            kept, code, imports = self._files[name]
            if kept == stamp:
                return code, tuple(imports)
        found = _parse(path)
        if time.time_ns() - status.st_mtime_ns > SETTLED:
            self._files[name] = [stamp, *found]
            self._is_changed = True
        return found

    def save(self) -> None:
        """Keep what is new, if Python may keep compiled modules."""
        if self._is_changed and not sys.dont_write_bytecode:
            self._is_changed = False
            aside = KEPT.with_name(f"{KEPT.name}.{os.getpid()}")
            with suppress(OSError):
                KEPT.parent.mkdir(exist_ok=True)
                content = json.dumps({"by": self._own, "files": self._files}).encode()
                aside.write_bytes(_digest(content) + b"\n" + content)
                aside.replace(KEPT)


def _stamp(status: os.stat_result) -> list[int]:
    """Return what changes with a file's content, also where a copy sets its time back, as of packages and archives."""
    return [status.st_mtime_ns, status.st_ctime_ns, status.st_size]


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).hexdigest().encode()


@cache
def _kept() -> _Kept:
    return _Kept()


@cache
def _parse_once(path: Path) -> tuple[str, tuple[str, ...]]:
    return _kept().parsed(path)


def _parse(path: Path) -> tuple[str, tuple[str, ...]]:
    """Return a digest of a module's code without comments, and the names of package modules that it may import."""
    tree = ast.parse(path.read_bytes())
    imports: list[str] = []
    statements: list[tuple[ast.AST, bool]] = [(node, True) for node in tree.body]
    # Imports and docstrings are statements: to walk through all expressions too took most of a start of Snakemake.
    while statements:
        node, is_run = statements.pop()
        if is_run:
            imports += _find_imports(node)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            node.value = ast.Constant("")
        is_run = is_run and not _is_for_types(node)
        for block in ("body", "orelse", "finalbody", "handlers", "cases"):
            statements += [(inner, is_run) for inner in getattr(node, block, ())]
    return hashlib.blake2b(ast.dump(tree).encode(), digest_size=16).hexdigest(), tuple(dict.fromkeys(imports))


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _find_imports(node: ast.AST) -> Iterator[str]:
    names: list[str] = []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
        names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    for name in names:
        parts = name.split(".")
        if parts[0] == PACKAGE.name:
            # Importing a.b.c runs a.b first. It runs a too, but the package's own `__init__` only names what is public:
            # it counts where it is imported by itself, lest each new version run everything again.
            yield from (".".join(parts[:depth]) for depth in range(min(2, len(parts)), len(parts) + 1))


@cache
def _file(module: str) -> Path | None:
    """Return the file of a module of the package; None if it does not exist."""
    base = PACKAGE.joinpath(*module.split(".")[1:])
    return next((file for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file()), None)
