"""Layers, origins, and errors that say where."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from aibemu.arm.expressions.surroundings import SUBSCRIPTION
from aibemu.errors import UsageError
from aibemu.settings import Settings


def test_built_in_values() -> None:
    settings = Settings.load(Path("/nowhere"), {})
    assert (settings.driver, settings.subscription_id, settings.build_user) == ("qemu", SUBSCRIPTION, "packer")
    assert (settings.script_uri_sudo, settings.customization_log, settings.mappings) == (True, "B", ())
    assert settings == Settings()


def test_layers_and_origins(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "# mine\ndriver: dryrun\nresource_group: mine\nfirst_boot_wait: no\nmappings:\n  https://e.org/: ./scripts\n"
        "boot_timeout: 90\n"
    )
    environ = {"AIBEMU_RESOURCE_GROUP": "theirs", "AIBEMU_HOME": "/h", "AIBEMU_MAPPINGS": "a=b\n\nc=d\n"}
    settings = Settings.load(tmp_path, environ, {"driver": "qemu", "customization_log": None})
    assert (settings.driver, settings.resource_group, settings.first_boot_wait) == ("qemu", "theirs", False)
    assert (settings.mappings, settings.boot_timeout) == (("a=b", "c=d"), 90.0)
    origins = {name: origin for name, _, origin, _ in settings.describe()}
    assert origins["driver"] == "--driver"
    assert origins["resource_group"] == "AIBEMU_RESOURCE_GROUP"
    assert origins["first_boot_wait"] == "config.yaml:4"
    assert origins["build_user"] == "built-in"
    assert all(what for *_, what in settings.describe())


def test_a_map_of_prefixes(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("mappings: {https://a/: ./x}\n")
    assert Settings.load(tmp_path, {}).mappings == ("https://a/=./x",)


@pytest.mark.parametrize(
    ("text", "message", "line", "hint"),
    [
        ("driver: qemu\nbuilduser: x\n", "config.yaml:2: unknown setting 'builduser'", 2, "did you mean build_user?"),
        ("\ncustomization_log: C\n", "customization_log must be one of A, B, not 'C'", 2, None),
        ("script_uri_sudo: maybe\n", "script_uri_sudo must be true or false", 1, None),
        ("boot_timeout: -1\n", "boot_timeout must be 1 to 86400 seconds", 1, None),
        ("subnets: [build]\n", "subnets must be [VNET/]SUBNET=ADDRESS/WIDTH", 1, None),
        ("subnets: {build: 10.0.0.1/24}\n", "SUBNET=ADDRESS/WIDTH (10.0.0.1/24 has host bits set)", 1, None),
        ("subnets: {build: 10.0.0.0/30}\n", "a width of 8 to 29", 1, None),
        ("subnets: {build: 93.184.216.0/24}\n", "private addresses", 1, None),
        ("boot_timeout: soon\n", "boot_timeout must be a number of seconds", 1, None),
        ("subscription_id: abc\n", "subscription_id must be a GUID", 1, None),
        ("empty_gallery_version: 1.0\n", "empty_gallery_version must be a version", 1, None),
        ("memory_cap_mib: 1.5\n", "memory_cap_mib must be a number of MiB", 1, None),
        ("build_user: [a]\n", "build_user must be a text", 1, None),
        ("- a\n", "must hold `name: value` lines", 1, None),
        ("a: [\n", "not YAML", 2, None),
    ],
)
def test_errors_say_where(tmp_path: Path, text: str, message: str, line: int, hint: str | None) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(UsageError) as caught:
        Settings.load(tmp_path, {})
    assert message in caught.value.message
    assert caught.value.span is not None
    assert (caught.value.span.line, caught.value.span.file) == (line, str(tmp_path / "config.yaml"))
    if hint:
        assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("build_user: \x07\n", "special characters are not allowed"),
        ("build_user: 2026-13-01\n", "month must be in 1..12"),
        ("[" * 5000, "it is nested too deeply"),
    ],
)
def test_a_file_that_yaml_cannot_place_is_still_the_users_mistake(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(UsageError, match="the settings file is not YAML") as caught:
        Settings.load(tmp_path, {})
    assert why in caught.value.message


def test_a_bad_variable_names_itself() -> None:
    with pytest.raises(UsageError, match="AIBEMU_REBOOT_IN_SHELL: reboot_in_shell must be one of accept, fail"):
        Settings.load(Path("/nowhere"), {"AIBEMU_REBOOT_IN_SHELL": "ignore"})


@pytest.mark.parametrize(("text", "size"), [("64K", 64 << 10), ("8M", 8 << 20), ("1g", 1 << 30)])
def test_what_of_a_console_is_kept(tmp_path: Path, text: str, size: int) -> None:
    assert Settings.load(tmp_path, {"AIBEMU_CONSOLE_LIMIT": text}).console_limit == size


@pytest.mark.parametrize("text", ["0", "1K", "2G", "much"])
def test_less_of_a_console_than_a_boot_says_or_more_than_memory_takes_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match="console_limit must be"):
        Settings.load(tmp_path, {"AIBEMU_CONSOLE_LIMIT": text})


def test_an_empty_file_is_fine(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("# nothing\n")
    assert Settings.load(tmp_path, {}) == Settings()


@pytest.mark.parametrize("word", ["on", "off", "auto", "'on'", "true", "no"])
def test_on_and_off_are_words_whatever_yaml_makes_of_them(tmp_path: Path, word: str) -> None:
    (tmp_path / "config.yaml").write_text(f"cache: {word}\n")
    expected = {"true": "on", "no": "off"}.get(word, word.strip("'"))
    assert Settings.load(tmp_path, {}).cache == expected
    assert Settings.load(tmp_path, {"AIBEMU_CACHE": "off"}).cache == "off"


@pytest.mark.parametrize(
    "name", ["root", "Root", "0day", "a b", "a;b", "a\nb", "-a", "a" * 33, "\u00fcser", "../x", "$(id)"]
)
def test_a_build_user_is_checked_where_it_enters(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="build_user must be the name of a user who is not root"):
        Settings.load(tmp_path, {"AIBEMU_BUILD_USER": name})
    assert Settings.load(tmp_path, {"AIBEMU_BUILD_USER": "Packer_1-x"}).build_user == "Packer_1-x"


@pytest.mark.parametrize("setting", ["resource_group", "location", "management_group", "driver"])
def test_names_are_checked_where_they_enter(tmp_path: Path, setting: str) -> None:
    for name in (".", "..", "a/b", "a\\b", "a\0", "x" * 300, "a.", "\u202ea"):
        with pytest.raises(UsageError, match=f"{setting} cannot be a name: it "):
            Settings.load(tmp_path, {f"AIBEMU_{setting.upper()}": name})


def test_a_file_full_of_values_is_refused_at_once(tmp_path: Path) -> None:
    """Found by the fuzz campaign: 64 KiB took four seconds, a megabyte a minute."""
    (tmp_path / "config.yaml").write_text(f"mappings: [{'a,' * 32_000}]")
    began = time.thread_time()
    with pytest.raises(UsageError, match="more than 20000 values"):
        Settings.load(tmp_path, {})
    assert time.thread_time() - began < 2


def test_what_is_merged_into_the_settings_counts(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "location: northeurope\nmappings: {<<: &a {https://x/: /x}, https://y/: /y}\n"
    )
    assert set(Settings.load(tmp_path, {}).mappings) == {"https://x/=/x", "https://y/=/y"}


@pytest.mark.parametrize(
    "value", ["!!bool maybe", "!!timestamp x", '!!int ""', "!!float x", "!!binary \u00e4", "!!set x"]
)
def test_a_value_that_does_not_fit_its_tag(tmp_path: Path, value: str) -> None:
    (tmp_path / "config.yaml").write_text(f"driver: {value}\n", encoding="utf-8")
    with pytest.raises(UsageError, match="is not YAML"):
        Settings.load(tmp_path, {})
