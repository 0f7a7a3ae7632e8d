"""Errors as JSON, as events and answers carry them."""

from __future__ import annotations

import json

from aibemu.arm.diagnostics import TemplateInvalid
from aibemu.cli.render import as_json
from aibemu.errors import ImageMissing, Span, UsageError, error_record


def test_an_expected_error_says_all_that_it_knows() -> None:
    error = ImageMissing(
        "no image", hint="get it", details=["one", "two"], span=Span(file="t.json", line=3, column=5),
        commands=["aibemu images pull a:b:c"],
    )  # fmt: skip
    assert error_record(error) == {
        "code": "IMAGE_MISSING", "message": "no image", "hint": "get it", "details": ["one", "two"],
        "span": "t.json:3:5", "commands": ["aibemu images pull a:b:c"],
    }  # fmt: skip
    json.dumps(error_record(error))


def test_anything_else_is_a_bug() -> None:
    record = error_record(ZeroDivisionError("division by zero"))
    assert record == {
        "code": "INTERNAL", "message": "ZeroDivisionError: division by zero", "hint": "this is a bug in aibemu",
        "details": [], "span": None, "commands": [],
    }  # fmt: skip


def test_the_envelope_says_the_same_in_its_own_form() -> None:
    error = UsageError("no", hint="h", details=["d"], commands=["aibemu runs --all"])
    assert as_json(error) == {
        "code": "USAGE", "category": "USAGE", "message": "no", "retryable": False,
        "details": {"at": None, "lines": ["d"], "hint": "h"},
        "actions": [{"id": "runs", "command": "aibemu runs --all"}],
    }  # fmt: skip
    assert as_json(TemplateInvalid([]))["details"]["diagnostics"] == []
