"""`aibemu drivers`: what can run machines here, what each can do, and why one cannot be used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from aibemu import plugins
from aibemu.cli.app import App
from aibemu.doctor import findings_of
from aibemu.errors import AibemuError, NotFoundError
from aibemu.hypervisor import Level
from aibemu.paths import Home
from aibemu.runs.drivers import GROUP, make_driver
from aibemu.suggestions import did_you_mean

# From the best to the worst.
_HEALTH = (Level.OK, Level.NOTE, Level.WARNING, Level.ERROR)


@click.command("drivers", short_help="What can run machines here.")
@click.pass_obj
def command(app: App) -> None:
    """List the installed drivers: what package each is of, how its own tests of this host came out, what it can do.

    HEALTH is the worst that a driver found: ok, note, warning, or error, which would stop a build. `aibemu doctor`
    shows all that was tested.
    """
    data = [_describe(name, app.home) for name in sorted(plugins.names(GROUP))]
    rows = [
        (item["name"], f"{item['distribution']} {item['version']}".strip() or "-", item["health"],
         ", ".join(_abilities(item)) or "-")
        for item in data
    ]  # fmt: skip
    told = [line for item in data for line in _troubles(item)]
    table = app.table(("DRIVER", "PACKAGE", "HEALTH", "CAPABILITIES"), rows)
    app.result({"drivers": data}, [*table, *(["", *told] if told else [])])


def check_driver(name: str) -> None:
    """Before anything is fetched: `NotFoundError`, with the nearest name, when there is no such driver."""
    known = sorted(plugins.names(GROUP))
    if name not in known:
        raise NotFoundError(
            f"there is no driver {name!r}", details=[f"installed: {', '.join(known)}"],
            hint=did_you_mean(name, known), commands=["aibemu drivers"],
        )  # fmt: skip


def _describe(name: str, home: Home) -> dict[str, Any]:
    """usable: whether it can be made. health: the worst level of `findings`, which are those of `check`."""
    distribution, version = plugins.distribution(GROUP, name)
    described: dict[str, Any] = {
        "name": name, "distribution": distribution, "version": version, "usable": False, "health": Level.ERROR.value,
        "bootsGuests": False, "firmwares": [], "screenshots": False, "azurePlatform": False, "freezes": False,
        "savesDisks": False, "dryRun": False, "problem": None, "findings": [],
    }  # fmt: skip
    try:
        able = make_driver(name, {}, home).capabilities()
    except AibemuError as error:
        return described | {"problem": error.message}
    findings = findings_of(name, home)
    return described | {
        "usable": True, "health": max((one.level for one in findings), key=_HEALTH.index, default=Level.OK).value,
        "bootsGuests": able.boots_guests, "firmwares": sorted(kind.value for kind in able.firmwares),
        "screenshots": able.screenshots, "azurePlatform": able.wires, "freezes": able.freezes,
        "savesDisks": able.saves_disks, "dryRun": able.dry,
        "findings": [
            {"check": one.check, "level": one.level.value, "message": one.message, "fix": one.fix} for one in findings
        ],
    }  # fmt: skip


def _abilities(item: Mapping[str, Any]) -> Iterator[str]:
    """What it can do, in words."""
    if item["dryRun"]:
        yield "dry run: starts and writes nothing"
        return
    words = {
        "bootsGuests": "boots guests", "azurePlatform": "Azure's platform", "freezes": "layers with memory",
        "savesDisks": "layers of disks", "screenshots": "screenshots",
    }  # fmt: skip
    yield from (word for name, word in words.items() if item[name])
    yield from map(str.upper, item["firmwares"])


def _troubles(item: Mapping[str, Any]) -> Iterator[str]:
    """Why its health is no better, and what to do; of warnings and errors, notes when there is nothing worse."""
    if item["problem"]:
        yield f"{item['name']}: {item['problem']}"
    for one in item["findings"]:
        if one["level"] == item["health"] != Level.OK.value or one["level"] in (Level.WARNING, Level.ERROR):
            head = "" if one["check"].startswith(f"{item['name']}:") else f"{item['name']}: "
            yield f"{head}{one['check']}: {one['level']}: {one['message']}"
            if one["fix"]:
                yield f"  fix: {one['fix']}"
