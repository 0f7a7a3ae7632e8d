"""Settings: built-in values, then the user's `config.yaml`, then `AIBEMU_*` variables, then the command line.

Each field says what it is for; the same table checks all sources. Where a value came from is kept (`origins`). Anything
unknown or of the wrong type is an error with its place, never ignored. Variables that are no setting are left alone:
AIBEMU_HOME and others have a meaning elsewhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any
from uuid import UUID

from aibemu.arm.expressions.surroundings import SUBSCRIPTION, TENANT
from aibemu.errors import Span, UsageError
from aibemu.hardware import Hardware, overridden
from aibemu.names import name_problem
from aibemu.suggestions import did_you_mean
from aibemu.text import parse_age
from aibemu.yaml_places import compose, read_text, span_of, values_of

FILE = "config.yaml"
PREFIX = "AIBEMU_"
# Where a value comes from that nobody set.
BUILT_IN = "built-in"
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,31}")
_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}


class _Bad(ValueError):
    """Why a value does not fit."""


def _flag(value: Any) -> bool:
    text = str(value).lower()
    if text not in _TRUE | _FALSE:
        raise _Bad("must be true or false")
    return text in _TRUE


def _text(value: Any) -> str:
    if isinstance(value, list | dict | bool) or value is None or not str(value).strip():
        raise _Bad("must be a text")
    return str(value)


def _name(value: Any) -> str:
    """What becomes part of a resource id, or of a path."""
    text = _text(value)
    if why := name_problem(text):
        raise _Bad(f"cannot be a name: it {why}")
    return text


def _user(value: Any) -> str:
    """What Linux and Windows both take, and no shell or file of theirs gives a meaning to. root is not unprivileged."""
    text = _text(value)
    if not _USER.fullmatch(text) or text.lower() == "root":
        raise _Bad(
            "must be the name of a user who is not root: a letter or _, then letters, digits, - and _, 32 in all"
        )
    return text


def _one_of(*choices: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        # To YAML `on` and `off` are true and false.
        text = {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
        if text not in choices:
            raise _Bad(f"must be one of {', '.join(choices)}")
        return text

    return parse


def _guid(value: Any) -> str:
    try:
        return str(UUID(str(value)))
    except ValueError:
        raise _Bad("must be a GUID, like 00000000-0000-0000-0000-000000000001") from None


def _seconds(value: Any) -> float:
    try:
        number = float(str(value))
    except ValueError:
        raise _Bad("must be a number of seconds") from None
    if not 1 <= number <= 86400:
        raise _Bad("must be 1 to 86400 seconds")
    return number


def parse_size(value: Any) -> int:
    """Bytes, or with K, M, G or T."""
    match = re.fullmatch(r"(\d{1,12})([KMGT]?)(?:i?B)?", str(value).strip(), re.IGNORECASE)
    if not match:
        raise _Bad("must be a size like 500M or 20G")
    return int(match[1]) << (10 * "KMGT".index(match[2].upper()) + 10 if match[2] else 0)


def _console_size(value: Any) -> int:
    """What a boot says must fit in; all of it is read into memory."""
    size = parse_size(value)
    if not 64 << 10 <= size <= 1 << 30:
        raise _Bad("must be 64K to 1G")
    return size


def _age(value: Any) -> float:
    """Seconds."""
    if (age := parse_age(str(value))) is None:
        raise _Bad("must be an age like 12h or 14d")
    return age.total_seconds()


def _mib(nothing: str) -> Callable[[Any], int]:
    """nothing: what 0 means."""

    def parse(value: Any) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", str(value)):
            raise _Bad(f"must be a number of MiB, 0 for {nothing}")
        return int(str(value))

    return parse


def _number(value: Any) -> int:
    if not re.fullmatch(r"[0-9]{1,4}", str(value)):
        raise _Bad("must be a number, 0 to 9999")
    return int(str(value))


def _version(value: Any) -> str:
    parts = str(value).split(".")
    if len(parts) != 3 or not all(re.fullmatch(r"[0-9]{1,10}", part) and int(part) < 2**31 for part in parts):
        raise _Bad("must be a version like 1.0.0")
    return str(value)


def _subnets(value: Any) -> tuple[str, ...]:
    """NAME=CIDR; the smallest that has room for Azure's own addresses and one more is /29."""
    texts = _texts(value)
    for text in texts:
        name, separator, cidr = text.partition("=")
        try:
            network = IPv4Network(cidr)
        except ValueError as error:
            raise _Bad(f"must be [VNET/]SUBNET=ADDRESS/WIDTH ({error})") from None
        if not name or not separator or not 8 <= network.prefixlen <= 29 or not network.is_private:
            raise _Bad("must be [VNET/]SUBNET=ADDRESS/WIDTH, private addresses, a width of 8 to 29")
    return texts


