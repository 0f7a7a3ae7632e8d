"""`aibemu cache key`: names for what a CI system keeps between jobs, which change when the content would."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from aibemu.cli.app import App
from aibemu.cli.template_options import MAPPINGS, VALUES, WHICH, options
from aibemu.errors import UsageError

# Hex digits of a digest in a key: GitHub allows 512 characters, people look at them.
DIGITS = 16


@click.command("key", short_help="A key to keep images or layers by in CI.")
@click.argument("files", metavar="[TEMPLATE...]", nargs=-1, type=click.Path(path_type=Path))
@options(WHICH, VALUES, MAPPINGS)
@click.option("--image", metavar="RECIPE", help="The key of the image that `aibemu images build RECIPE` makes.")
@click.option("--offline", is_flag=True, help="Fetch nothing: scripts must be local, mapped or fetched before.")
@click.option("--driver", metavar="NAME", help="What runs the machines (default: the setting, qemu).")
@click.pass_obj
def command(app: App, /, files: tuple[Path, ...], image: str | None, driver: str | None, **given: Any) -> None:
    """Print a key for the layers that builds of TEMPLATEs make, START-STEPS; or for an image, with --image.

    START changes with the source images, their machines and the hypervisor, and with it no layer fits any more; STEPS
    changes with a step or a script: restore by the whole key, else by START-, the longest beginning.
    """
    if bool(files) is (image is not None):
        raise UsageError(
            "a key is either that of templates or, with --image, that of an image",
            commands=["aibemu cache key TEMPLATE", "aibemu cache key --image debian-12"],
        )  # fmt: skip
    if image is not None:
        from aibemu.images import recipes

        recipe = recipes.load(image)
        key = f"{recipe.name}-{recipe.digest[:DIGITS]}"
        app.result({"key": key, "image": recipe.name, "recipe": recipe.digest}, [key])
        return
    start, steps = _of_templates(app, files, driver, **given)
    app.result({"key": f"{start}-{steps}", "start": start, "steps": steps}, [f"{start}-{steps}"])


def _of_templates(app: App, files: Iterable[Path], driver: str | None, **given: Any) -> tuple[str, str]:
    from aibemu.cli.plan import planned

    roots, ends = [], []
    for file in files:
        # What is stored now decides nothing: the key is of what a build would make.
        known = {"cold": True, "cache": None, "from_step": None, "max_age": None, "slow": False}
        prepared, missing = planned(app, file, driver, **known, **given)
        if missing:
            raise missing
        plan = prepared.plan
        roots.append(plan.root)
        ends.append(plan.steps[-1].fingerprint if plan.steps else plan.root)
    return _digest(roots), _digest(ends)


def _digest(ids: Iterable[str]) -> str:
    """Of all of them, in whatever order they were given."""
    return hashlib.sha256(" ".join(sorted(set(ids))).encode()).hexdigest()[:DIGITS]
