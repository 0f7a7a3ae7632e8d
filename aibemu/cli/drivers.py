"""`aibemu drivers`: what can run machines here, what each can do, and why one cannot be used."""

from __future__ import annotations

from typing import Any

import click

from aibemu import plugins
from aibemu.cli.app import App
from aibemu.errors import AibemuError, NotFoundError
from aibemu.paths import Home
from aibemu.runs.drivers import GROUP, make_driver
from aibemu.suggestions import did_you_mean

_DRY = "dry run: starts and writes nothing"


@click.command("drivers", short_help="What can run machines here.")
@click.pass_obj
def command(app: App) -> None:
    """List the installed drivers."""
    data = [_describe(name, app.home) for name in sorted(plugins.names(GROUP))]
    rows = [
        (item["name"], "yes" if item["bootsGuests"] else "no", ", ".join(item["firmwares"]) or "-",
         "yes" if item["screenshots"] else "no", item["problem"] or (_DRY if item["dryRun"] else ""))
        for item in data
    ]  # fmt: skip
    app.result({"drivers": data}, app.table(("DRIVER", "BOOTS GUESTS", "FIRMWARE", "SCREENSHOTS", ""), rows))


def check_driver(name: str) -> None:
    """Before anything is fetched: `NotFoundError`, with the nearest name, when there is no such driver."""
    known = sorted(plugins.names(GROUP))
    if name not in known:
        raise NotFoundError(
            f"there is no driver {name!r}", details=[f"installed: {', '.join(known)}"],
            hint=did_you_mean(name, known), commands=["aibemu drivers"],
        )  # fmt: skip


def _describe(name: str, home: Home) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": name, "usable": False, "bootsGuests": False, "firmwares": [], "screenshots": False, "dryRun": False,
        "problem": None,
    }  # fmt: skip
    try:
        able = make_driver(name, {}, home).capabilities()
    except AibemuError as error:
        return described | {"problem": error.message}
    return described | {
        "usable": True, "bootsGuests": able.boots_guests, "firmwares": sorted(kind.value for kind in able.firmwares),
        "screenshots": able.screenshots, "dryRun": able.dry,
    }  # fmt: skip
