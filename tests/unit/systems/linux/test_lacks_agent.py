"""The Azure agent's absence is told before the boot, unless the template seems to know."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from aibemu.images import BaseImage
from aibemu.images.linux import LinuxFacts
from aibemu.systems.linux.deprovision import lacks_agent
from tests.unit.systems.linux.test_linux_devices import INFO


def image(facts: LinuxFacts | None) -> BaseImage:
    return BaseImage(
        digest="ab" * 32, path=Path(), virtual_size=1, file_size=1, created="", info=replace(INFO, linux=facts)
    )  # fmt: skip


WITHOUT = LinuxFacts(distribution="debian 13", agents=("azure-init 0.1",))


def test_it_is_told_with_the_three_ways_out() -> None:
    told = lacks_agent(image(WITHOUT), "apt-get install nginx") or ""
    assert "status 127" in told
    for way in (
        "aibemu images list --catalogue",
        "/tmp/DeprovisioningScript.sh",
        "images prepare abababababab --agent",
    ):
        assert way in told


@pytest.mark.parametrize(
    "steps",
    ["apt-get install -y walinuxagent", "dnf install WALinuxAgent", "{'destination': '/tmp/DeprovisioningScript.sh'}"],
)
def test_a_template_that_knows_is_not_told(steps: str) -> None:
    assert lacks_agent(image(WITHOUT), steps) is None


@pytest.mark.parametrize(
    "facts",
    [None, replace(WITHOUT, agents=("waagent 2.7.3.0",)), replace(WITHOUT, seen_in="another image")],
)  # fmt: skip
def test_nothing_is_told_where_it_has_one_or_nobody_knows(facts: LinuxFacts | None) -> None:
    assert lacks_agent(image(facts), "") is None
