"""Which folder a file's repository is, for those who name files from there: annotations of GitHub, SARIF, JUnit."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

# Where CI systems say that they put the repository: GitHub Actions, Azure Pipelines.
VARIABLES = ("GITHUB_WORKSPACE", "BUILD_SOURCESDIRECTORY")


def root_of(file: Path, environ: Mapping[str, str]) -> Path | None:
    """The repository that `file` (absolute) is in: the nearest folder above it with `.git`, or where CI put it; None
    when it is in none."""
    named = {Path(os.path.normpath(environ[name])) for name in VARIABLES if environ.get(name)}
    return next((folder for folder in file.parents if folder in named or (folder / ".git").exists()), None)


def base_of(file: str, here: Path, environ: Mapping[str, str]) -> Path:
    """From where a report names files. file: what it is about, named from the folder `here`; in no repository it is
    that folder."""
    return root_of(_absolute(file, here), environ) or here


def from_root(file: str, here: Path, environ: Mapping[str, str]) -> str:
    """The name of a file in its repository; in none, and if it is the address of one, as it was given."""
    if "://" in file:
        return file
    path = _absolute(file, here)
    root = root_of(path, environ)
    return path.relative_to(root).as_posix() if root else file


def _absolute(file: str, here: Path) -> Path:
    """From its name alone: a link is where it is, not what it points to."""
    return Path(os.path.normpath(here / file))
