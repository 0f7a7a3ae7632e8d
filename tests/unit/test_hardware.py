"""Other devices than a system chooses, by a setting."""

from __future__ import annotations

from pathlib import Path

import pytest

from aibemu.errors import UsageError
from aibemu.hardware import Chipset, DiskBus, Hardware, NicModel, overridden
from aibemu.settings import Settings


def test_each_device_can_be_another_one() -> None:
    made = overridden(Hardware(), ["chipset=pc", "disk=ide", "nic=e1000e", "tpm=true", "hyperv=false"])
    assert (made.chipset, made.disk, made.nic) == (Chipset.PC, DiskBus.IDE, NicModel.E1000E)
    assert made.tpm and not made.hyperv and made.guest_ports == Hardware().guest_ports
    assert overridden(made, ()) == made


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("nic=rtl8139", "nic must be one of virtio-net, e1000, e1000e"), ("tpm=yes", "tpm must be one of true, false"),
        ("colour=red", "there is no 'colour'; known: chipset, disk"), ("guest_ports=1", "there is no 'guest_ports'"),
        ("nic", "nic must be one of"),
    ],
)  # fmt: skip
def test_what_is_none_is_refused_when_the_settings_are_read(text: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=why):
        overridden(Hardware(), [text])
    with pytest.raises(UsageError, match=f"AIBEMU_HARDWARE: hardware must be KEY=VALUE .{why}"):
        Settings.load(tmp_path, {"AIBEMU_HARDWARE": text})


def test_the_settings_take_a_map_or_a_list(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("hardware: {nic: e1000, tpm: 'true'}\nlocale: de-DE\nslow: true\n")
    settings = Settings.load(tmp_path, {})
    assert (settings.hardware, settings.locale, settings.slow) == (("nic=e1000", "tpm=true"), "de-DE", True)


@pytest.mark.parametrize("text", ["german", "de_DE", "de", "DE-de"])
def test_a_locale_is_a_language_and_a_region(text: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="locale must be a language and a region, like en-US"):
        Settings.load(tmp_path, {"AIBEMU_LOCALE": text})
