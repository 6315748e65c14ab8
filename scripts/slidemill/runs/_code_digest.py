"""Digest the code that a script runs, so that only affected rules run again.

Snakemake sees edits of a script, but not of the modules that it imports.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


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
            waiting.extend(_parsed(path)[1])
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(modules):
        digest.update(_parsed(path)[0].encode())
    return digest.hexdigest()


@cache
def _parsed(path: Path) -> tuple[str, tuple[Path, ...]]:
    """Return a module's code without comments, and the package files it imports."""
    tree = ast.parse(path.read_bytes())
    imports: list[Path] = []
    statements: list[tuple[ast.AST, bool]] = [(node, True) for node in tree.body]
    # Imports and docstrings are statements: to walk through all expressions too took most of a start of Snakemake.
    while statements:
        node, is_run = statements.pop()
        if is_run:
            imports += _imported(node)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            node.value = ast.Constant("")
        is_run = is_run and not _is_for_types(node)
        for block in ("body", "orelse", "finalbody", "handlers", "cases"):
            statements += [(inner, is_run) for inner in getattr(node, block, ())]
    return ast.dump(tree), tuple(imports)


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _imported(node: ast.AST) -> Iterator[Path]:
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
            files = (_file(".".join(parts[:depth])) for depth in range(min(2, len(parts)), len(parts) + 1))
            yield from (file for file in files if file)


def _file(module: str) -> Path | None:
    """Return the file of a module of the package; None if it does not exist."""
    base = PACKAGE.joinpath(*module.split(".")[1:])
    return next((file for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file()), None)
