"""Version numbers: the samples of the fact sheet, the document's example, and what must hold for any set."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibemu.cloud.versions import (
    Numbering,
    Scheme,
    Version,
    VersionTaken,
    format_version,
    legacy_version,
    next_latest,
    next_legacy,
    parse_version,
    scheme_of,
)
from aibemu.errors import DistributeFailed, UsageError

number = st.integers(0, 2**31 - 2)
versions = st.tuples(number, number, number)
small = st.tuples(st.integers(0, 3), st.integers(0, 12), st.integers(0, 12))
EXAMPLE = [
    parse_version(text)
    for text in ["0.1.1", "0.1.2", "1.0.0", "1.0.1", "1.1.0", "1.1.1", "1.2.0", "2.0.0", "2.0.1", "2.1.0"]
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("0.25088.3355", "2022-02-06T18:02:03"),
        ("0.24254.42935", "2020-05-15T14:31:19"),
        ("0.24105.52755", "2020-01-23"),
        ("0.23768.4001", "2019-05-12"),
    ],
)
def test_automatic_numbers_are_the_time(text: str, when: str) -> None:
    """facts: service 6; two samples are known to the second, two to the day."""
    version = parse_version(text)
    moment = datetime.fromtimestamp((version[1] << 16) + version[2], UTC)
    assert moment.isoformat().startswith(when)
    assert format_version(legacy_version(moment)) == text


@given(st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC)))
def test_automatic_numbers_grow_with_the_time(moment: datetime) -> None:
    version = legacy_version(moment)
    assert version[0] == 0 and version[2] < 65536
    assert (version[1] << 16) + version[2] == int(moment.timestamp())


def test_two_builds_within_a_second_get_different_numbers() -> None:
    moment = datetime.fromtimestamp((25088 << 16) + 0xFFFF, UTC)
    assert next_legacy([], moment) == (0, 25088, 0xFFFF)
    assert next_legacy([(0, 25088, 0xFFFF)], moment) == (0, 25089, 0)


@pytest.mark.parametrize(
    ("major", "expected"), [(-1, (2, 1, 1)), (2, (2, 1, 1)), (1, (1, 2, 1)), (0, (0, 1, 3)), (7, (7, 0, 0))]
)
def test_latest_follows_the_documents_example(major: int, expected: Version) -> None:
    assert next_latest(EXAMPLE, major=major) == expected
    assert next_latest(reversed(EXAMPLE), major=major) == expected


def test_latest_compares_integers() -> None:
    assert next_latest([(1, 9, 0), (1, 10, 0), (1, 10, 9), (1, 10, 10)]) == (1, 10, 11)


def test_the_first_number_is_a_setting() -> None:
    assert next_latest([]) == (1, 0, 0)
    with pytest.raises(DistributeFailed, match=r"no version number after 1\.0\.2147483647"):
        next_latest([(1, 0, 2**31 - 1)])
    assert next_latest([(1, 0, 2**31 - 1)], major=2) == (2, 0, 0)
    assert next_latest([], major=1, first=(1, 0, 1)) == (1, 0, 1)
    assert next_latest([], major=3) == (3, 0, 0)
    assert next_latest([], first=(0, 0, 1)) == (0, 0, 1)


@given(st.lists(small), st.integers(-1, 4))
def test_latest_is_new_and_the_highest_of_its_major(existing: list[Version], major: int) -> None:
    chosen = next_latest(existing, major=major)
    assert chosen not in existing
    assert major in (-1, chosen[0])
    assert all(chosen > version for version in existing if major in (-1, version[0]))


@given(versions)
def test_text_and_numbers_are_inverse(version: Version) -> None:
    assert parse_version(format_version(version)) == version


def test_leading_zeros_of_a_source_version_are_dropped() -> None:
    assert format_version(parse_version("18.04.202401161")) == "18.4.202401161"


@pytest.mark.parametrize(
    "text", ["", "1", "1.0", "1.0.0.0", "1.0.x", "-1.0.0", "1.0.2147483648", "1.0.0\n", "1.٠.0", "latest"]
)
def test_other_texts_are_not_versions(text: str) -> None:
    with pytest.raises(UsageError, match=r"Major\(int\)\.Minor\(int\)\.Patch\(int\)"):
        parse_version(text)


@pytest.mark.parametrize(
    ("versioning", "api", "expected"),
    [
        (None, "2020-02-14", (Scheme.LEGACY, -1)),
        (None, "2022-02-14", (Scheme.LEGACY, -1)),
        (None, "2022-07-01", (Scheme.LATEST, -1)),
        (None, "2025-10-01", (Scheme.LATEST, -1)),
        (None, "", (Scheme.LATEST, -1)),
        ({"scheme": "Latest"}, "2022-07-01", (Scheme.LATEST, -1)),
        ({"scheme": "Latest", "major": 0}, "2022-07-01", (Scheme.LATEST, 0)),
        ({"scheme": "Latest", "major": 3}, "2022-07-01", (Scheme.LATEST, 3)),
        ({"scheme": "Source"}, "2022-07-01", (Scheme.SOURCE, -1)),
    ],
)
def test_which_scheme_applies(versioning: dict[str, object] | None, api: str, expected: tuple[Scheme, int]) -> None:
    assert scheme_of(versioning, api) == expected


def test_a_wanted_number_is_given_once() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    numbering = Numbering(scheme=Scheme.EXPLICIT, wanted=(1, 2, 3))
    assert numbering.choose([(1, 2, 4)], now) == (1, 2, 3)
    with pytest.raises(VersionTaken):
        numbering.choose([(1, 2, 3)], now)
    assert Numbering(scheme=Scheme.LEGACY).choose([(5, 0, 0)], now) == legacy_version(now)
    assert Numbering(scheme=Scheme.LATEST, major=1).choose([(5, 0, 0), (1, 0, 0)], now) == (1, 0, 1)
