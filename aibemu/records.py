"""Reading files that aibemu or a person wrote, which may be damaged: the one way to do it.

`aibemu.reading` opens them, as it opens all files. Whatever is in such a file's place, and whatever is in it, the
reader gets a value with bounds, or `DamagedFile` with the name of the file, what is wrong and what to do. A damaged
record costs that record: whoever lists records calls `set_aside` and goes on.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from aibemu.errors import AibemuError, HostNotReady
from aibemu.reading import Unfit, blocks, open_file

T = TypeVar("T")

# Bytes of one file; what a step said, the largest that is written, has half of it.
LARGEST = 16 << 20
# Numbers of any record are less: bytes, seconds, counts.
_WHOLE = 2**64
ASIDE = ".damaged"
# What another kind of thing in the place of a file gives.
NO_FILE = frozenset({errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.ENODEV, errno.ENAMETOOLONG})
# What makes of values whose shape is not as expected.
SHAPE_ERRORS = (ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError, RecursionError)


class DamagedFile(HostNotReady, ValueError):
    """A file that aibemu reads holds something else than it should. A ValueError too, as what a parser raises."""

    code = "DAMAGED_FILE"

    def __init__(self, path: Path, why: str, *, hint: str = "") -> None:
        super().__init__(
            f"{path} is damaged: {why}", hint=hint or f"mend it, or move it away: mv {path} {path}{ASIDE}"
        )  # fmt: skip
        self.path = path
        self.why = why


class DamagedRecordWarning(UserWarning):
    """A damaged record was set aside; the command line shows it as any other warning."""


def read_bytes(path: Path, *, largest: int = LARGEST) -> bytes | None:
    """What is in a regular file; None if there is no such file. Never waits, and reads no more than `largest`.

    `DamagedFile` for another kind of file and for one that is too large, OSError for what the host refuses.
    """
    stream = open_regular(path, limit=largest)
    if stream is None:
        return None
    with stream:
        try:
            return b"".join(blocks(stream, path, limit=largest))
        except Unfit as error:
            raise DamagedFile(path, f"it {error.strerror}") from None


def open_regular(path: Path, *, limit: int | None = None) -> BinaryIO | None:
    """A regular file of at most `limit` bytes, opened for reading; None if there is none. Never waits. Errors as of
    `read_bytes`."""
    try:
        return open_file(path, limit=limit)
    except FileNotFoundError:
        return None
    except Unfit as error:
        raise DamagedFile(path, f"it {error.strerror}") from None
    except OSError as error:
        if error.errno in NO_FILE:
            raise DamagedFile(path, f"it is no file ({error.strerror})") from None
        raise


def read_json(path: Path, *, largest: int = LARGEST) -> Any:
    """The JSON value in `path`; None if there is no such file. Errors as of `read_bytes`, and for what is not JSON."""
    content = read_bytes(path, largest=largest)
    if content is None:
        return None
    try:
        return parse_json(content)
    except ValueError as error:
        raise DamagedFile(path, str(error)) from None


def parse_json(content: bytes | str, *, halves: bool = False) -> Any:
    """The value of a JSON text; ValueError also for what Python lets through: NaN, numbers without bound, a name twice,
    half a character (unless `halves`), nesting without end."""
    if not content.strip():
        raise ValueError("it is empty")
    try:
        text = content.decode("utf-8") if isinstance(content, bytes) else content
        value = _DECODER.decode(text)
        if not halves and ("\\ud" in text or "\\uD" in text):
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except UnicodeError:
        raise ValueError("it is not text in UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON ({error.msg}, line {error.lineno})") from None
    return value


def read_record(path: Path, make: Callable[[Any], T]) -> T | None:
    """What `make` makes of the JSON value in `path`; None if there is no such file.

    Errors as of `read_json`; what `make` raises because the value has another shape is a `DamagedFile`, too.
    """
    value = read_json(path)
    if value is None:
        if path.exists():
            raise DamagedFile(path, "it holds nothing (null)")
        return None
    return made(path, value, make)


def made(path: Path, value: Any, make: Callable[[Any], T]) -> T:
    """What `make` makes of a value that was read from `path`."""
    try:
        return make(value)
    except DamagedFile:
        raise
    except (AibemuError, *SHAPE_ERRORS) as error:
        why = f"it has no {error}" if isinstance(error, KeyError) else str(error)[:200]
        raise DamagedFile(path, why or type(error).__name__) from None


def read_records(paths: Iterable[Path], make: Callable[[Path], T | None]) -> list[T]:
    """What `make` reads from each path. A damaged one is set aside; one that this user may not read is passed over, and
    told."""
    found = []
    for path in paths:
        try:
            value = make(path)
        except DamagedFile as error:
            set_aside(error)
        except PermissionError as error:
            _tell(f"{path} is left out: {error.strerror}")
        else:
            found += [value] if value is not None else []
    return found


def set_aside(error: DamagedFile) -> None:
    """Give a damaged record another name, under which nobody looks for it; tell that as a `DamagedRecordWarning`."""
    path, aside = error.path, error.path.with_name(f"{error.path.name[:200]}{ASIDE}")
    number = 1
    while aside.exists() or aside.is_symlink():
        number += 1
        aside = path.with_name(f"{path.name[:200]}{ASIDE}-{number}")
    try:
        path.rename(aside)
    except FileNotFoundError:  # another process was faster
        return
    except OSError as refused:
        _tell(f"{path} is damaged and left out: {error.why}; it could not be renamed ({refused.strerror})")
        return
    _tell(f"{path} was damaged: {error.why}; it is left out from now on, and kept as {aside.name}")


def _tell(text: str) -> None:
    warnings.warn(DamagedRecordWarning(text), stacklevel=3)


# Parts of records: what is asked for, or a ValueError that says what is there.


def text_of(record: Any, name: str) -> str:
    """A text."""
    return _part(record, name, str, "a text")


def whole_of(record: Any, name: str) -> int:
    """A whole number that is not negative."""
    value = _part(record, name, int, "a whole number")
    if isinstance(value, bool) or value < 0:
        raise ValueError(f"{name} must be a whole number, not {value!r}")
    return value


def flag_of(record: Any, name: str) -> bool:
    """True or false."""
    return _part(record, name, bool, "true or false")


def map_of(record: Any, name: str) -> dict[str, Any]:
    """An object."""
    return _part(record, name, dict, "an object")


def texts_of(record: Any, name: str) -> dict[str, str]:
    """An object whose values are texts."""
    found = map_of(record, name)
    return {key: text_of(found, key) for key in found}


def list_of(record: Any, name: str) -> list[Any]:
    """A list."""
    return _part(record, name, list, "a list")


def _part(record: Any, name: str, kind: type[T], what: str) -> T:
    if not isinstance(record, dict):
        raise ValueError(f"it must be an object with {name!r}")
    if name not in record:
        raise ValueError(f"it has no {name!r}")
    value = record[name]
    if not isinstance(value, kind):
        raise ValueError(f"{name} must be {what}, not {str(value)[:40]!r}")
    return value


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number")


def _whole(text: str) -> int:
    value = int(text) if len(text) < 30 else _WHOLE
    if not -_WHOLE < value < _WHOLE:
        raise ValueError(f"the number {text[:20]}... is too large")
    return value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]} is too large")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice[:40]!r} is there twice")
    return found


_DECODER = json.JSONDecoder(
    parse_constant=_no_number, parse_int=_whole, parse_float=_finite, object_pairs_hook=_once
)  # fmt: skip


def exists(path: Path) -> bool:
    """Whether something is at a path; False too for one that no file can have."""
    with contextlib.suppress(OSError, ValueError):
        return path.exists()
    return False
