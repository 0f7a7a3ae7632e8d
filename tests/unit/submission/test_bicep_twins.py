"""Of a warning of the compiler and a finding of ours that mean the same, ours alone is shown."""

from __future__ import annotations

import pytest

from aibemu.arm.diagnostics import Diagnostic, Severity
from aibemu.errors import Span
from aibemu.submission.bicep_twins import without_twins


def found(id_: str, column: int, message: str, severity: Severity = Severity.WARNING, line: int = 5) -> Diagnostic:
    return Diagnostic(id=id_, severity=severity, message=message, span=Span(file="m.bicep", line=line, column=column))


MISSING = 'The specified "object" declaration is missing the following required properties: "a", "b". If this is a'
ALLOWED = 'The property "offr" is not allowed on objects of type "PlatformImage". Did you mean "offer"?'
VALUE = """The property "type" expected a value of type "'None' | 'UserAssigned'" but"""
A = found("S02", 15, "Missing field 'a': it is needed", Severity.ERROR)
B = found("E50", 15, "Missing field 'b': it is needed", Severity.ERROR)


@pytest.mark.parametrize(
    ("theirs", "ours", "stays"),
    [
        (found("BCP035", 3, MISSING), [A, B], False),
        (found("BCP035", 3, MISSING), [A], True),
        (found("BCP035", 3, MISSING, line=6), [A, B], True),
        (found("BCP037", 9, ALLOWED), [found("E01", 9, 'unknown field "offr" in a source', Severity.ERROR)], False),
        (found("BCP089", 9, ALLOWED), [found("E01", 9, 'unknown field "ofr" in a source', Severity.ERROR)], True),
        (found("BCP089", 9, ALLOWED), [found("E01", 8, 'unknown field "offr" in a source', Severity.ERROR)], True),
        (found("BCP036", 7, VALUE), [found("E07", 7, "Field 'type' has a bad value", Severity.ERROR)], False),
        (found("BCP036", 7, VALUE), [found("W10", 7, "Field 'type' has a bad value", Severity.NOTE)], True),
        (found("BCP036", 7, VALUE), [found("E84", 7, "'x' cannot be a name", Severity.ERROR)], True),
        (found("BCP036", 7, VALUE, Severity.ERROR), [found("E07", 7, "Field 'type' has", Severity.ERROR)], True),
        (found("no-unused-params", 7, "Parameter"), [found("X05", 7, "Field 'type' has", Severity.ERROR)], True),
        (found("BCP073", 5, '"x" is read-only'), [found("S04", 5, "Field 'x' is read-only")], False),
    ],
)
def test_one_of_two_is_shown(theirs: Diagnostic, ours: list[Diagnostic], stays: bool) -> None:
    assert without_twins([theirs], ours) == ([theirs] if stays else [])
