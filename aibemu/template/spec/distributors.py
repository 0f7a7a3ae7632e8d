"""Distribute targets (facts: service 1.3, 1.4)."""

from __future__ import annotations

from aibemu.template.spec.shapes import ALWAYS, Array, Boolean, Era, Field, Integer, Map, Record, Text, Union, Variant
from aibemu.template.spec.versions import V2019_02, V2020_02, V2022_07, V2025_10

TEXT = Text()
NAME_PATTERN = r"[A-Za-z0-9\-_.]{1,64}"
NAME_RULE = "1 to 64 letters, digits, `-`, `_` and `.`"

RUN_OUTPUT_NAME = Field(
    name="runOutputName", shape=Text(pattern=NAME_PATTERN, rule=NAME_RULE), required=ALWAYS, missing="E50",
    invalid="E50", aka=("runOutput", "outputName"),
)  # fmt: skip
ARTIFACT_TAGS = Field(name="artifactTags", shape=Map(values=TEXT), default={}, aka=("tags",))
STORAGE_ACCOUNT_TYPE = Text(
    choices={"Standard_LRS": ALWAYS, "Standard_ZRS": ALWAYS, "Premium_LRS": Era(since=V2022_07)}
)


def place(name: str, *aka: str) -> Field:
    """A required field that says where the artifact goes."""
    return Field(name=name, shape=TEXT, required=ALWAYS, missing="E51", aka=aka)


MANAGED_IMAGE = Record(
    name="ImageTemplateManagedImageDistributor",
    what="a ManagedImage distributor",
    fields=(RUN_OUTPUT_NAME, ARTIFACT_TAGS, place("imageId"), place("location", "region")),
)
VHD = Record(
    name="ImageTemplateVhdDistributor",
    what="a VHD distributor",
    fields=(RUN_OUTPUT_NAME, ARTIFACT_TAGS, Field(name="uri", shape=TEXT, era=Era(since=V2022_07), default="")),
)
TARGET_REGION = Record(
    name="TargetRegion",
    what="a target region",
    fields=(
        Field(name="name", shape=TEXT, required=ALWAYS),
        Field(name="replicaCount", shape=Integer(minimum=1), default=1, invalid="E59"),
        Field(name="storageAccountType", shape=STORAGE_ACCOUNT_TYPE, default="Standard_LRS"),
    ),
)
VERSIONING = Union(
    what="versioning scheme",
    discriminator="scheme",
    variants=(
        Variant(
            tag="Latest",
            record=Record(
                name="DistributeVersionerLatest",
                what="the versioning scheme Latest",
                fields=(Field(name="major", shape=Integer(minimum=-1), default=-1, invalid="E58"),),
            ),
        ),
        Variant(tag="Source", record=Record(name="DistributeVersionerSource", what="the versioning scheme Source")),
    ),
)
SHARED_IMAGE = Record(
    name="ImageTemplateSharedImageDistributor",
    what="a SharedImage distributor",
    fields=(
        RUN_OUTPUT_NAME,
        ARTIFACT_TAGS,
        place("galleryImageId", "imageId", "galleryImageDefinitionId"),
        Field(name="replicationRegions", shape=Array(items=TEXT), required=Era(until=V2022_07), aka=("regions",)),
        Field(name="targetRegions", shape=Array(items=TARGET_REGION), era=Era(since=V2022_07)),
        Field(name="excludeFromLatest", shape=Boolean(), era=Era(since=V2020_02), default=False),
        Field(name="storageAccountType", shape=STORAGE_ACCOUNT_TYPE, era=Era(since=V2020_02)),
        Field(name="versioning", shape=VERSIONING, era=Era(since=V2022_07)),
        Field(
            name="replicationMode", shape=Text(choices={"Full": ALWAYS, "Shallow": ALWAYS}), era=Era(since=V2025_10),
            default="Full",
        ),
    ),
)  # fmt: skip

DISTRIBUTOR = Union(
    what="distributor",
    discriminator="type",
    variants=(
        Variant(tag="ManagedImage", record=MANAGED_IMAGE, era=Era(since=V2019_02)),
        Variant(tag="managedImage", record=MANAGED_IMAGE, era=Era(until=V2019_02)),
        Variant(tag="SharedImage", record=SHARED_IMAGE, era=Era(since=V2019_02)),
        Variant(tag="sharedImage", record=SHARED_IMAGE, era=Era(until=V2019_02)),
        Variant(tag="VHD", record=VHD, era=Era(since=V2019_02)),
    ),
)
