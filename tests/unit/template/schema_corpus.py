"""Image templates for tests of the schema: hand-made ones with every field of an API version, and slips in them."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from aibemu.arm.findings import Findings
from aibemu.arm.nodes import Node
from aibemu.arm.reader import read
from aibemu.template.spec import IMAGE_TEMPLATE
from aibemu.template.validator import FieldPlace, Validator

Document = dict[str, Any]

KINDS = frozenset({"Shell", "PowerShell", "File", "WindowsRestart", "WindowsUpdate"})
GROUP = "/subscriptions/0/resourceGroups/g"
SUM = "0" * 64
URI = "https://example.com/a"
TAGS = {"owner": "me"}


class Piece(NamedTuple):
    """Part of a template, in API versions from `since` on and before `until`."""

    value: Any
    since: str = "2018"
    until: str = "9999"


# Written from the documentation of each version, not from the table that they test.
SOURCES = (
    Piece({"type": "PlatformImage", "publisher": "p", "offer": "o", "sku": "s", "version": "latest"}),
    Piece(
        {
            "type": "PlatformImage", "publisher": "p", "offer": "o", "sku": "s", "version": "1.0.0",
            "planInfo": {"planName": "n", "planProduct": "p", "planPublisher": "q"},
        },
        "2020",
    ),
    Piece({"type": "ManagedImage", "imageId": f"{GROUP}/images/i"}, "2019-02"),
    Piece({"type": "SharedImageVersion", "imageVersionId": f"{GROUP}/versions/1.0.0"}, "2019-05"),
    Piece({"type": "ISO", "sourceURI": URI, "sha256Checksum": SUM}, "2018", "2019-05"),
    Piece({"type": "ISO", "sourceUri": URI, "sha256Checksum": SUM}, "2019-05", "2020"),
)  # fmt: skip
VALIDATORS = (
    Piece({"type": "Shell", "name": "n", "scriptUri": URI, "sha256Checksum": SUM}, "2022-02"),
    Piece({"type": "Shell", "name": "n", "inline": ["true"]}, "2022-02"),
    Piece(
        {
            "type": "PowerShell", "name": "n", "inline": ["1"], "scriptUri": URI, "sha256Checksum": SUM,
            "validExitCodes": [0, 3010], "runElevated": True, "runAsSystem": True,
        },
        "2022-02",
    ),
    Piece({"type": "File", "name": "n", "sourceUri": URI, "destination": "/tmp/a", "sha256Checksum": SUM}, "2022-07"),
)  # fmt: skip
CUSTOMIZERS = (
    Piece({"type": "shell", "name": "n", "script": URI}, "2018", "2019-02"),
    Piece({"type": "Shell", "name": "n", "script": URI, "inline": ["true"]}, "2019-02", "2019-05"),
    Piece(
        {"type": "PowerShell", "name": "n", "script": URI, "inline": ["1"], "validExitCodes": [0]}, "2019-02", "2019-05"
    ),
    Piece({"type": "Shell", "name": "n", "scriptUri": URI, "sha256Checksum": SUM}, "2019-05"),
    Piece({"type": "Shell", "name": "n", "inline": ["true"]}, "2019-05"),
    Piece(
        {
            "type": "PowerShell",
            "name": "n",
            "inline": ["1"],
            "scriptUri": URI,
            "sha256Checksum": SUM,
            "validExitCodes": [0, 3010],
            "runElevated": True,
        },
        "2019-05",
    ),
    Piece({"type": "PowerShell", "inline": ["1"], "runElevated": True, "runAsSystem": True}, "2020"),
    Piece(
        {
            "type": "WindowsRestart",
            "name": "n",
            "restartCommand": "c",
            "restartCheckCommand": "d",
            "restartTimeout": "5m",
        },
        "2019-02",
    ),
    Piece(
        {"type": "WindowsUpdate", "name": "n", "searchCriteria": "c", "filters": ["include:$true"], "updateLimit": 5},
        "2020",
    ),
    Piece({"type": "File", "name": "n", "sourceUri": URI, "destination": "/tmp/a", "sha256Checksum": SUM}, "2019-05"),
)
IMAGE = {"runOutputName": "out", "artifactTags": TAGS, "imageId": f"{GROUP}/images/o", "location": "westus"}
GALLERY = {"runOutputName": "out-2", "artifactTags": TAGS, "galleryImageId": f"{GROUP}/galleries/y/images/o"}
DISTRIBUTORS = (
    Piece({"type": "managedImage", **IMAGE}, "2018", "2019-02"),
    Piece({"type": "ManagedImage", **IMAGE}, "2019-02"),
    Piece({"type": "sharedImage", **GALLERY, "replicationRegions": ["westus"]}, "2018", "2019-02"),
    Piece({"type": "SharedImage", **GALLERY, "replicationRegions": ["westus"]}, "2019-02"),
    Piece(
        {
            "type": "SharedImage", **GALLERY, "replicationRegions": ["westus"], "excludeFromLatest": True,
            "storageAccountType": "Standard_ZRS",
        },
        "2020",
    ),
    Piece(
        {
            "type": "SharedImage", **GALLERY, "excludeFromLatest": True, "versioning": {"scheme": "Latest", "major": 2},
            "targetRegions": [{"name": "westus", "replicaCount": 2, "storageAccountType": "Premium_LRS"}],
        },
        "2022-07",
    ),
    Piece({"type": "SharedImage", **GALLERY, "versioning": {"scheme": "Source"}, "replicationMode": "Shallow"}, "2025"),
    Piece({"type": "SharedImage", **GALLERY, "versioning": {"scheme": "Source"}}, "2022-07"),
    Piece({"type": "VHD", "runOutputName": "out.3", "artifactTags": TAGS}, "2019-05"),
    Piece({"type": "VHD", "runOutputName": "out-3", "artifactTags": TAGS}, "2019-02"),
    Piece({"type": "VHD", "runOutputName": "out-3", "artifactTags": TAGS, "uri": URI}, "2022-07"),
)  # fmt: skip
PROPERTIES = (
    Piece({"buildTimeoutInMinutes": 60, "vmProfile": {"vmSize": "Standard_D2s_v3"}}, "2019-05"),
    Piece({"vmProfile": {"vnetConfig": {"name": "n", "subnetName": "s", "resourceGroupName": "g"}}}, "2019-05", "2020"),
    Piece({"vmProfile": {"vmSize": "", "osDiskSizeGB": 64, "vnetConfig": {"subnetId": "s"}}}, "2020"),
    Piece(
        {"vmProfile": {"userAssignedIdentities": ["i"], "vnetConfig": {"subnetId": "s", "proxyVmSize": "p"}}}, "2021"
    ),
    Piece(
        {
            "validate": {"continueDistributeOnFailure": True, "sourceValidationOnly": False},
            "stagingResourceGroup": GROUP,
        },
        "2022-02",
    ),
    Piece({"optimize": {"vmBoot": {"state": "Enabled"}}}, "2022-07"),
    Piece({"errorHandling": {"onCustomizerError": "abort", "onValidationError": "cleanup"}}, "2023"),
    Piece({"autoRun": {"state": "Enabled"}, "managedResourceTags": TAGS}, "2024"),
    Piece({"vmProfile": {"vnetConfig": {"subnetId": "s", "containerInstanceSubnetId": "t"}}}, "2024"),
    Piece(
        {
            "additionalDataDisks": [{"sizeGB": 5}, {}],
            "optimize": {"vmBoot": {}, "workload": {"state": "Disabled", "scriptUri": URI, "sha256Checksum": SUM}},
        },
        "2025",
    ),
)


def living(pieces: tuple[Piece, ...], version: str) -> list[Any]:
    """The pieces of an API version."""
    return [copy.deepcopy(piece.value) for piece in pieces if piece.since <= version < piece.until]


def template(version: str, *, source: Any, customize: list[Any], distribute: list[Any], extras: list[Any]) -> Document:
    """A template made of such pieces; of two extras with one name the later wins."""
    document: Document = {
        "name": "demo", "location": "westus", "tags": dict(TAGS),
        "properties": {"source": source, "customize": customize, "distribute": distribute},
    }  # fmt: skip
    if version >= "2019-05":
        document["identity"] = {"type": "UserAssigned", "userAssignedIdentities": {f"{GROUP}/identities/i": {}}}
    for extra in extras:
        document["properties"].update(extra)
    return document


def examples(version: str) -> Iterator[Document]:
    """Valid templates which together have every field that the API version knows."""
    for source in living(SOURCES, version):
        yield template(
            version, source=source, customize=living(CUSTOMIZERS, version), distribute=living(DISTRIBUTORS, version),
            extras=[],
        )  # fmt: skip
    for extra in living(PROPERTIES, version):
        document = template(
            version, source=living(SOURCES, version)[0], customize=[], distribute=living(DISTRIBUTORS, version)[:1],
            extras=[extra],
        )  # fmt: skip
        if "validate" in extra:
            extra["validate"]["inVMValidations"] = living(VALIDATORS, version)
        yield document


def some_template(version: str, chance: random.Random) -> Document:
    """A small valid template of random pieces."""
    extras = [extra for extra in living(PROPERTIES, version) if chance.random() < 0.3]
    for extra in extras:
        if "validate" in extra:
            extra["validate"]["inVMValidations"] = [chance.choice(living(VALIDATORS, version))]
    return template(
        version,
        source=chance.choice(living(SOURCES, version)),
        customize=chance.sample(living(CUSTOMIZERS, version), k=min(chance.randrange(3), 1 + (version > "2019-02"))),
        distribute=[chance.choice(living(DISTRIBUTORS, version))],
        extras=extras,
    )


# What a field may hold by mistake: other types, edges of bounds, words that mean something elsewhere.
STRANGE: tuple[Any, ...] = (
    None, "", " ", "x", "a.b", "a\n", "x" * 65, "<p>", 0, 1, -1, -2, 5, 960, 961, 5.0, 1.5, True, False, [], {}, ["a"],
    [5], [None], [""], [{}], {"a": "b"}, {"a": None}, {"type": None}, "Enabled", "enabled", "cleanup", "Standard_LRS",
    "Premium_LRS", "None", "UserAssigned", "Full", "true", "5",
)  # fmt: skip
ALL_PIECES = (*SOURCES, *CUSTOMIZERS, *VALIDATORS, *DISTRIBUTORS, *PROPERTIES)


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in a value, at any depth."""
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects(item)


