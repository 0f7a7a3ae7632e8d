"""What a person or a program asks for when it wants an image built: values, with JSON both ways.

`request.json` of a run holds these, so that `aibemu resume` need not be told again what was typed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from aibemu.engine.asking import OnErrorMode, Pauses
from aibemu.plan.reuse import Wish
from aibemu.submission.request import Document, TemplateRequest

VERSION = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverChoice:
    """What runs the machines."""

    name: str = "qemu"
    # As the driver itself knows them.
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReuseOptions:
    """What the build may take from earlier ones, and what it leaves for later ones."""

    wish: Wish = field(default_factory=Wish)
    # Make layers of the build machine.
    freeze: bool = True
    # Freeze memory also of guests of systems that want to be asked for it, and start from such layers.
    always: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestOptions:
    """What the machines may reach, who they are, and whether the finished image is tried out."""

    # Nothing is fetched, and the machines reach nothing but their platform.
    offline: bool = False
    # `ID=COMMAND`: real tokens of a managed identity.
    identities: tuple[str, ...] = ()
    # Boot the generalised image once more, as another machine.
    verify_boot: bool = False
    # Make machines that are of no use without hardware acceleration on a host without it.
    slow: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputOptions:
    """What is written besides the targets of the template, and how."""

    # A folder that gets links to the finished outputs; absolute, or None.
    out: Path | None = None
    # Formats written beside each output: `qcow2`.
    also: tuple[str, ...] = ()
    # Compress these.
    compress: bool = False
    # The shape of customization.log: `A` or `B`.
    log_format: str = "B"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A template that another computer has prepared and sent here with all that it needs. That one has checked the
    targets and writes them; here the image is made."""

    # The stored image to start from, whatever the template's source means here; "" for the one it means here.
    digest: str = ""
    # What the source is called there, and its exact version (`ResolvedImage`).
    source_id: str = ""
    exact_version: str = ""
    # URI -> sha256 of the scripts and files, which lie in the cache of artifacts.
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Continued:
    """A run that is gone on with, as its record has it."""

    # Its id.
    run: str
    # Ids of it and of those that it continued: what they made counts as this build's own.
    lineage: frozenset[str]
    # The steps of its last plan, as `plan.model.step_json` gives them.
    steps: tuple[Mapping[str, Any], ...] = ()
    # Ids of those of them that were left out.
    skipped: tuple[str, ...] = ()
    # Id of the one that failed and is to be left out now, or None.
    failed: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """One build. Values only; the template's text is in `template.document`."""

    template: TemplateRequest
    # Where the resources of the template are, as in Azure.
    subscription_id: str
    resource_group: str
    driver: DriverChoice = field(default_factory=DriverChoice)
    reuse: ReuseOptions = field(default_factory=ReuseOptions)
    guest: GuestOptions = field(default_factory=GuestOptions)
    outputs: OutputOptions = field(default_factory=OutputOptions)
    # What becomes of a failure, and when to wait for a person.
    on_error: OnErrorMode = OnErrorMode.TEMPLATE
    pauses: Pauses = field(default_factory=Pauses)
    continues: Continued | None = None
    sent: Sent | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON values. May hold secrets: values of parameters, and what is in the template."""
        template, wish, outputs = self.template, self.reuse.wish, self.outputs
        return {
            "version": VERSION,
            "document": {
                "text": template.document.text, "name": template.document.name, "base": str(template.document.base),
                "in_file": template.document.in_file,
            },
            "template": {"folder": str(template.folder), **_picked(template, _TEMPLATE)},
            "subscription_id": self.subscription_id,
            "resource_group": self.resource_group,
            "driver": {"name": self.driver.name, "options": dict(self.driver.options)},
            "reuse": {
                "freeze": self.reuse.freeze, "always": self.reuse.always, "warm": wish.warm, "cache": wish.cache,
                "from_step": wish.from_step,
                "max_age": wish.max_age.total_seconds(),
            },
            "guest": _picked(self.guest, _GUEST),
            "outputs": {"out": str(outputs.out) if outputs.out else None, **_picked(outputs, _OUTPUTS)},
            "on_error": self.on_error.value,
            "pauses": _picked(self.pauses, _PAUSES),
            "continues": _continued_json(self.continues) if self.continues else None,
            "sent": {**_picked(self.sent, _SENT), "files": dict(self.sent.files)} if self.sent else None,
        }  # fmt: skip

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> BuildOptions:
        """What `to_json` gave; KeyError, TypeError or ValueError if it is something else."""
        if value["version"] != VERSION:
            raise ValueError(f"options of another aibemu (version {value['version']})")
        document, template, reuse, outputs = (value[name] for name in ("document", "template", "reuse", "outputs"))
        return cls(
            template=TemplateRequest(
                document=Document(
                    text=document["text"], name=document["name"], base=Path(document["base"]),
                    in_file=document["in_file"],
                ),
                folder=Path(template["folder"]), **_tuples(template, _TEMPLATE),
            ),
            subscription_id=value["subscription_id"], resource_group=value["resource_group"],
            driver=DriverChoice(name=value["driver"]["name"], options=dict(value["driver"]["options"])),
            reuse=ReuseOptions(
                freeze=reuse["freeze"], always=reuse.get("always", False),  # an earlier version has none
                wish=Wish(
                    warm=reuse["warm"], cache=reuse["cache"], from_step=reuse["from_step"],
                    max_age=timedelta(seconds=reuse["max_age"]),
                ),
            ),
            guest=GuestOptions(**_tuples({"slow": False, **value["guest"]}, _GUEST)),  # an earlier version has no slow
            outputs=OutputOptions(
                out=Path(outputs["out"]) if outputs["out"] else None, **_tuples(outputs, _OUTPUTS)
            ),
            on_error=OnErrorMode(value["on_error"]), pauses=Pauses(**_tuples(value["pauses"], _PAUSES)),
            continues=_continued(value["continues"]) if value["continues"] else None,
            sent=Sent(**sent) if (sent := value.get("sent")) else None,  # an earlier version has none
        )  # fmt: skip


_TEMPLATE = (
    "name", "api_version", "parameters", "placeholders", "supplied", "mappings", "online", "disabled",
)  # fmt: skip
_GUEST = ("offline", "identities", "verify_boot", "slow")
_OUTPUTS = ("also", "compress", "log_format")
_PAUSES = ("before", "after")
_SENT = ("digest", "source_id", "exact_version")
_CONTINUED = ("run", "skipped", "failed")


def _picked(value: object, names: tuple[str, ...]) -> dict[str, Any]:
    found = {name: getattr(value, name) for name in names}
    return {name: list(item) if isinstance(item, tuple) else item for name, item in found.items()}


def _tuples(value: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: tuple(value[name]) if isinstance(value[name], list) else value[name] for name in names}


def _continued_json(value: Continued) -> dict[str, Any]:
    return {
        "lineage": sorted(value.lineage), "steps": [dict(step) for step in value.steps], **_picked(value, _CONTINUED),
    }  # fmt: skip


def _continued(value: Mapping[str, Any]) -> Continued:
    return Continued(
        lineage=frozenset(value["lineage"]), steps=tuple(value["steps"]), **_tuples(value, _CONTINUED)
    )  # fmt: skip
