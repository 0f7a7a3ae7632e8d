"""What the offline check says: rules at three levels, each with Azure's view and that of a security review.

ERROR: the image does not come up as a new machine in Azure, or carries the build machine's login. WARNING: Azure takes
it and its machines come up, but a security review would object. NOTE: worth knowing, no reason to change anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, Protocol

from aibemu.hypervisor import Level

P = ParamSpec("P")


class GuestFiles(Protocol):
    """Files of a disk that is off, by absolute path, links followed; None for what is not there."""

    def read(self, path: str) -> str | None: ...

    def list(self, path: str) -> list[str] | None: ...


class WholeSystem(GuestFiles, Protocol):
    """Files of a system of which parts cannot be read: `unread` has what is known of that at once, `missed` what was
    asked for and not found for that reason, each time. Both are shown as texts."""

    missed: list[Any]

    @property
    def unread(self) -> Sequence[object]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneralizeFinding:
    """One thing looked at. level OK, and no texts, when it is as it should be.

    check: what should be so. problem: what is wrong, as a heading; empty when all is well. message: what was found.
    azure: how Azure treats it. review: what a security review would say; empty when it is none of its business. fix:
    what to change in the template; empty when nothing there would help. said: a sentence for the log of the build, of
    what is worth more than a line in a list; else empty.
    """

    level: Level
    check: str
    problem: str = ""
    message: str = ""
    azure: str = ""
    review: str = ""
    fix: str = ""
    said: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """What was done to a disk that is off, and what it says then: one opening is for both."""

    # In sentences; none when all was well.
    changes: tuple[str, ...] = ()
    # The proof, as of `GuestSystem.generalized`.
    findings: tuple[GeneralizeFinding, ...] = ()
    # What was left as it is, and why, in sentences.
    notes: tuple[str, ...] = ()
    # What of the proof could not be looked at, and why; "" when all was.
    unproven: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What was done to the disk of a machine before its first boot."""

    # In sentences; none when all was well.
    changes: tuple[str, ...] = ()
    # What may keep the guest from coming up, and was left as it is, in sentences.
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule(Generic[P]):
    """level: that of its finding. check: what should be so. wrong: what is so when it is not. look: is given what a
    system looks at, and says what was found, "" when all is well, None when it could not be looked at. lacks: it finds
    that something is missing, which nobody can say of a disk that is read in part."""

    level: Level
    check: str
    wrong: str
    look: Callable[P, str | None]
    azure: str
    review: str = ""
    fix: str = ""
    lacks: bool = False

    def judge(self, *what: P.args, **named: P.kwargs) -> GeneralizeFinding | None:
        """None when it could not be looked at."""
        message = self.look(*what, **named)
        if message is None:
            return None
        if not message:
            return GeneralizeFinding(level=Level.OK, check=self.check)
        return GeneralizeFinding(
            level=self.level, check=self.check, problem=self.wrong, message=message, azure=self.azure,
            review=self.review, fix=self.fix,
        )  # fmt: skip


def judged(rules: Iterable[Rule[P]], *what: P.args, **named: P.kwargs) -> Iterator[GeneralizeFinding]:
    """A finding for each rule that could be looked at, OK or not, in the order of the rules."""
    return filter(None, (rule.judge(*what, **named) for rule in rules))
