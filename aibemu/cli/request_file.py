"""`request.json` of a run: what was typed to start it, for `aibemu resume`, with the template as it is now."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from aibemu.cli.cache_options import reuse_of
from aibemu.engine.preparing.options import (
    VERSION,
    BuildOptions,
    DriverChoice,
    GuestOptions,
    OutputOptions,
)
from aibemu.errors import UsageError
from aibemu.records import SHAPE_ERRORS, read_json
from aibemu.runs.store import Run
from aibemu.settings import Settings
from aibemu.submission.request import TemplateRequest, read_document


def read_request(run: Run, settings: Settings) -> BuildOptions:
    """The options of `run`. `UsageError` when they are not known any more, or when its template is gone."""
    try:
        value = read_json(run.request_file)
        if value["version"] == VERSION:
            return _current(run, BuildOptions.from_json(value))
        return _older(run, value, settings)
    except (OSError, *SHAPE_ERRORS) as error:
        raise UsageError(
            f"run {run.id} cannot be resumed: what was typed to start it is not known any more",
            hint="start it anew with `aibemu run`: steps that did not change come from the cache",
            details=[str(error)] if str(error) else [],
        ) from None


def reread(options: BuildOptions) -> BuildOptions:
    """The same, with the template as it is now. `UsageError` when it cannot be read."""
    template = options.template
    document = template.document
    if not document.in_file:
        return options
    return replace(
        options, template=replace(template, document=read_document(Path(document.name), template.folder))
    )  # fmt: skip


def _current(run: Run, options: BuildOptions) -> BuildOptions:
    document = options.template.document
    if document.in_file:
        _look_for(run, document.path)
    return reread(options)


def _older(run: Run, value: Mapping[str, Any], settings: Settings) -> BuildOptions:
    """Versions 1 and 2 held the words of the command line; version 1 knew neither from_step nor max_age."""
    template: dict[str, Any] = {
        name: tuple(item) if isinstance(item, list) else item for name, item in value["template"].items()
    }
    file, age = Path(template.pop("file")), value.get("max_age")
    _look_for(run, file)
    return BuildOptions(
        template=TemplateRequest.of_file(file, Path(value["cwd"]), **template),
        subscription_id=settings.subscription_id, resource_group=settings.resource_group,
        driver=DriverChoice(
            name=value["driver"] or settings.driver,
            options={key: _from(Path(value["cwd"]), text) for key, text in value["driver_options"].items()},
        ),
        reuse=reuse_of(
            settings, os.environ, cold=value["cold"], cache=value["cache"], freeze=value["freeze"],
            from_step=value.get("from_step"), max_age=None if age is None else timedelta(seconds=age),
        ),
        guest=GuestOptions(
            offline=value["offline"], identities=tuple(value["identities"]), verify_boot=value["verify_boot"]
        ),
        outputs=OutputOptions(
            out=Path(value["out"]) if value["out"] else None, also=tuple(value["also"]), compress=value["compress"],
            log_format=value["log_format"] or settings.customization_log,
        ),
    )  # fmt: skip


def _from(folder: Path, text: str) -> str:
    """An option that names a file from the folder where it was typed; another one as it is."""
    return str(folder / text) if text and (folder / text).exists() else text


def _look_for(run: Run, file: Path) -> None:
    if not file.exists():
        raise UsageError(f"run {run.id} cannot be resumed: its template {file} is gone")
