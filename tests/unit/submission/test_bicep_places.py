"""Places in compiled JSON are told in Bicep only where that is certain: the compiler itself is the judge, which was
asked what in the JSON each literal makes (fixtures/bicep/places.json.xz)."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from aibemu.arm.nodes import Node
from aibemu.arm.reader import read
from aibemu.errors import Span
from aibemu.submission.bicep import source_text
from aibemu.submission.bicep_places import BicepPlaces, places_of_parameters, places_of_template
from aibemu.submission.bicep_syntax import Doubt, declarations
from tests.bicep_recordings import recorded, unpack_sources
from tests.public_data import TEMPLATES

JSON = "compiled.json"


def nodes(node: Node, path: str = "$") -> Iterator[tuple[str, Node]]:
    """Each value of a document, by the path that the recording has for it."""
    yield path, node
    for member in node.members.values():
        plain = re.fullmatch(r"[\w$#]+", member.key)
        yield from nodes(member.value, f"{path}.{member.key}" if plain else f'{path}["{member.key}"]')
    for number, item in enumerate(node.items):
        yield from nodes(item, f"{path}[{number}]")


@cache
def _text(path: Path) -> str:
    return source_text(path)


def in_characters(file: Path, place: list[int]) -> tuple[int, int]:
    """The compiler counts UTF-16 units."""
    line, column = place
    before = _text(file).split("\n")[line - 1].encode("utf-16-le")[: 2 * (column - 1)]
    return line, len(before.decode("utf-16-le")) + 1


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bicep sources")
    unpack_sources(folder, "places")
    return unpack_sources(folder, "cli").parents[1]


def located(name: str, case: dict[str, Any], sources: Path) -> tuple[Path, BicepPlaces, dict[str, Node]]:
    file = TEMPLATES / Path(name).name if name.startswith("templates/") else sources / name
    root = read(case["compiled"], JSON).root
    assert root is not None
    places = places_of_template(root, case["compiled"], file, read_text=source_text, named=str)
    return file, places, dict(nodes(root))


def test_a_value_has_the_place_of_its_literal_or_that_of_the_json(sources: Path) -> None:
    count = 0
    for name, case in recorded("places").items():
        file, places, values = located(name, case, sources)
        for path, place in case["sure"].items():
            span = places.of(values[path].span)
            if span.file != JSON:
                assert (span.file, (span.line, span.column)) == (str(file), in_characters(file, place)), (name, path)
                count += 1
    # Of 340. The others: a literal of another resource's, values within `allowed`, one that the compiler computes.
    assert count >= 333


def test_what_no_single_literal_makes_has_the_place_of_none(sources: Path) -> None:
    for name, case in recorded("places").items():
        file, places, values = located(name, case, sources)
        literals = {in_characters(file, [one["line"], one["column"]]) for one in case["literals"]}
        for path in {*case["no_literal"], *case["one_literal_in_an_expression"]} & set(values):
            span = places.of(values[path].span)
            assert span.file != str(file) or (span.line, span.column) not in literals, (name, path)


def test_each_name_has_its_own_place(sources: Path) -> None:
    """Names, too, were changed one by one: what is said to be at one is what changed with it."""
    for name, case in recorded("places").items():
        file, places, values = located(name, case, sources)
        keys = {in_characters(file, [one["line"], one["column"]]): one["path"] for one in case["keys"]}
        for path, value in values.items():
            for member in value.members.values():
                span = places.of(member.key_span)
                of = keys.get((span.line, span.column)) if span.file == str(file) else None
                if of is not None and not of.endswith("]"):
                    assert of.endswith(member.key), (name, path, member.key)


PART = "param steps array\nresource t 'A.B/c@1' = {\n  name: 'part'\n  properties: {\n    steps: steps\n  }\n}\n"
MAIN = """var script = '''
echo "one"
echo 'two' three
'''
module part 'modules/part.bicep' = {
  params: { steps: [{ inline: script }] }
}
"""
COMPILED = r"""{
  "variables": {
    "script": "echo \"one\"\necho 'two' three\n"
  },
  "resources": [
    {
      "type": "Microsoft.Resources/deployments", "apiVersion": "2025-04-01",
      "name": "[format('part-{0}', uniqueString('part', deployment().name))]",
      "properties": {
        "parameters": { "steps": { "value": [ { "inline": "[variables('script')]" } ] } },
        "template": {
          "resources": [
            { "type": "A.B/c", "apiVersion": "1", "name": "part",
              "properties": { "steps": "[parameters('steps')]" }
            }
          ]
        }
      }
    }
  ]
}
"""


def at(text: str, json: str, word: str, places: BicepPlaces) -> str:
    """Where a word of the JSON comes from."""
    before = json[: json.index(word)]
    span = places.of(Span(file=JSON, line=before.count("\n") + 1, column=len(before) - before.rfind("\n")))
    return f"{Path(span.file).name}:{span.line}:{span.column}"


def test_modules_and_texts_over_several_lines(tmp_path: Path) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "part.bicep").write_text(PART)
    (tmp_path / "main.bicep").write_text(MAIN)
    root = read(COMPILED, JSON).root
    assert root is not None
    places = places_of_template(root, COMPILED, tmp_path / "main.bicep", read_text=source_text, named=str)
    assert at(MAIN, COMPILED, '"echo', places) == "main.bicep:1:14"
    assert at(MAIN, COMPILED, "one", places) == "main.bicep:2:7"
    assert at(MAIN, COMPILED, "three", places) == "main.bicep:3:12"
    assert at(MAIN, COMPILED, "\"[variables('script", places) == "main.bicep:6:23"  # it is computed: its name
    assert at(MAIN, COMPILED, '"part"', places) == "part.bicep:3:9"
    assert at(MAIN, COMPILED, "\"[parameters('steps", places) == "part.bicep:5:5"
    assert at(MAIN, COMPILED, '"resources"', places) == f"{JSON}:5:3"


TWO = """resource a 'A.B/c@1' = {
  name: name
  tags: { x: 'one' }
}
resource b 'A.B/c@1' = {
  name: other
  tags: { x: TAG }
}
"""


@pytest.mark.parametrize(
    ("tag", "place"), [("'two'", "m.bicep:3:14"), ("'one'", f"{JSON}:4:17"), ("t", f"{JSON}:4:17")]
)
def test_of_two_that_may_be_it_none_is(tmp_path: Path, tag: str, place: str) -> None:
    (tmp_path / "m.bicep").write_text(TWO.replace("TAG", tag))
    json = """{"resources": [
{"type": "A.B/c", "apiVersion": "1", "name": "[variables('other')]",
 "tags": {"x": "two"}}, {"type": "A.B/c", "apiVersion": "1", "name": "[variables('name')]",
 "tags": {"x": "one"}}]}"""
    root = read(json, JSON).root
    assert root is not None
    places = places_of_template(root, json, tmp_path / "m.bicep", read_text=source_text, named=str)
    column = json.split("\n")[3].index('"one"') + 1
    span = places.of(Span(file=JSON, line=4, column=column))
    found = f"{Path(span.file).name}:{span.line}:{span.column}"
    assert found == place.replace("4:17", f"4:{column}")


def test_parameters_are_at_their_bicepparam(tmp_path: Path) -> None:
    """The JSON is kept nowhere, so each place has one: the literal, the parameter, or the beginning of the file."""
    (tmp_path / "m.bicepparam").write_text(
        "using 'm.bicep'\nparam one = 'x'\nparam two = {\n  a: ['y', toUpper('z')]\n}\n"
        "param three = readEnvironmentVariable('E')\n"
    )
    json = """{"parameters": {"one": {"value": "x"},
"two": {"value": {"a": ["y", "Z"]}}, "three": {"value": "e"}, "four": {"value": 4}}}"""
    root = read(json, JSON).root
    assert root is not None
    places = places_of_parameters(root, json, tmp_path / "m.bicepparam", read_text=source_text, named=str)
    assert at("", json, '"one"', places) == "m.bicepparam:2:1"
    assert at("", json, '"x"', places) == "m.bicepparam:2:13"
    assert at("", json, '"y"', places) == "m.bicepparam:4:7"
    assert at("", json, '"three"', places) == "m.bicepparam:6:1"
    assert at("", json, '"four"', places) == "m.bicepparam:1:1"


def test_every_recorded_source_that_compiles_is_understood(sources: Path) -> None:
    """No place is lost because the text was not: of those that do not compile, some are nothing at all."""
    files = sorted((sources / "sources").rglob("*.bicep*"))
    assert len(files) > 100
    cases = {
        case["args"][1]: case["exit"]
        for case in recorded("cli").values()
        if case["args"][0] in ("build", "build-params") and len(case["args"]) > 1
    }
    for file in files:
        compiles = cases.get(str(file.relative_to(sources / "sources" / "cli"))) if "cli" in file.parts else 0
        if compiles == 0:
            declarations(source_text(file))


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("var a = 1\nvar b = -2 + 3\nvar c = x\n  ? 'y'\n  : 'z'\nvar d = 'e'",
         "LITERAL EXPRESSION EXPRESSION LITERAL"),
        ("var a = { b: 1, ...c }\nvar d = [...e]\nvar f = {\n}\nvar g = []", "EXPRESSION EXPRESSION OBJECT ARRAY"),
        ("var a = [for (x, i) in y ? z : w: {\n  b: x\n}]\nvar b = 'c${'d${'e'}'}f'", "LOOP EXPRESSION"),
        ("var a = $'''b${c}'''\nvar b = ''''quoted''''\nvar c = null", "EXPRESSION LITERAL LITERAL"),
        ("#disable-next-line x\nvar a = 'b' // 'c\nvar b = /* ' */ true\nvar c = sys.any('d')",
         "LITERAL LITERAL EXPRESSION"),
        ("type t = 'a' | 'b'\n@allowed(['c'])\nparam a { b: string } = { b: 'c' }\nparam b string?\noutput o t = 'a'",
         "OBJECT None LITERAL"),
    ],
)  # fmt: skip
def test_values(text: str, kinds: str) -> None:
    found = [one.value for one in declarations(text)]
    assert " ".join(value.kind.name if value else "None" for value in found) == kinds


def test_literals_are_what_the_compiler_reads() -> None:
    (one,) = declarations(r"var a = 'it\'s \${b} \u{1F600}\n\\'")
    assert one.value is not None and one.value.literal == "it's ${b} \N{GRINNING FACE}\n\\"
    (quoted,) = declarations("var a = '''\n'b' \\n'''''\n")
    assert quoted.value is not None and quoted.value.literal == "'b' \\n''"


@pytest.mark.parametrize(
    "text",
    [
        "var a = 'b",
        "var a = '''b",
        "var a = {",
        "param a = [",
        "resource x 5 = {}",
        "var a = \x00",
        "resource a 'b' = [for x",
    ],
)
def test_what_is_not_understood_is_doubted(text: str) -> None:
    with pytest.raises(Doubt):
        declarations(text)


def test_every_beginning_of_a_file_comes_to_an_end(sources: Path) -> None:
    text = source_text(sources / "sources" / "places" / "loops.bicep") + source_text(
        sources / "sources" / "places" / "strings.bicep"
    )
    for end in range(0, len(text), 19):
        with contextlib.suppress(Doubt):
            declarations(text[:end])


def test_depth_has_a_bound() -> None:
    with pytest.raises(Doubt):
        declarations(f"var a = {'[' * 500}{']' * 500}")
