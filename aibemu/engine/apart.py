"""Several builds at once must not be in each other's way: what two of them would both make is refused before that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from aibemu.distributors import Claims
from aibemu.engine.api import Prepared
from aibemu.errors import UsageError
from aibemu.template.model import Target


def check_apart(prepared: Sequence[Prepared]) -> None:
    """`UsageError` with all of it: a template that is there twice, and outputs that two templates would both write."""
    found = [*_same_templates(prepared), *_same_outputs(prepared)]
    if found:
        raise UsageError(
            "these templates cannot be built at once", details=found,
            hint="build them one after the other, or give each a name, a version, an image and a file of its own",
        )  # fmt: skip


def _file(one: Prepared) -> str:
    return one.basis.options.template.document.name


def _same_templates(prepared: Sequence[Prepared]) -> Iterator[str]:
    first: dict[str, Prepared] = {}
    for one in prepared:
        before = first.setdefault(one.plan.template_id.casefold(), one)
        if before is one:
            continue
        name, path = one.plan.template.name, _path(one)
        if path and path == _path(before):
            yield f"{_file(one)} is given twice"
        else:
            yield f"{_file(before)} and {_file(one)} are both the image template {name} of one resource group"


def _path(one: Prepared) -> Path | None:
    document = one.basis.options.template.document
    return document.path.resolve() if document.in_file else None


def _same_outputs(prepared: Sequence[Prepared]) -> Iterator[str]:
    first: dict[tuple[str, str], tuple[Prepared, Target]] = {}
    for one in prepared:
        for target in one.plan.targets:
            if (claim := _claim(one, target)) is None:
                continue
            before, other = first.setdefault((target.kind, claim.casefold()), (one, target))
            if before.plan.template_id.casefold() != one.plan.template_id.casefold():
                yield f"{other.span} and {target.span} both write {claim}"


def _claim(one: Prepared, target: Target) -> str | None:
    distributor = one.planned.distributors[target.kind]
    if not isinstance(distributor, Claims):
        return None
    version = (one.plan.source.exact_version or "").rsplit("/", 1)[-1]
    return distributor.claims(target, Path(one.plan.template.directory), version)
