"""`--parameters`, `--set` and `--supply` as people type them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from aibemu import reading
from aibemu.arm.diagnostics import TemplateInvalid
from aibemu.arm.expressions.surroundings import key_of
from aibemu.errors import UsageError
from aibemu.submission.parameters import Values, read_parameters, read_placeholders, read_supplied


def values(*arguments: str) -> Values:
    found = Values()
    for argument in arguments:
        read_parameters(argument, found, Path.cwd())
    return found


def plain(found: Values) -> dict[str, Any]:
    return {given.name: given.node.plain() for given in found.given.values()}


def test_names_and_values() -> None:
    assert plain(values("a=1", "b=x=y", "c=", "api-version=2024-02-01")) == {
        "a": "1", "b": "x=y", "c": "", "api-version": "2024-02-01",
    }  # fmt: skip
    assert all(given.raw for given in values("a=1").given.values())


def test_a_file_of_either_shape(tmp_path: Path) -> None:
    whole = tmp_path / "whole.json"
    whole.write_text(
        '{"$schema": "https://x/deploymentParameters.json#", "contentVersion": "1.0.0.0",\n'
        ' // comments are fine\n "parameters": {"a": {"value": [1]}, "b": {"reference": {"secretName": "s"}}}}'
    )
    short = tmp_path / "short.json"
    short.write_text('{"$schema": "x", "contentVersion": "1", "a": {"value": {"b": null}}}')

    found = values(str(whole))
    assert plain(found)["a"] == [1]
    assert found.given["b"].vault
    assert not found.given["a"].raw
    assert (found.given["a"].span.file, found.given["a"].span.line) == (str(whole), 3)
    assert found.texts == {str(whole): whole.read_text()}
    assert plain(values(f"@{short}")) == {"a": {"b": None}}


def test_json_on_the_command_line() -> None:
    assert plain(values('{"a": {"value": 1}}')) == {"a": 1}


def test_later_ones_win_in_any_case(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text(json.dumps({"parameters": {"Region": {"value": "a"}}}))
    assert plain(values(str(path), "region=b")) == {"region": "b"}
    assert plain(values("region=b", str(path))) == {"Region": "a"}


def test_a_value_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "steps.json"
    path.write_text('[{"type": "Shell"}]')
    found = values(f"steps=@{path}")
    assert found.given["steps"].node.value == '[{"type": "Shell"}]'
    assert found.given["steps"].span.file == str(path)


@pytest.mark.parametrize("argument", ["nothing.json", "@nothing.json", "a=@nothing", "word"])
def test_files_that_are_not_there(argument: str) -> None:
    with pytest.raises(UsageError, match="no such file"):
        values(argument)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "not a parameters file"),
        ('{"a": 1}', "says"),
        ('{"parameters": {"a": {"valeu": 1}}}', "parameter 'a'"),
        ('{"parameters": {"a": {"value": }}}', "a value is missing"),
        ("", "empty"),
    ],
)
def test_files_that_are_none(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "p.json"
    path.write_text(text)
    with pytest.raises(TemplateInvalid) as caught:
        values(str(path))
    assert any(words in found.message for found in caught.value.diagnostics)
    assert all(found.span.file == str(path) for found in caught.value.diagnostics)


def test_placeholders() -> None:
    assert read_placeholders(["a=1", "<b>=x=y", "c="]) == {"a": "1", "b": "x=y", "c": ""}
    for wrong in ("a", "=x", "<>=x"):
        with pytest.raises(UsageError, match="not NAME=VALUE"):
            read_placeholders([wrong])


def test_supplied_values() -> None:
    found = read_supplied(["reference('/A/b/')={\"c\": 1}", "listKeys('x', '2023-01-01')=[1]", "providers('p')=text"])
    assert found == {
        key_of("reference", "/a/B"): {"c": 1}, key_of("LISTKEYS", "x"): [1], key_of("providers", "p"): "text",
    }  # fmt: skip
    with pytest.raises(UsageError, match="is not FUNCTION"):
        read_supplied(["reference(x)=1"])


@pytest.mark.parametrize(
    ("argument", "what", "said", "remedy"),
    [
        ("x=@{}", "device", "is a device, not a file: it is no value for x", "name a file that holds the value for x"),
        ("x=@{}", "folder", "is a folder, not a file: it is no value for x", "name a file in it"),
        ("{}", "device", "is a device, not a file: it is no parameters file", "name a file that holds the param"),
        ("@{}", "folder", "is a folder, not a file: it is no parameters file", "name a file in it"),
        ("{}", "pipe", "is a pipe that nobody writes to (for 0.05 seconds)", "start what writes to the pipe first"),
        ("x=@{}", "sparse", "has 1 TiB, more than the 8 MiB", "name a smaller file"),
    ],
)
def test_a_file_that_cannot_be_read_says_what_it_is_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argument: str, what: str, said: str, remedy: str
) -> None:
    monkeypatch.setattr(reading, "WRITER_SECONDS", 0.05)
    path = tmp_path / "it"
    if what == "device":
        path.symlink_to("/dev/zero")
    elif what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    else:
        with path.open("wb") as file:
            file.truncate(1 << 40)
    with pytest.raises(UsageError) as caught:
        values(argument.format(path))
    assert said in caught.value.message and "template" not in caught.value.message
    assert remedy in (caught.value.hint or "")
