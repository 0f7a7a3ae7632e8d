"""Everything that can go wrong for a user, as one family of exceptions.

Each error is facts first: a stable `code`, one sentence, where it is in the template, why, and what to do.
It is rendered in one place for people (`aibemu.cli.render`) and in one for programs (`error_record`, which the JSON
envelope adds to); nothing here prints or exits.

`EXIT_CODES` are all that the program ends with; documents have the same table.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

# What the program ends with, and when.
EXIT_CODES: Mapping[int, str] = {
    0: "success",
    1: "the build ran and failed; `doctor --evaluator` found a difference",
    2: "wrong usage: an option, a name, or a FILE that is missing; nobody could be asked whether to delete something",
    3: "the template is invalid or no JSON text, or a script of it cannot be fetched",
    4: "this host is not ready (a program, a driver, room or the source image is missing), or the template is valid "
    "and this aibemu cannot build it",
    5: "`buildTimeoutInMinutes` is over",
    70: "a bug in aibemu",
    130: "interrupted or cancelled, and cleaned up",
    141: "whoever read the output left (`aibemu logs \\| head`)",
    255: "`shell` and `exec` could not reach the machine; else `exec` ends as its command did",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A place in a text file. Lines and columns count from 1, columns in characters."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class AibemuError(Exception):
    """Base of all expected errors: `message` says what, `details` why, `hint` what to do, `commands` what to type."""

    code: ClassVar[str] = "INTERNAL"
    category: ClassVar[str] = "INTERNAL"
    exit_code: ClassVar[int] = 70
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        details: Sequence[str] = (),
        span: Span | None = None,
        commands: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = tuple(details)
        self.span = span
        self.commands = tuple(commands)


def error_record(error: BaseException) -> dict[str, Any]:
    """An error as JSON, as events carry it: code, message, hint (text or null), details and commands (lists of texts),
    span (`FILE:LINE:COLUMN` or null). An error that is not of this family is a bug in aibemu: INTERNAL."""
    error = (host_error(error) if isinstance(error, OSError) else None) or error
    if isinstance(error, AibemuError):
        return {
            "code": error.code, "message": error.message, "hint": error.hint, "details": list(error.details),
            "span": str(error.span) if error.span else None, "commands": list(error.commands),
        }  # fmt: skip
    return {
        "code": AibemuError.code, "message": f"{type(error).__name__}: {error}", "hint": "this is a bug in aibemu",
        "details": [], "span": None, "commands": [],
    }  # fmt: skip


class UsageError(AibemuError):
    """The command line or a settings file asks for something that makes no sense."""

    code = "USAGE"
    category = "USAGE"
    exit_code = 2


class NotFoundError(UsageError):
    """A run, image, alias or resource that the user named does not exist."""

    code = "NOT_FOUND"


class HostNotReady(AibemuError):
    """A program, driver, permission or disk space that the host lacks."""

    code = "HOST_NOT_READY"
    category = "HOST"
    exit_code = 4


class NotBuildable(HostNotReady):
    """A template that the service takes, and that this aibemu cannot build. `details` holds all that is missing."""

    code = "NOT_BUILDABLE"


# What the operating system refuses that is about this host, not about aibemu.
_HOST_ERRNOS = frozenset(
    {
        errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE,
        errno.EIO, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY,
        errno.ESTALE, errno.ENOMEM, errno.EBUSY,
    }
)  # fmt: skip
# Those that mean: another kind of thing is in the place of a file or folder.
_IN_THE_WAY = frozenset({errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY})
# Those that mean: this user may not, here.
_NOT_ALLOWED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


def host_error(error: OSError) -> HostNotReady | None:
    """What an error of the operating system means for the host, or None when it looks like a bug."""
    if error.errno not in _HOST_ERRNOS:
        return None
    where = f": {error.filename}" if error.filename else ""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return HostNotReady(
            f"the disk is full{where}",
            hint="free some space, or put aibemu's folder elsewhere with --home DIR",
            commands=["aibemu clean", "aibemu doctor"],
        )
    if error.errno in _IN_THE_WAY:
        hint = "move what is there away, or put aibemu's folder elsewhere with --home DIR"
        return HostNotReady(f"{error.strerror or error}{where}", hint=hint)
    if error.errno in _NOT_ALLOWED:
        hint = "work as the user whose folder that is, or put aibemu's folder elsewhere with --home DIR"
        return HostNotReady(f"{error.strerror or error}{where}", hint=hint, commands=["aibemu doctor"])
    return HostNotReady(f"{error.strerror or error}{where}", hint="aibemu doctor tests this host")


class ImageMissing(HostNotReady):
    """The template's source is not in the store. `commands` holds the exact command that gets it."""

    code = "IMAGE_MISSING"


class ArtifactError(AibemuError):
    """A script or file could not be fetched, or its checksum is not the template's. The service finds this at
    submission, before any machine exists (facts: service 1.6, 3)."""

    code = "ARTIFACT"
    category = "TEMPLATE"
    exit_code = 3


class BuildError(AibemuError):
    """The build ran and failed."""

    code = "BUILD_FAILED"
    category = "BUILD"
    exit_code = 1


class ProvisionFailed(BuildError):
    """The machine did not boot, panicked, or never became ready."""

    code = "PROVISION_FAILED"


class FreezeFailed(AibemuError):
    """A running machine could not be frozen, or a frozen one not be taken up. Always caught: the build goes on
    without it."""

    code = "FREEZE_FAILED"
    category = "HOST"
    exit_code = 1


class CustomizerFailed(BuildError):
    """A customizer ended with a status that is not valid, or lost its machine."""

    code = "CUSTOMIZER_FAILED"


class GeneralizeFailed(BuildError):
    """The deprovision script failed, or the image is provably not generalised."""

    code = "GENERALIZE_FAILED"


class ValidationFailed(BuildError):
    """An in-VM validation failed. Always fails the run (facts: service 2)."""

    code = "VALIDATION_FAILED"


class DistributeFailed(BuildError):
    """A distribute target could not be written."""

    code = "DISTRIBUTE_FAILED"


class BuildTimedOut(AibemuError):
    """buildTimeoutInMinutes is over."""

    code = "BUILD_TIMED_OUT"
    category = "BUILD"
    exit_code = 5


class BuildCancelled(AibemuError):
    """Ctrl-C, SIGTERM or `aibemu cancel`."""

    code = "CANCELLED"
    category = "BUILD"
    exit_code = 130


class Expired(AibemuError):
    """A bound inside a phase is over (not the build's own timeout). Always caught and said better by its caller."""

    code = "EXPIRED"
    category = "BUILD"
    exit_code = 5
    retryable = True
