"""Shapes and fields that several parts of the table share."""

from __future__ import annotations

from aibemu.names import Form
from aibemu.template.spec.shapes import ALWAYS, Array, Era, Field, Map, Record, Text
from aibemu.template.spec.versions import V2019_05

TEXT = Text()
# Texts that name something: `aibemu.names` says what each can be.
A_NAME = Text(form=Form.NAME)
AN_ID = Text(form=Form.ID)
AN_ADDRESS = Text(form=Form.ADDRESS)
A_TARGET = Text(form=Form.TARGET)
A_GUEST_PATH = Text(form=Form.GUEST_PATH)
A_LABEL = Text(form=Form.LABEL)
LINES = Array(items=TEXT)
TAGS = Map(values=TEXT, form=Form.LABEL)
STATE = Text(choices={"Enabled": ALWAYS, "Disabled": ALWAYS})
FREE = Record(name="", what="an object of the service's own")

# The dot came with 2019-05-01-preview (facts: service 1.4).
_NAMES = (
    (
        Era(until=V2019_05),
        Text(pattern=r"[A-Za-z0-9\-_]{1,64}", rule="1 to 64 letters, digits, `-` and `_`", form=Form.NAME),
    ),
    (
        Era(since=V2019_05),
        Text(pattern=r"[A-Za-z0-9\-_.]{1,64}", rule="1 to 64 letters, digits, `-`, `_` and `.`", form=Form.NAME),
    ),
)


def read_only(name: str, doc: str, since: str = "") -> Field:
    """A field that only the service sets."""
    return Field(name=name, shape=FREE, era=Era(since=since), read_only=True, doc=doc)


def name_field(name: str, doc: str, *, id_: str, aka: tuple[str, ...] = ()) -> tuple[Field, ...]:
    """A required name that becomes part of a resource id: one field for each rule that the service had for names."""
    return tuple(
        Field(name=name, shape=shape, doc=doc, era=era, required=ALWAYS, missing=id_, invalid=id_, aka=aka)
        for era, shape in _NAMES
    )
