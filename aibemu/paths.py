"""Where aibemu keeps things.

`AIBEMU_HOME=DIR` puts all of it under one folder; otherwise the platform's own places are used (platformdirs):
images, cloud and runs in the data directory, downloads in the cache directory, settings in the config directory.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aibemu.errors import HostNotReady, UsageError

# What a path gives that can be no folder, on whatever day.
_NO_FOLDER = frozenset({errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
_SAFE = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """The folders of one installation; none needs to exist before it is used."""

    images: Path
    cloud: Path
    runs: Path
    layers: Path
    cache: Path
    config: Path
    # The one folder that all of it is under, if that was asked for: for another aibemu, which shall have the same home.
    root: Path | None = None

    @classmethod
    def at(cls, root: Path) -> Home:
        """Everything under one folder."""
        return cls(
            images=root / "images",
            cloud=root / "cloud",
            runs=root / "runs",
            layers=root / "layers",
            cache=root / "cache",
            config=root / "config",
            root=root,
        )

    @classmethod
    def discover(cls, environ: Mapping[str, str] | None = None) -> Home:
        """`AIBEMU_HOME` if set and not empty, else the platform's directories."""
        environ = os.environ if environ is None else environ
        if root := environ.get("AIBEMU_HOME"):
            return cls.at(as_typed(root))
        from platformdirs import PlatformDirs

        dirs = PlatformDirs("aibemu", appauthor=False)
        return cls(
            images=dirs.user_data_path / "images",
            cloud=dirs.user_data_path / "cloud",
            runs=dirs.user_data_path / "runs",
            # A cache, but beside the runs: machines take hard links of layers.
            layers=dirs.user_data_path / "layers",
            cache=dirs.user_cache_path,
            config=dirs.user_config_path,
        )


def as_typed(name: str | Path) -> Path:
    """The folder that somebody names, absolute. `UsageError` for `~NAME` of nobody, and where there is none to start
    from."""
    try:
        return Path(name).expanduser().absolute()
    except RuntimeError:
        raise UsageError(f"{str(name)!r} names the folder of a user who does not exist", hint="type the path") from None
    except FileNotFoundError:
        raise gone() from None


def gone() -> UsageError:
    """The error for who is in a folder that was removed: no name starts from there."""
    return UsageError("the folder that you are in was removed", hint="cd to one that is there, and type it again")


def in_a_removed_folder() -> bool:
    """Whether this process is in one."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False


def check_home(home: Home) -> None:
    """`HostNotReady` when one of the folders cannot be one: there is a file, or the way there is too long or a circle.

    One that is not there yet, or may not be read, is not judged.
    """
    for folder in filter(None, (home.root, home.images, home.cloud, home.runs, home.layers, home.cache, home.config)):
        try:
            if stat.S_ISDIR(folder.stat().st_mode):
                continue
            why = "a file is there, not a folder"
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno not in _NO_FOLDER:
                continue
            why = error.strerror or str(error)
        raise HostNotReady(
            f"aibemu cannot keep anything in {folder}: {why}",
            hint="move that away, or name another folder with --home DIR or AIBEMU_HOME",
        )


def safe_name(text: str) -> str:
    """A file name made from text of a template: no separators, not empty, not `.` or `..`, at most 100 characters."""
    name = _SAFE.sub("_", text)[:100]
    return name if name.strip(".") else f"_{name}"
