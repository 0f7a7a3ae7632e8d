"""What is asked for is values: JSON both ways, and nothing is looked up when they are read again."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibemu.engine.asking import OnErrorMode, Pauses
from aibemu.engine.preparing.options import (
    BuildOptions,
    Continued,
    DriverChoice,
    GuestOptions,
    OutputOptions,
    ReuseOptions,
)
from aibemu.plan.reuse import Wish
from aibemu.submission.request import Document, TemplateRequest

TEXTS = st.lists(st.text(max_size=8), max_size=3).map(tuple)
PATHS = st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=8).map(
    lambda name: Path("/folder", name)
)
NAMES = st.none() | st.text(max_size=8)
DOCUMENTS = st.builds(Document, text=st.text(), name=st.text(), base=PATHS, in_file=st.booleans())
TEMPLATES = st.builds(
    TemplateRequest,
    document=DOCUMENTS, folder=PATHS, name=NAMES, api_version=NAMES, parameters=TEXTS, placeholders=TEXTS,
    supplied=TEXTS, mappings=TEXTS, online=st.booleans(), disabled=TEXTS,
)  # fmt: skip
OPTIONS = st.builds(
    BuildOptions,
    template=TEMPLATES, subscription_id=st.text(), resource_group=st.text(),
    driver=st.builds(DriverChoice, name=st.text(), options=st.dictionaries(st.text(), st.text(), max_size=2)),
    reuse=st.builds(
        ReuseOptions, freeze=st.booleans(),
        wish=st.builds(
            Wish, warm=st.booleans(), cache=st.booleans(), from_step=NAMES,
            max_age=st.integers(0, 10**9).map(lambda seconds: timedelta(seconds=seconds)),
            own=st.just(frozenset()), skipped=st.just(frozenset()),
        ),
    ),
    guest=st.builds(GuestOptions, offline=st.booleans(), identities=TEXTS, verify_boot=st.booleans()),
    outputs=st.builds(
        OutputOptions, out=st.none() | PATHS, also=TEXTS, compress=st.booleans(), log_format=st.sampled_from("AB")
    ),
    on_error=st.sampled_from(OnErrorMode), pauses=st.builds(Pauses, before=TEXTS, after=TEXTS),
    continues=st.none() | st.builds(
        Continued, run=st.text(), lineage=st.frozensets(st.text(), max_size=3), skipped=TEXTS, failed=NAMES,
        steps=st.lists(st.fixed_dictionaries({"id": st.text(), "named": st.booleans()}), max_size=2).map(tuple),
    ),
)  # fmt: skip


@given(OPTIONS)
def test_options_come_back_from_json_as_they_were(options: BuildOptions) -> None:
    assert BuildOptions.from_json(json.loads(json.dumps(options.to_json()))) == options


def test_all_of_each_value_is_in_the_json() -> None:
    """A field that is added and not written would be lost by `aibemu resume`, and no round trip of defaults sees it."""
    where = {
        "template": (TemplateRequest, {"document"}), "guest": (GuestOptions, set()), "outputs": (OutputOptions, set()),
        "pauses": (Pauses, set()), "driver": (DriverChoice, set()), "document": (Document, set()),
    }  # fmt: skip
    written = an_option().to_json()
    for name, (kind, elsewhere) in where.items():
        fields = {field.name for field in dataclasses.fields(kind)}
        assert set(written[name]) == fields - elsewhere, name
    top = {field.name for field in dataclasses.fields(BuildOptions)}
    assert set(written) == top | {"version", "document"}


@pytest.mark.parametrize(
    "change",
    [{"version": 2}, {"document": None}, {"on_error": "nonsense"}, {"reuse": {"freeze": True}}, {"template": {}}],
    ids=lambda change: next(iter(change)),
)
def test_what_is_none_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        BuildOptions.from_json(an_option().to_json() | change)


def an_option() -> BuildOptions:
    document = Document(text="{}", name="t.json", base=Path("/work"))
    return BuildOptions(
        template=TemplateRequest(document=document, folder=Path("/work")), subscription_id="s", resource_group="g"
    )