# Every field that some version knows, with a value that it takes, and some that only the service sets.
KNOWN: tuple[tuple[str, Any], ...] = (
    *((key, value) for piece in ALL_PIECES for found in objects(piece.value) for key, value in found.items()),
    ("identity", {}), ("inVMValidations", []), ("exactVersion", "1.0.0"), ("provisioningState", "Succeeded"),
    ("id", "x"), ("unknown", "x"), ("lastRunStatus", {}), ("systemData", {}),
)  # fmt: skip
TAG_WORDS: tuple[str, ...] = tuple(
    sorted({v for p in ALL_PIECES for o in objects(p.value) for k, v in o.items() if k in ("type", "scheme")})
)


def drop(found: dict[str, Any], key: str, chance: random.Random) -> None:
    del found[key]


def rename(found: dict[str, Any], key: str, chance: random.Random) -> None:
    found[key + "s"] = found.pop(key)


def change_case(found: dict[str, Any], key: str, chance: random.Random) -> None:
    found[chance.choice((key.lower(), key.upper(), key[:1].swapcase() + key[1:]))] = found.pop(key)


def replace(found: dict[str, Any], key: str, chance: random.Random) -> None:
    found[key] = copy.deepcopy(chance.choice(STRANGE))


def replace_with_known(found: dict[str, Any], key: str, chance: random.Random) -> None:
    found[key] = copy.deepcopy(chance.choice(KNOWN)[1])


