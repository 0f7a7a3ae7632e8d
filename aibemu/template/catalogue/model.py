"""What an entry of the catalogue holds. Data only: nothing here is needed to check a template."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from aibemu.arm.diagnostics import Severity
from aibemu.template.spec.versions import NEWEST


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A template, or the part of it that matters.

    text: JSON that is merged into a complete template for `system` (`linux`, `windows`): objects are merged, everything
    else is replaced, null removes. whole: `text` is all of the file instead. files: what lies beside it, by name.
    api_version: what it is judged by.
    """

    text: str
    whole: bool = False
    system: str = "linux"
    files: Mapping[str, str] = field(default_factory=dict)
    api_version: str = NEWEST


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One kind of finding.

    id: stable. level: what a finding of this kind usually is (before api version 2024-02-01 the service ignores some of
    what it refuses since). title: a few words. why: what the service, or the script, does then, and how well that is
    known. fix: what to do. bad, good: the same template with and without the mistake.
    """

    id: str
    level: Severity
    title: str
    why: str
    fix: str
    bad: Example
    good: Example
