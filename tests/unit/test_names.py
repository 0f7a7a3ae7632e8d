"""What can be a name, an id, an address, a path: all that is tried here was tried by an attacker, or is its like."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibemu.names import LONGEST, Form, name_problem, problem

BAD_NAMES = [
    "", " ", ".", "..", "a/b", "a\\b", "a\0", "a\nb", "a\r", "\x1b[2J", "a\u202eb", "a\u2066b", "a\u200bb", "a\ufeff",
    "a\u2028b", "\ud800", "a.", "a ", " a", "a\t", "a" * 300, "\u00e4" * 128, "..\\..",
]  # fmt: skip
GOOD_NAMES = [
    "a", "web-1.0", "West Europe", ".hidden", "a..b", "...a", "\u00e4" * 127, "a" * 255, "Gr\u00f6\u00dfe", "<group>",
]  # fmt: skip
GROUP = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups"


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_names(name: str) -> None:
    assert name_problem(name)
    assert problem(Form.ID, f"{GROUP}/{name}") or name in {"", "a/b"}  # the form of the id is judged elsewhere


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_good_names(name: str) -> None:
    assert name_problem(name) is None
    assert problem(Form.ID, f"{GROUP}/{name}/providers/Microsoft.Compute/images/{name}/") is None
    for address in (f"https://h/a/{name}?sig=a/../b", f"out/../{name}", f"file:///a/{name}", name):
        assert problem(Form.ADDRESS, address) is None
        assert problem(Form.TARGET, address) is None
    assert problem(Form.GUEST_PATH, f"/tmp/{name}") is None
    assert problem(Form.LABEL, name) is None


@pytest.mark.parametrize(
    "address",
    [
        "https://h/a/..", "https://h/a/%2e%2e", "https://h/a%2Fb", "https://h/a%5cb", "https://h/a\\b", "https://h/a%00",
        "https://h/a\0b", "https://h/a%0a", f"https://h/{'a' * 300}", f"https://h/{'a' * 300}/b.sh", "..", "a/..", ".",
        "a\\b.sh", "a\0b", f"a/{'b' * 300}", "a\u202eb.sh", "file:///a/..", "https://h/a?b=\x1b",
    ],
)  # fmt: skip
def test_bad_addresses(address: str) -> None:
    assert problem(Form.ADDRESS, address)
    assert problem(Form.TARGET, address)


def test_a_blob_is_not_above_its_container() -> None:
    for uri in ("https://a.blob.core.windows.net/c/../x.vhd", "https://a.blob.core.windows.net/c/%2E/x.vhd"):
        assert problem(Form.TARGET, uri)
        assert problem(Form.ADDRESS, uri) is None


@pytest.mark.parametrize("name", ["a#b", "%2e%2e", "a&b", "a?b", "a<b", "a>b", "##vso[x]"])
def test_what_azure_has_in_no_id(name: str) -> None:
    """A build refused them that `validate` had passed."""
    assert name_problem(name) is None
    assert "which Azure has in no name of a resource" in (problem(Form.ID, f"{GROUP}/{name}") or "")
    assert problem(Form.ID, f"{GROUP}/<name of it>") is None


def test_paths_of_both_systems() -> None:
    for path in (r"C:\Windows\Temp\x.ps1", "/tmp/x", "/tmp/"):
        assert problem(Form.GUEST_PATH, path) is None
    for path in ("/tmp/x\0", "/tmp/x\ny", f"/tmp/{'x' * 300}", f"C:\\{'x' * 300}"):
        assert problem(Form.GUEST_PATH, path)


def test_labels_may_be_what_people_like() -> None:
    assert problem(Form.LABEL, "install foo/bar, then .. " + "x" * 300) is None
    assert problem(Form.LABEL, "a\x1b[2J") and problem(Form.LABEL, "a\u202eb")


def test_no_text_is_no_bad_one() -> None:
    assert [problem(form, text) for form in Form for text in ("", " ")] == [None] * len(Form) * 2
    assert None not in [problem(form, "\n") for form in Form]


@given(st.text(max_size=300))
def test_what_can_be_a_name_is_one_part_of_a_path(text: str) -> None:
    if name_problem(text) is None:
        assert "/" not in text and "\0" not in text and text not in {"", ".", ".."}
        assert len(text.encode()) <= LONGEST


@given(st.sampled_from(Form), st.text(max_size=40), st.text(max_size=40))
def test_every_text_is_judged(form: Form, one: str, other: str) -> None:
    for text in (one, f"https://{one}/{other}", f"file:{one}", f"https://[{one}"):
        assert problem(form, text) is None or isinstance(problem(form, text), str)
