from __future__ import annotations

import pytest

from aibemu.template.vm_sizes import DEFAULT_PROXY, default_for, lookup, table


@pytest.mark.parametrize(
    ("name", "vcpus", "gib"),
    [
        ("Standard_A1_v2", 1, 2), ("Standard_A8m_v2", 8, 64), ("Standard_B1s", 1, 1),
        ("Standard_B2ms", 2, 8), ("Standard_B4als_v2", 4, 8), ("Standard_D1_v2", 1, 3.5),
        ("Standard_D2_v2", 2, 7), ("Standard_DS12_v2", 4, 28), ("Standard_D15_v2", 20, 140),
        ("Standard_D2s_v3", 2, 8), ("Standard_D2ds_v4", 2, 8), ("Standard_D96as_v5", 96, 384),
        ("Standard_D4ls_v5", 4, 8), ("Standard_D2s_v6", 2, 8), ("Standard_E20_v3", 20, 160),
        ("Standard_E64_v3", 64, 432), ("Standard_E64ds_v4", 64, 504), ("Standard_E64s_v5", 64, 512),
        ("Standard_E96s_v5", 96, 672), ("Standard_F2", 2, 4), ("Standard_F8s_v2", 8, 16),
        ("Standard_F72s_v2", 72, 144), ("Standard_DC2s_v3", 2, 16), ("Standard_NV6", 6, 56),
    ],
)  # fmt: skip
def test_sizes_are_those_of_azure(name: str, vcpus: int, gib: float) -> None:
    size = lookup(name)
    assert size is not None
    assert (size.name, size.vcpus, size.memory_mib) == (name, vcpus, gib * 1024)


def test_names_are_taken_in_any_case_with_or_without_prefix() -> None:
    assert lookup("STANDARD_d2S_V3") == lookup("D2s_v3") == lookup(" standard_D2s_v3 ") != None  # noqa: E711
    assert lookup("Basic_A1") == lookup("Standard_A1")


@pytest.mark.parametrize("name", ["", "Standard_", "Standard_D3_v3", "Standard_Z1", "D", "Standard_E96_v4"])
def test_unknown_sizes_are_none(name: str) -> None:
    assert lookup(name) is None


def test_defaults_are_the_services() -> None:
    assert (default_for(1).name, default_for(2).name) == ("Standard_D1_v2", "Standard_D2ds_v4")
    assert (default_for(1).memory_mib, default_for(2).memory_mib) == (3584, 8192)
    assert lookup(DEFAULT_PROXY) is not None


def test_the_table_is_plausible() -> None:
    sizes = table().values()
    assert len(sizes) >= 80
    for size in sizes:
        assert 1 <= size.vcpus <= 128
        assert 0.5 <= size.memory_mib / 1024 / size.vcpus <= 14, size.name
