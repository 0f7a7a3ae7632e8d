"""An order: all that another computer must know to make the image of a prepared build, as JSON values.

The template goes as it was evaluated here, with nothing left to evaluate, so that parameters, Bicep, dates and new
guids mean the same there. Files and the source image are named by their digests and sent apart.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from aibemu.cluster.incoming import is_digest
from aibemu.engine.asking import OnErrorMode, Pauses
from aibemu.engine.preparing.options import BuildOptions, GuestOptions, OutputOptions, Sent
from aibemu.errors import UsageError
from aibemu.images import ImageInfo
from aibemu.images.store import read_info
from aibemu.plan.model import Plan
from aibemu.records import parse_json
from aibemu.settings import Settings
from aibemu.submission.request import Document, TemplateRequest
from aibemu.template.documents import TYPE
from aibemu.template.model import Template

VERSION = 1
FILE, IMAGE = "file", "image"
_SCHEMA = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
# Settings that decide what a build does, and not what a host has or where things are.
_SETTINGS = (
    "script_uri_sudo", "reboot_in_shell", "powershell_wrapper", "customization_log", "build_user", "first_boot_wait",
    "boot_timeout", "slow", "sysprep_timeout", "poweroff_timeout", "hardware", "locale", "subnets", "output_limit",
    "subscription_id", "subscription_name", "tenant_id", "resource_group", "location", "management_group",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A file that the build needs. kind: `file` or `image`; size in bytes. virtual_size, info: of an image."""

    kind: str
    digest: str
    size: int
    virtual_size: int = 0
    info: ImageInfo | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One build that is asked for."""

    # The id of its run in the home of who asks.
    run: str
    # Where its messages are expected.
    topic: str
    options: BuildOptions
    # Name -> value of the settings that win over those of the computer that builds.
    settings: Mapping[str, Any]
    # Values never to be shown.
    secrets: tuple[str, ...]
    pieces: tuple[Piece, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON values. Holds secrets."""
        return {
            "version": VERSION, "run": self.run, "topic": self.topic, "options": self.options.to_json(),
            "settings": {name: list(v) if isinstance(v, tuple) else v for name, v in self.settings.items()},
            "secrets": list(self.secrets), "pieces": parse_json(json.dumps([asdict(piece) for piece in self.pieces])),
        }  # fmt: skip

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Order:
        """What `to_json` gave; KeyError, TypeError or ValueError if it is something else."""
        if value["version"] != VERSION:
            raise ValueError(f"an order of another aibemu (version {value['version']})")
        return cls(
            run=str(value["run"]), topic=str(value["topic"]), options=BuildOptions.from_json(value["options"]),
            settings={name: v for name, v in value["settings"].items() if name in _SETTINGS},
            secrets=tuple(map(str, value["secrets"])), pieces=tuple(map(_piece, value["pieces"])),
        )  # fmt: skip


def elsewhere(options: BuildOptions) -> BuildOptions:
    """The options for a build on another computer: no machine is kept there. `UsageError` for what only a build on this
    one can have: nobody there can be asked, or get in."""
    refused = {
        "--on-error": options.on_error not in (OnErrorMode.CLEANUP, OnErrorMode.TEMPLATE),
        "--pause-before and --pause-after": bool(options.pauses.before or options.pauses.after),
        "--identity": bool(options.guest.identities),
        "resume": options.continues is not None,
    }
    if found := [name for name, given in refused.items() if given]:
        raise UsageError(
            f"{', '.join(found)}: not with builds on other computers",
            details=["their machines are not on this one: nobody here can get in or be asked"],
            hint="build on this computer, without --hosts and --scheduler",
        )
    return replace(options, on_error=OnErrorMode.CLEANUP)


def make_order(
    run: str, topic: str, options: BuildOptions, settings: Settings, plan: Plan, secrets: Sequence[str]
) -> Order:
    """The order for a plan of this computer. secrets: what the template has of them."""
    files = {file.uri: file for step in (*plan.steps, *plan.validators) for file in step.files}
    pieces = {file.sha256: Piece(kind=FILE, digest=file.sha256, size=file.size) for file in files.values()}
    source = plan.source
    digest = source.image.digest if source.known else ""
    sent = Sent(
        digest=digest, source_id=source.source_id, exact_version=source.exact_version,
        files={uri: file.sha256 for uri, file in files.items()},
    )  # fmt: skip
    found = list(pieces.values())
    if digest:
        found.append(_image(plan))
    return Order(
        run=run, topic=topic, options=_options(options, plan.template, sent),
        settings={name: getattr(settings, name) for name in _SETTINGS}, secrets=tuple(secrets), pieces=tuple(found),
    )  # fmt: skip


def paths_of(plan: Plan) -> dict[str, Path]:
    """Digest -> file on this computer, of all pieces of the plan's order."""
    found = {file.sha256: file.path for step in (*plan.steps, *plan.validators) for file in step.files}
    if plan.source.known and plan.source.image.digest:
        found[plan.source.image.digest] = plan.source.image.path
    return found


def template_text(template: Template) -> str:
    """A deployment template of this one resource, every text of which means itself."""
    resource = {name: value for name, value in template.document.items() if name not in ("type", "apiVersion")}
    whole = {"type": TYPE, "apiVersion": template.api_version, "name": template.name, **_literal(resource)}
    return json.dumps({"$schema": _SCHEMA, "contentVersion": "1.0.0.0", "resources": [whole]}, ensure_ascii=False)


def _literal(value: Any) -> Any:
    """The value for a place where a text in brackets would be an expression."""
    if isinstance(value, str):
        return f"[{value}" if value.startswith("[") and value.endswith("]") else value
    if isinstance(value, list | tuple):
        return [_literal(item) for item in value]
    if isinstance(value, Mapping):
        return {name: _literal(item) for name, item in value.items()}
    return value


def _image(plan: Plan) -> Piece:
    image = plan.source.image
    return Piece(
        kind=IMAGE, digest=image.digest, size=image.file_size, virtual_size=image.virtual_size, info=image.info
    )  # fmt: skip


def _options(options: BuildOptions, template: Template, sent: Sent) -> BuildOptions:
    """What is asked of the other computer: to make the image, and to clean up whatever happens."""
    document = Document(text=template_text(template), name=f"{template.name}.json", base=Path("/"))
    request = TemplateRequest(
        document=document, folder=Path("/"), api_version=template.api_version, disabled=options.template.disabled
    )
    guest = options.guest
    return replace(
        options, template=request, sent=sent, on_error=OnErrorMode.CLEANUP, pauses=Pauses(), continues=None,
        outputs=OutputOptions(log_format=options.outputs.log_format),
        guest=GuestOptions(offline=guest.offline, verify_boot=guest.verify_boot, slow=guest.slow),
    )  # fmt: skip


def _piece(value: Mapping[str, Any]) -> Piece:
    kind, digest, size = value["kind"], value["digest"], value["size"]
    if kind not in (FILE, IMAGE) or not isinstance(digest, str) or not is_digest(digest) or type(size) is not int:
        raise ValueError("a piece is not like that")
    info = read_info(value["info"]) if value["info"] else None
    if kind == IMAGE and info is None:
        raise ValueError("nothing is said of an image")
    return Piece(kind=kind, digest=digest, size=size, virtual_size=int(value["virtual_size"]), info=info)
