"""What makes a step another one, so that a layer of it is no use: all that it may read, and how it is judged."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aibemu.clock import SystemClock
from aibemu.images.store import ImageStore
from aibemu.layers.store import LayerStore
from tests.scenarios.layered import CASE, Workshop, restored

FREEZES = ["--driver-option", "freezes=yes"]


REBOOTS = {"match": "#two# *$", "reboot": True, "disconnect": True}


def test_the_setting_that_makes_a_reboot_an_error(shop: Workshop) -> None:
    shop.guest = [REBOOTS]
    assert "or set reboot_in_shell: fail" in shop.build().err
    seen = shop.call(args=FREEZES, exit=1, env={"AIBEMU_REBOOT_IN_SHELL": "fail"})
    assert shop.ran(seen) == ["one", "two"]


def test_a_warning_about_a_cached_step_is_said_again(shop: Workshop) -> None:
    shop.guest = [REBOOTS]
    shop.build()
    seen = shop.build()
    assert restored(seen) == ["three"]
    assert "or set reboot_in_shell: fail" in seen.err


@pytest.mark.parametrize(
    "differs",
    [
        {"sku": "12-other"},
        {"planInfo": {"planName": "n", "planProduct": "p", "planPublisher": "q"}},
    ],
)
def test_what_the_metadata_service_says_of_the_image(shop: Workshop, differs: dict[str, Any]) -> None:
    source = json.loads(CASE.read_text())["resources"][0]["properties"]["source"]
    shop.write(source=source)
    shop.call(args=FREEZES, exit=0)
    image = next(iter(LayerStore(shop.home.layers).layers())).image
    store = ImageStore(shop.home.images, SystemClock())
    store.set_alias("Debian:debian-12:12-other:0.20260101.1", image)
    shop.write(source=source | differs)
    seen = shop.call(args=FREEZES, exit=0)
    assert (restored(seen), shop.ran(seen)) == (["provisioned"], ["one", "two", "three"])
