"""Resource ids: round trips, case, safe paths, and the names that Image Builder makes."""

from __future__ import annotations

from pathlib import PurePosixPath
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibemu.cloud.ids import (
    DEFINITION,
    GROUP,
    IMAGE,
    ResourceId,
    location_key,
    parse_id,
    staging_group_id,
    staging_group_name,
    staging_tags,
    template_id,
)
from aibemu.errors import Span, UsageError
from aibemu.template.model import Template

SUB = "00000000-0000-0000-0000-000000000001"
GUID = UUID("2F5D0E0A-7C0B-4A34-9C52-5F7C4B1D2A10")

words = st.from_regex(r"[A-Za-z][A-Za-z0-9]{0,20}", fullmatch=True)
names = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Cf", "Zs", "Zl", "Zp"), exclude_characters="/\\<>%&?#"),
    min_size=1,
    max_size=60,
).filter(lambda name: not name.endswith("."))
pairs = st.lists(st.tuples(words, names), min_size=1, max_size=3)


@st.composite
def ids(draw: st.DrawFn) -> ResourceId:
    found = draw(pairs)
    return ResourceId(
        subscription=draw(names), group=draw(names), provider=f"{draw(words)}.{draw(words)}",
        types=tuple(kind for kind, _ in found), names=tuple(name for _, name in found),
    )  # fmt: skip


@given(ids())
def test_printing_and_parsing_are_inverse(where: ResourceId) -> None:
    again = parse_id(str(where))
    assert str(again) == str(where)
    assert (again.types, again.names, again.provider) == (where.types, where.names, where.provider)


@given(ids())
def test_case_does_not_matter(where: ResourceId) -> None:
    lower = parse_id(str(where).lower())
    assert parse_id(str(lower)) == lower
    assert hash(lower) == hash(where) and lower == where
    assert lower.path_parts() == where.path_parts()


@given(ids(), ids())
def test_paths_are_equal_exactly_when_ids_are(one: ResourceId, other: ResourceId) -> None:
    assert (one.path_parts() == other.path_parts()) == (one == other)


@given(ids())
def test_paths_cannot_leave_the_folder(where: ResourceId) -> None:
    for part in where.path_parts():
        assert PurePosixPath(part).name == part
        assert not part.startswith(".") and part.isascii() and len(part) <= 180


def test_long_names_stay_apart() -> None:
    one, other = (parse_id(f"/subscriptions/s/resourceGroups/{'é' * 120}{end}") for end in "ab")
    assert one.path_parts() != other.path_parts()


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "must begin with"),
        ("images/gold", "must begin with"),
        ("/subscriptions/s/resourceGroup/g", "must begin with"),
        ("/subscriptions//resourceGroups/g", "a name is empty"),
        ("/subscriptions/<subscriptionID>/resourceGroups/g", "cannot be a name"),
        ("/subscriptions/s/resourceGroups/..", "cannot be a name"),
        ("/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/images", "after the resource group"),
        ("/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/images/..", "cannot be a name"),
        ("/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/images/a\x00b", "cannot be a name"),
        ("/subscriptions/s/resourceGroups/g/providers/../images/a", "not a provider"),
        ("/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/images/a/", "after the resource group"),
        ("/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/images/\ud800", "cannot be a name"),
    ],
)
def test_malformed_ids_are_refused_with_place_and_reason(text: str, part: str) -> None:
    span = Span(file="t.json", line=3, column=9)
    with pytest.raises(UsageError) as caught:
        parse_id(text, what="imageId", span=span)
    assert caught.value.span == span
    assert "imageId" in caught.value.message
    assert part in caught.value.details[0]


def test_the_wrong_kind_is_refused_and_the_right_form_shown() -> None:
    text = f"/subscriptions/{SUB}/resourceGroups/g/providers/Microsoft.Compute/images/gold"
    assert parse_id(text.lower(), expected=IMAGE).name == "gold"
    with pytest.raises(UsageError) as caught:
        parse_id(text, expected=DEFINITION)
    assert "it names a Microsoft.Compute/images" in caught.value.details[0]
    assert "/galleries/<name>/images/<name>" in str(caught.value.hint)
    with pytest.raises(UsageError):
        parse_id(text, expected=GROUP)


def test_parents_and_children() -> None:
    definition = parse_id(f"/subscriptions/{SUB}/resourceGroups/g/providers/Microsoft.Compute/galleries/G/images/D")
    version = definition.child("versions", "1.2.3")
    assert version.type == "Microsoft.Compute/galleries/images/versions"
    assert version.parent == definition
    assert str(definition.parent.parent) == f"/subscriptions/{SUB}/resourceGroups/g"
    with pytest.raises(UsageError):
        definition.child("versions", "../../x")


def test_the_service_writes_resourcegroups_in_lower_case() -> None:
    text = template_id(SUB, "Group", "Gold")
    assert parse_id(text).as_service_writes() == (
        f"/subscriptions/{SUB}/resourcegroups/Group/providers/Microsoft.VirtualMachineImages/imageTemplates/Gold"
    )


@pytest.mark.parametrize(
    ("group", "name", "middle"),
    [
        ("rg", "gold", "rg_gold"),
        ("myResourceGroupForImages", "helloImageTemplateLinux01", "myResourceGroupForImages_helloImageTempl"),
    ],
)
def test_staging_group_names(group: str, name: str, middle: str) -> None:
    assert len(middle) <= 40
    assert staging_group_name(group, name, GUID) == f"IT_{middle}_{str(GUID).lower()}"


def template(staging: str) -> Template:
    made = object.__new__(Template)
    object.__setattr__(made, "name", "gold")
    object.__setattr__(made, "staging_resource_group", staging)
    return made


def test_a_template_keeps_its_staging_group_and_the_users_own_wins() -> None:
    one = staging_group_id(SUB, "rg", template(""))
    assert one == staging_group_id(SUB, "rg", template(""))
    assert one != staging_group_id(SUB, "other", template(""))
    assert parse_id(one, expected=GROUP).name.startswith("IT_rg_gold_")
    own = f"/subscriptions/{SUB}/resourceGroups/Mine"
    assert staging_group_id(SUB, "rg", template(own)) == own
    with pytest.raises(UsageError):
        staging_group_id(SUB, "rg", template("Mine"))


def test_staging_tags_say_who_made_the_group() -> None:
    where = parse_id(template_id(SUB, "rg", "gold"))
    made, used = (staging_tags(where, user_supplied=own) for own in (False, True))
    assert set(made) == {"createdBy", "imageTemplateName", "imageTemplateResourceGroupName"}
    assert set(used) == {"usedBy", "imageTemplateName", "imageTemplateResourceGroupName"}
    assert (made["imageTemplateName"], made["imageTemplateResourceGroupName"]) == ("gold", "rg")


def test_regions_compare_by_short_name() -> None:
    assert location_key("East US 2") == location_key("eastus2") == "eastus2"