def add(found: dict[str, Any], key: str, chance: random.Random) -> None:
    name, value = chance.choice(KNOWN)
    found[name] = copy.deepcopy(value)


def retag(found: dict[str, Any], key: str, chance: random.Random) -> None:
    found["type" if "scheme" not in found else "scheme"] = chance.choice(TAG_WORDS)


def damage_list(found: dict[str, Any], key: str, chance: random.Random) -> None:
    if isinstance(found[key], list) and found[key]:
        found[key][chance.randrange(len(found[key]))] = copy.deepcopy(chance.choice(STRANGE))
    else:
        found[key] = [found[key]]


SLIPS: tuple[Callable[[dict[str, Any], str, random.Random], None], ...] = (
    drop, rename, change_case, replace, replace, replace_with_known, add, retag, damage_list,
)  # fmt: skip


def spoil(document: Document, chance: random.Random) -> None:
    """One slip somewhere in a template."""
    found = chance.choice([found for found in objects(document) if found] or [document])
    if found:
        chance.choice(SLIPS)(found, chance.choice(sorted(found)), chance)


def spoiled(version: str, chance: random.Random) -> Document:
    """A small template with one or two slips."""
    document = some_template(version, chance)
    for _ in range(chance.choice((1, 1, 2))):
        spoil(document, chance)
    return document


def node_of(document: Document) -> Node:
    """The document as the reader sees it."""
    root = read(json.dumps(document), "t.json").root
    assert root is not None
    return root


def judge(node: Node, version: str) -> Findings:
    """What the schema part of the validator says."""
    findings = Findings()
    Validator(version, KINDS, findings).check(node, IMAGE_TEMPLATE, FieldPlace(path=IMAGE_TEMPLATE.name, name=""))
    return findings
