"""What is sent of a build means there what it means here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aibemu.clock import SystemClock
from aibemu.cluster.orders import Order, Piece, template_text
from aibemu.engine.preparing.options import BuildOptions, Sent
from aibemu.images import Generation, ImageInfo, Provisioning
from aibemu.paths import Home
from aibemu.redact import Redactor
from aibemu.settings import Settings
from aibemu.submission.examine import examine
from aibemu.submission.request import Document, TemplateRequest
from aibemu.template.model import Template

LITERAL = ["[[concat('a')]", "[unfinished", "[]", "[[x]", "plain", "it's [here]", "[ ]x", "[[[twice]"]


def document(bare: bool) -> str:
    body: dict[str, Any] = {
        "location": "westeurope", "identity": {"type": "UserAssigned", "userAssignedIdentities": {
            "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/a/providers"
            "/Microsoft.ManagedIdentity/userAssignedIdentities/builder": {}
        }},
        "tags": {"when": "[utcNow()]", "id": "[newGuid()]"},
        "properties": {
            "source": {"type": "PlatformImage", "publisher": "a", "offer": "b", "sku": "c", "version": "latest"},
            "customize": [{"type": "Shell", "name": "one", "inline": [f"echo {text}" for text in LITERAL] + LITERAL}],
            "distribute": [{"type": "VHD", "runOutputName": "disk"}],
        },
    }  # fmt: skip
    if bare:
        return json.dumps({**body, "tags": {}})
    inline = body["properties"]["customize"][0]["inline"]
    inline.remove("[]")  # no expression, and no text either
    schema = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
    kind = {"type": "Microsoft.VirtualMachineImages/imageTemplates", "apiVersion": "2024-02-01", "name": "web"}
    parameters = {"when": {"type": "string", "defaultValue": "[utcNow()]"}}
    parameters["id"] = {"type": "string", "defaultValue": "[newGuid()]"}
    body["tags"] = {"when": "[parameters('when')]", "id": "[parameters('id')]"}
    return json.dumps(
        {"$schema": schema, "contentVersion": "1.0.0.0", "parameters": parameters, "resources": [{**kind, **body}]}
    )


def template_of(text: str, tmp_path: Path) -> Template:
    request = TemplateRequest(document=Document(text=text, name="web.json", base=tmp_path), folder=tmp_path)
    return examine(
        request, home=Home.at(tmp_path), settings=Settings(check_scripts=False), clock=SystemClock(), build=True,
        redactor=Redactor(),
    ).require().template  # fmt: skip


@pytest.mark.parametrize("bare", [False, True])
def test_an_evaluated_template_is_not_evaluated_again(tmp_path: Path, bare: bool) -> None:
    here = template_of(document(bare), tmp_path)
    there = template_of(template_text(here), tmp_path)
    assert there.document == here.document
    assert (there.name, there.api_version) == (here.name, here.api_version)
    assert [step.options for step in there.customize] == [step.options for step in here.customize]


def order(tmp_path: Path) -> Order:
    info = ImageInfo(
        os_type="Linux", os_name="Debian", generation=Generation.V2, provisioning=Provisioning.AZURE, generalized=True,
        origin="test",
    )  # fmt: skip
    options = BuildOptions(
        template=TemplateRequest(document=Document(text="{}", name="a.json", base=tmp_path), folder=tmp_path),
        subscription_id="1", resource_group="g", sent=Sent(digest="a" * 64, source_id="x", files={"b.sh": "b" * 64}),
    )  # fmt: skip
    return Order(
        run="12345678", topic="t", options=options, settings={"build_user": "packer", "hardware": ("nic=e1000",)},
        secrets=("s3cret",), pieces=(
            Piece(kind="image", digest="a" * 64, size=3, virtual_size=9, info=info),
            Piece(kind="file", digest="b" * 64, size=1),
        ),
    )  # fmt: skip


def test_an_order_survives_the_way(tmp_path: Path) -> None:
    sent = order(tmp_path)
    got = Order.from_json(json.loads(json.dumps(sent.to_json())))
    assert got == Order.from_json(sent.to_json())
    assert (got.options, got.pieces, got.secrets) == (sent.options, sent.pieces, sent.secrets)
    assert Settings.load(tmp_path, {}, got.settings).hardware == ("nic=e1000",)


@pytest.mark.parametrize(
    "damage",
    [
        lambda value: value.pop("run"), lambda value: value.update(version=99),
        lambda value: value["pieces"][0].update(digest="../x"), lambda value: value["pieces"][0].update(info=None),
        lambda value: value["pieces"][1].update(kind="device"), lambda value: value["pieces"][1].update(size="1"),
    ],
)  # fmt: skip
def test_what_is_no_order_is_refused(tmp_path: Path, damage: Any) -> None:
    value = json.loads(json.dumps(order(tmp_path).to_json()))
    damage(value)
    with pytest.raises((KeyError, TypeError, ValueError)):
        Order.from_json(value)


def test_settings_that_are_about_a_host_are_not_taken_from_an_order(tmp_path: Path) -> None:
    value = order(tmp_path).to_json()
    value["settings"] |= {"memory_cap_mib": 1, "identities": ["a=rm -rf /"], "mappings": ["https://a=/"]}
    assert not {"memory_cap_mib", "identities", "mappings"} & set(Order.from_json(value).settings)
