"""The product's source as the architecture tests read it: parsed modules, what they call and import, tracked files."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One parsed source file; name is its path from the root of the checkout."""

    path: Path
    name: str
    text: str
    tree: ast.Module

    @property
    def dotted(self) -> str:
        """The name to import it by."""
        return self.name.removeprefix("drivers/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @property
    def is_outer(self) -> bool:
        """True for the command line and the views, which talk to people."""
        return self.name.startswith(("aibemu/cli/", "aibemu/views/"))

    def at(self, node: ast.AST, what: str) -> str:
        return f"{self.name}:{getattr(node, 'lineno', 1)}: {what}"


@cache
def modules() -> tuple[Module, ...]:
    """Every module of the product, not the tests."""
    found = sorted([*(ROOT / "aibemu").rglob("*.py"), *(ROOT / "drivers").rglob("*.py")])
    return tuple(parse(path) for path in found)


def parse(path: Path) -> Module:
    text = path.read_text(encoding="utf-8")
    return Module(path=path, name=path.relative_to(ROOT).as_posix(), text=text, tree=ast.parse(text, str(path)))


def dotted(node: ast.AST) -> str:
    """`a.b.c` of a name or attribute, else an empty text."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (left := dotted(node.value)):
        return f"{left}.{node.attr}"
    return ""


@cache
def nodes(module: Module) -> tuple[ast.AST, ...]:
    """All of its tree. A dozen rules look at every node of every module, and to walk takes long."""
    return tuple(ast.walk(module.tree))


@cache
def calls(module: Module) -> Sequence[tuple[ast.Call, str]]:
    """Every call, with the name of what is called: `import time as t; t.sleep()` and `from time import sleep` too."""
    real, found = imported_names(module), []
    for node in nodes(module):
        if isinstance(node, ast.Call) and (name := dotted(node.func)):
            first, _, rest = name.partition(".")
            full = real.get(first, first) + (f".{rest}" if rest else "")
            found.append((node, full.replace("datetime.datetime.", "datetime.").replace("datetime.date.", "date.")))
    return found


@cache
def imported_names(module: Module) -> Mapping[str, str]:
    """Local name -> what it was imported as."""
    names: dict[str, str] = {}
    for node in nodes(module):
        if isinstance(node, ast.Import):
            names |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


def top_level(statements: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """What runs when the module is imported; not what only a type checker sees."""
    for node in statements:
        if isinstance(node, ast.If) and dotted(node.test).endswith("TYPE_CHECKING"):
            yield from top_level(node.orelse)
            continue
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for name in ("body", "orelse", "finalbody"):
                yield from top_level(getattr(node, name, []))
            for handler in getattr(node, "handlers", []):
                yield from top_level(handler.body)


def imports(module: Module) -> Iterator[str]:
    """First names of everything imported, anywhere in the module."""
    for node in nodes(module):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


@cache
def tracked() -> tuple[str, ...]:
    """Files that are, or would be, in a commit; in a copy without git, everything outside the ignored folders."""
    git = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(git, capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode == 0:
        return tuple(sorted(name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()))
    ignored = {line.strip("/ \n") for line in (ROOT / ".gitignore").read_text().splitlines()}
    files = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file())
    return tuple(sorted(str(path) for path in files if not ignored & set(path.parts)))


@cache
def tracked_texts() -> tuple[tuple[str, str], ...]:
    texts = []
    for name in tracked():
        content = (ROOT / name).read_bytes()
        if b"\0" not in content[:8192]:
            texts.append((name, content.decode(errors="replace")))
    return tuple(texts)
