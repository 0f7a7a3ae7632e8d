"""Which system a guest has: by its image's os_type, and a clear word where there is none."""

from __future__ import annotations

import pytest

from aibemu.errors import HostNotReady
from aibemu.images import Generation, ImageInfo, Provisioning
from aibemu.systems import for_image, load, unsupported
from aibemu.systems.linux.system import LinuxSystem


def test_the_image_says_it() -> None:
    info = ImageInfo(
        os_type="Linux", os_name="Debian", generation=Generation.V1, provisioning=Provisioning.NOCLOUD,
        generalized=True, origin="test",
    )  # fmt: skip
    assert isinstance(for_image(info), LinuxSystem)
    assert unsupported("Linux", booted=True) is None


@pytest.mark.parametrize("os_type", ["Plan9", "linux"])
def test_one_that_nobody_knows_is_refused_with_what_there_is(os_type: str) -> None:
    why = f"it is a {os_type} image, and only Linux and Windows guests are run so far"
    with pytest.raises(HostNotReady, match=why) as caught:
        load(os_type)
    assert "aibemu images describe" in str(caught.value.hint) and caught.value.exit_code == 4


def test_an_image_that_nothing_sets_up_is_refused_in_its_systems_words() -> None:
    info = ImageInfo(
        os_type="Linux", os_name="Debian", generation=Generation.V1, provisioning=Provisioning.NONE,
        generalized=True, origin="test",
    )  # fmt: skip
    assert "no cloud-init" in str(LinuxSystem().objection(info))
