"""A template whose api version nobody knows yet: a parameter without a value, a placeholder.

It is judged by the newest one. What is an error by that one, and is none by some other that the service takes, is
perhaps none: it becomes a note.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from aibemu.arm.diagnostics import Severity
from aibemu.arm.findings import Findings
from aibemu.arm.nodes import Node
from aibemu.errors import Span
from aibemu.template.spec import IMAGE_TEMPLATE, NEWEST, OLDEST_ACCEPTED, VERSIONS
from aibemu.template.validator import FieldPlace, Validator


def check_by_all(resource: Node, kinds: Iterable[str], targets: Iterable[str], findings: Findings) -> Node:
    """The resource as the newest version has it; findings as said above. kinds, targets: as for `Validator`."""
    kinds, targets = frozenset(kinds), frozenset(targets)
    place = FieldPlace(path=IMAGE_TEMPLATE.name, name="")
    newest = Findings(findings.main)
    understood = Validator(NEWEST, kinds, newest, targets).check(resource, IMAGE_TEMPLATE, place)
    certain = _refused(newest)
    for version in (version for version in VERSIONS if OLDEST_ACCEPTED <= version < NEWEST):
        own = Findings(findings.main)
        Validator(version, kinds, own, targets).check(resource, IMAGE_TEMPLATE, place)
        certain &= _refused(own)
    for one in newest.sorted():
        if one.severity is Severity.ERROR and one.span not in certain:
            message = f"{one.message} (perhaps: the api version of this template is not known yet)"
            one = replace(one, severity=Severity.NOTE, message=message)
        findings.extend([one])
    return understood


def _refused(findings: Findings) -> set[Span]:
    """Where there are errors."""
    return {one.span for one in findings.sorted() if one.severity is Severity.ERROR}
