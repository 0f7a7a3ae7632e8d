"""Recipes: YAML files that say what goes into an image that aibemu builds itself.

They live in `fixtures/images/` of the checkout; the wheel carries them as `aibemu/images/recipe_files/`. A path to a
file of one's own works too. `extends: NAME` takes over the keys of a built-in recipe that the new one does not have.
A recipe's digest covers its content, what it takes over too, and the builder's version, so that an unchanged recipe is
not built twice.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aibemu import yaml_places
from aibemu.errors import NotFoundError, UsageError
from aibemu.images import Generation
from aibemu.suggestions import did_you_mean

# Goes into every recipe's digest: raise it when build.py makes another image from the same recipe.
BUILDER_VERSION = 4

_WORD = re.compile(r"[a-z0-9][a-z0-9.+-]*")
_KEYS = frozenset(
    {"name", "extends", "description", "suite", "disk_gib", "generation", "stands_for", "packages", "files", "script"}
)
# Never taken over: two recipes would answer to one name, and build an image under the other one's marketplace versions.
_OWN = frozenset({"name", "stands_for"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeFile:
    """A file to write into the image: absolute path, text, mode; owned by root."""

    path: str
    content: str
    mode: int = 0o644


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What to build. stands_for: publisher:offer:sku; disk_gib: virtual size."""

    name: str
    description: str
    suite: str
    disk_gib: int
    generation: Generation
    stands_for: tuple[str, ...]
    packages: tuple[str, ...]
    files: tuple[RecipeFile, ...]
    script: str

    @property
    def digest(self) -> str:
        """sha256 (hex) of the content and the builder's version; comments and layout of the YAML do not count."""
        value = json.dumps([BUILDER_VERSION, asdict(self)], sort_keys=True)
        return hashlib.sha256(value.encode()).hexdigest()


def directories() -> tuple[Path, ...]:
    """Where built-in recipes may be: the checkout, then the installed package."""
    here = Path(__file__).resolve()
    candidates = (here.parents[2] / "fixtures" / "images", here.with_name("recipe_files"))
    return tuple(path for path in candidates if path.is_dir())


def names() -> tuple[str, ...]:
    """Names of the built-in recipes, sorted."""
    return tuple(sorted({path.stem for path in _files()}))


def load(name: str) -> Recipe:
    """The built-in recipe `name`, or the one in the file `name` if it ends in .yaml. NotFoundError, UsageError."""
    if name.endswith((".yaml", ".yml")):
        return read(Path(name))
    if path := _find(name):
        return read(path)
    raise NotFoundError(f"there is no recipe called {name}", hint=_nearest(name))


def for_offer(offer: str) -> Recipe | None:
    """The built-in recipe that stands in for `publisher:offer:sku`, case-insensitively."""
    for path in _files():
        recipe = read(path)
        if offer.lower() in (known.lower() for known in recipe.stands_for):
            return recipe
    return None


def read(path: Path) -> Recipe:
    """Parse one recipe file; UsageError with file:line:column for anything that is wrong in it."""
    return _recipe(_complete(path), path)


def _complete(path: Path) -> dict[str, Any]:
    """The keys of a recipe and of the built-in ones it extends, the nearest first."""
    value = _keys(path)
    base, chain = value.get("extends"), [path]
    while base is not None:
        found = _find(base) if isinstance(base, str) else None
        if found is None:
            raise UsageError(f"{path}: extends: there is no built-in recipe {base!r}", hint=_nearest(str(base)))
        chain.append(found)
        if found in chain[:-1]:
            circle = " -> ".join(each.stem for each in chain)
            raise UsageError(f"{path}: extends: goes round in a circle: {circle}")
        below = _keys(found)
        value = {key: below[key] for key in below.keys() - _OWN} | value
        base = below.get("extends")
    return value


def _keys(path: Path) -> dict[str, Any]:
    """What one file itself says; only its keys have been checked."""
    text = yaml_places.read_text(path, what="the recipe")
    if text is None:
        raise NotFoundError(f"no such recipe file: {path}")
    value = yaml_places.load(text, str(path), what="the recipe")
    if not isinstance(value, dict):
        raise UsageError(f"{path}: a recipe is a mapping with the keys {', '.join(sorted(_KEYS))}")
    if unknown := sorted(set(map(str, value)) - _KEYS):
        raise UsageError(f"{path}: unknown key {unknown[0]!r}", hint=f"a recipe has: {', '.join(sorted(_KEYS))}")
    return value


def _files() -> Iterator[Path]:
    for directory in directories():
        yield from sorted(directory.glob("*.yaml"))


def _find(name: str) -> Path | None:
    return next((path for path in _files() if path.stem == name), None)


def _nearest(name: str) -> str:
    return did_you_mean(name, names()) or f"known recipes: {', '.join(names()) or 'none'}"


def _recipe(value: Mapping[str, Any], path: Path) -> Recipe:
    name, suite = _word(value, "name", path), _word(value, "suite", path)
    size = value.get("disk_gib", 4)
    if not isinstance(size, int) or isinstance(size, bool) or not 2 <= size <= 1024:
        raise UsageError(f"{path}: disk_gib must be a whole number from 2 to 1024")
    generation = value.get("generation", "V1")
    if generation not in list(Generation):
        raise UsageError(f"{path}: generation must be V1 (BIOS) or V2 (UEFI)")
    offers = _texts(value, "stands_for", path)
    if bad := next((offer for offer in offers if offer.count(":") != 2), None):
        raise UsageError(f"{path}: stands_for: {bad!r} is not publisher:offer:sku")
    packages = _texts(value, "packages", path)
    if wrong := next((package for package in packages if not _WORD.fullmatch(package)), None):
        raise UsageError(f"{path}: packages: {wrong!r} is not a package name")
    return Recipe(
        name=name, description=str(value.get("description", "")), suite=suite, disk_gib=size,
        generation=Generation(generation), stands_for=offers, packages=packages,
        files=_contents(value.get("files") or [], path), script=str(value.get("script") or ""),
    )  # fmt: skip


def _word(value: Mapping[str, Any], key: str, path: Path) -> str:
    text = value.get(key)
    if not isinstance(text, str) or not _WORD.fullmatch(text):
        raise UsageError(f"{path}: {key} is missing or not a plain lower-case name")
    return text


def _texts(value: Mapping[str, Any], key: str, path: Path) -> tuple[str, ...]:
    items = value.get(key) or []
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise UsageError(f"{path}: {key} must be a list of texts")
    return tuple(items)


def _contents(items: Any, path: Path) -> tuple[RecipeFile, ...]:
    if not isinstance(items, list):
        raise UsageError(f"{path}: files must be a list")
    files = []
    for item in items:
        target = item.get("path") if isinstance(item, dict) else None
        if not isinstance(target, str) or not target.startswith("/") or ".." in target.split("/"):
            raise UsageError(f"{path}: files: each needs an absolute path and its content")
        mode = item.get("mode", 0o644)
        if not isinstance(mode, int) or not 0 <= mode <= 0o7777:
            raise UsageError(f"{path}: files: {target}: mode must be an octal number such as 0755")
        files.append(RecipeFile(path=target, content=str(item.get("content", "")), mode=mode))
    return tuple(files)