def _texts(value: Any) -> tuple[str, ...]:
    """A list, a map of `KEY: VALUE` (becomes KEY=VALUE), or one text with an entry per line."""
    if isinstance(value, dict):
        value = [f"{key}={item}" for key, item in value.items()]
    items = value if isinstance(value, list | tuple) else str(value).splitlines()
    return tuple(_text(item).strip() for item in items if str(item).strip())


def _hardware(value: Any) -> tuple[str, ...]:
    texts = _texts(value)
    try:
        overridden(Hardware(), texts)
    except ValueError as error:
        raise _Bad(f"must be KEY=VALUE ({error})") from None
    return texts


def _locale(value: Any) -> str:
    text = _text(value)
    if not re.fullmatch(r"[a-z]{2,3}(-[A-Z][a-z]{3})?-[A-Z]{2}", text):
        raise _Bad("must be a language and a region, like en-US")
    return text


# What nobody repeats in an error: a map of addresses, or a command, may hold a secret.
_PRIVATE = frozenset({"supplied", "mappings", "identities"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """One setting: value and default, also as one writes them; private: what it holds may be a secret."""

    name: str
    value: Any
    text: str
    default: str
    origin: str
    meaning: str
    private: bool

    @property
    def variable(self) -> str:
        """The variable that sets it."""
        return f"{PREFIX}{self.name.upper()}"


def _setting(default: Any, parse: Callable[[Any], Any], what: str) -> Any:
    return field(default=default, metadata={"parse": parse, "what": what})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All of them; `describe` gives each with its value, origin and meaning."""

    driver: str = _setting("qemu", _name, "what runs the machines")
    subscription_id: str = _setting(SUBSCRIPTION, _guid, "the subscription in the ids of local resources")
    resource_group: str = _setting("aibemu", _name, "the resource group that templates are taken to be in")
    location: str = _setting("westeurope", _name, "the location of that resource group")
    subscription_name: str = _setting("aibemu", _text, "what subscription().displayName is")
    tenant_id: str = _setting(TENANT, _guid, "the tenant, for tenant() and subscription().tenantId")
    management_group: str = _setting("aibemu", _name, "the management group, for managementGroup()")
    supplied: tuple[str, ...] = _setting((), _texts, "FUNCTION('TARGET')=JSON: values that only Azure knows")
    check_scripts: bool = _setting(True, _flag, "check scripts by the shell, and by shellcheck and pwsh if installed")
    script_uri_sudo: bool = _setting(True, _flag, "scriptUri scripts run as root, as in the service")
    reboot_in_shell: str = _setting(
        "accept", _one_of("accept", "fail"), "a Shell or PowerShell step that reboots the machine"
    )
    powershell_wrapper: str = _setting(
        "old", _one_of("old", "new"), "inline PowerShell runs as in Packer until 1.12 (old), or since 1.14 (new)"
    )
    customization_log: str = _setting("B", _one_of("A", "B"), "the log's format: as until (A) or since (B) late 2023")
    build_user: str = _setting("packer", _user, "the unprivileged user that inline commands run as")
    mappings: tuple[str, ...] = _setting((), _texts, "PREFIX=DIR: take URLs with this prefix from a local folder")
    first_boot_wait: bool = _setting(True, _flag, "wait for cloud-init before the first customizer")
    empty_gallery_version: str = _setting(
        "1.0.0", _version, "the first version that `Latest` gives an empty definition"
    )
    boot_timeout: float = _setting(300.0, _seconds, "for a machine to become ready, seconds (longer without KVM)")
    slow: bool = _setting(False, _flag, "make guests that are of no use without KVM (Windows) on emulated CPUs too")
    sysprep_timeout: float = _setting(
        1800.0, _seconds, "for the last step on Windows, which runs Sysprep, seconds (longer without KVM)"
    )
    poweroff_timeout: float = _setting(
        120.0, _seconds, "for a machine to power off, seconds (longer without KVM, five times for Windows)"
    )
    hardware: tuple[str, ...] = _setting(
        (), _hardware, "KEY=VALUE: other devices than the guest's system chooses, e.g. nic=e1000"
    )
    locale: str = _setting("en-US", _locale, "the language and region of new Windows machines; the image must have it")
    subnets: tuple[str, ...] = _setting((), _subnets, "[VNET/]SUBNET=CIDR: addresses of vnetConfig's subnets")
    identities: tuple[str, ...] = _setting((), _texts, "ID=COMMAND: programs that print real tokens of identities")
    cache: str = _setting("auto", _one_of("auto", "on", "off"), "reuse earlier builds; auto: not where CI is set")
    cache_size: int = _setting(20 * 2**30, parse_size, "what layers of earlier builds may take on disk, e.g. 20G")
    cache_age: float = _setting(14 * 86400.0, _age, "layers that were not used for so long are deleted")
    output_limit: int = _setting(
        64 * 2**20, parse_size, "what the output of one step may take in a run's record and logs; 0 = no limit"
    )
    console_limit: int = _setting(
        8 * 2**20, _console_size, "what is kept of the end of a machine's serial console, 64K to 1G"
    )
    platform_log_limit: int = _setting(
        64 * 2**20, parse_size, "what the requests of one machine to its platform may take in the record; 0 = no limit"
    )
    memory_cap_mib: int = _setting(
        0, _mib("no limit"), "no machine gets more memory than this; 0 = half of what the host has"
    )
    at_once: int = _setting(
        0, _number, "how many templates one `aibemu run` builds at once; 0 = as many as the host has CPUs"
    )
    memory_reserve_mib: int = _setting(256, _mib("none"), "memory of the host that no machine is counted on")
    download_size: int = _setting(16 * 2**30, parse_size, "the largest script or file that a template may name")
    download_time: float = _setting(
        3600.0, _seconds, "for one script or file to be downloaded, retries included, seconds"
    )
    image_size: int = _setting(
        256 * 2**30, parse_size, "the largest disk that is imported, as a file and as a disk, holes included"
    )
    cluster_python: str = _setting("", str, "with --hosts: the Python there that has aibemu; as here if not set")
    cluster_tls: str = _setting("", str, "the folder with ca.pem, cert.pem, key.pem: TLS for --hosts, --scheduler")
    origins: Mapping[str, str] = field(default_factory=dict, compare=False)

    @classmethod
    def load(
        cls, config: Path, environ: Mapping[str, str] | None = None, overrides: Mapping[str, Any] | None = None
    ) -> Settings:
        """Read `config`/config.yaml if it is there; overrides: from the command line, None values are passed over.

        Raises `UsageError` with file, line and a suggestion.
        """
        environ = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        origins: dict[str, str] = {}
        for name, value, origin, span in (
            *_from_file(config / FILE), *_from_environment(environ), *_from_overrides(overrides or {})
        ):  # fmt: skip
            values[name] = _parsed(name, value, origin, span)
            origins[name] = origin
        return cls(**values, origins=origins)

    def describe(self) -> list[tuple[str, Any, str, str]]:
        """(name, value, origin, meaning) of each setting."""
        return [(one.name, one.value, one.origin, one.meaning) for one in self.table()]

    def table(self) -> list[Described]:
        """Each setting, in the order of this class."""
        return [
            Described(
                name=item.name, value=getattr(self, item.name), origin=self.origins.get(item.name, BUILT_IN),
                meaning=item.metadata["what"], text=written(getattr(self, item.name), item.metadata["parse"]),
                default=written(item.default, item.metadata["parse"]), private=item.name in _PRIVATE,
            )
            for item in fields(self)
            if item.name != "origins"
        ]  # fmt: skip


def written(value: Any, parse: Callable[[Any], Any] | None = None) -> str:
    """A value as it can be given in a variable, one line for each entry of a list. `parse`: the setting's."""
    if isinstance(value, tuple):
        return "\n".join(value)
    if isinstance(value, bool):
        return str(value).lower()
    if parse in (parse_size, _console_size):
        return _in_units(value, {"T": 2**40, "G": 2**30, "M": 2**20, "K": 2**10})
    if parse is _age:
        return _in_units(int(value), {"d": 86400, "h": 3600, "m": 60}) + ("" if value % 60 == 0 else "s")
    return f"{value:g}" if isinstance(value, float) else str(value)


def _in_units(value: int, units: Mapping[str, int]) -> str:
    """In the largest unit of which it is a whole number."""
    for unit, size in units.items():
        if value and value % size == 0:
            return f"{value // size}{unit}"
    return str(value)


_Found = tuple[str, Any, str, Span | None]


def _names() -> dict[str, Callable[[Any], Any]]:
    return {item.name: item.metadata["parse"] for item in fields(Settings) if item.name != "origins"}


def _parsed(name: str, value: Any, origin: str, span: Span | None) -> Any:
    known = _names()
    if name not in known:
        question, every = did_you_mean(name, known), f"known: {', '.join(known)}"
        hint = f"{question} {every}" if question else every
        raise UsageError(f"{origin}: unknown setting {name!r}", span=span, hint=hint)
    try:
        return known[name](value)
    except _Bad as error:
        given = "" if name in _PRIVATE else f", not {_shown(value)}"
        raise UsageError(f"{origin}: {name} {error}{given}", span=span) from None
    except (ValueError, TypeError, ArithmeticError, RecursionError):
        given = "this" if name in _PRIVATE else _shown(value)
        raise UsageError(f"{origin}: {name} cannot be {given}", span=span) from None


def _shown(value: Any) -> str:
    """At most so much of it as fits on a line."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def _from_file(path: Path) -> list[_Found]:
    text = read_text(path, what="the settings file")
    if text is None:
        return []
    import yaml

    node = compose(text, str(path), what="the settings file")
    if node is None:
        return []
    # `<<` is resolved in the tree when its values are made.
    pairs = list(node.value) if isinstance(node, yaml.MappingNode) else []
    content = values_of(node, str(path), what="the settings file")
    if not isinstance(content, dict) or not isinstance(node, yaml.MappingNode):
        raise UsageError("the settings file must hold `name: value` lines", span=Span(file=str(path), line=1, column=1))
    found: list[_Found] = []
    for key, _ in pairs:
        span = span_of(key, str(path))
        found.append((str(key.value), content.get(key.value), f"{path.name}:{span.line}", span))
    return found


def _from_environment(environ: Mapping[str, str]) -> list[_Found]:
    return [
        (name, environ[variable], variable, None)
        for name in _names()
        if (variable := f"{PREFIX}{name.upper()}") in environ
    ]


def _from_overrides(overrides: Mapping[str, Any]) -> list[_Found]:
    return [
        (name, value, f"--{name.replace('_', '-')}", None) for name, value in overrides.items() if value is not None
    ]
