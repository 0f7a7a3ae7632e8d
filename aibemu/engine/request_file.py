"""`request.json`: what was typed to start a run, so that `aibemu resume` need not be told again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aibemu.submission.request import TemplateRequest

if TYPE_CHECKING:
    from aibemu.engine.api import JobOptions

# What of a run is asked for again by resuming it; how its failures are dealt with is not.
KEPT = (
    "offline", "identities", "verify_boot", "also", "compress", "driver", "log_format", "cold", "cache", "freeze",
)  # fmt: skip
VERSION = 2


def request_json(options: JobOptions) -> dict[str, Any]:
    """JSON values; paths absolute, for the next command may be typed elsewhere; max_age in seconds."""
    template = asdict(options.template) | {"file": str(options.template.file.absolute())}
    kept = {name: getattr(options, name) for name in KEPT}
    return {
        "version": VERSION, "template": template, "cwd": str(Path.cwd()),
        "out": str(options.out.absolute()) if options.out else None,
        "driver_options": dict(options.driver_options),
        "from_step": options.from_step,
        "max_age": None if options.max_age is None else options.max_age.total_seconds(), **kept,
    }  # fmt: skip


def options_from_json(value: Mapping[str, Any]) -> dict[str, Any]:
    """Fields for `JobOptions`; KeyError or TypeError if it is none. Version 1 knew no from_step and no max_age."""
    template: dict[str, Any] = {
        name: tuple(item) if isinstance(item, list) else item for name, item in value["template"].items()
    }
    template["file"] = Path(template["file"])
    age = value.get("max_age")
    kept = {name: tuple(value[name]) if isinstance(value[name], list) else value[name] for name in KEPT}
    return {
        "template": TemplateRequest(**template),
        "out": Path(value["out"]) if value["out"] else None, "driver_options": dict(value["driver_options"]),
        "from_step": value.get("from_step"), "max_age": None if age is None else timedelta(seconds=age), **kept,
    }  # fmt: skip
