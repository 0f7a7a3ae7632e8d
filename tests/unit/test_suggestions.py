"""What somebody probably meant who typed another name."""

from __future__ import annotations

import pytest

from aibemu.suggestions import closest, did_you_mean, nearest

NAMES = ["qemu", "dryrun", "SharedImage", "VHD"]


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("qemuu", "qemu"),
        ("QEMU", "qemu"),
        ("sharedimage", "SharedImage"),
        ("sharedimgae", "SharedImage"),
        ("vdh", "VHD"),
        ("vmware", None),
        ("", None),
    ],
)
def test_the_closest_name_is_found_in_any_case(word: str, meant: str | None) -> None:
    assert closest(word, NAMES) == meant


def test_of_several_near_names_the_best_comes_first() -> None:
    assert nearest("imag", ["images", "image", "manage"], 2) == ["image", "images"]
    assert nearest("images", ["images", "image"], 2) == ["images"]


def test_the_question_is_a_hint_by_itself() -> None:
    assert did_you_mean("qemo", NAMES) == "did you mean qemu?"
    assert did_you_mean("qemo", NAMES, quoted=True) == "did you mean 'qemu'?"
    assert did_you_mean("hyper-v", NAMES) is None
    assert did_you_mean("x", []) is None


def test_a_word_without_end_takes_no_time() -> None:
    """Comparing takes time in the square of the length: only the first hundred characters count."""
    assert closest("q" * 5_000_000, NAMES) is None
