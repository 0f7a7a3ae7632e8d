"""The managed identities of a build machine, with the commands that get real tokens."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from aibemu.errors import UsageError
from aibemu.fabric.vm import ManagedIdentity
from aibemu.template.model import Template


def machine_identities(
    template: Template, *, settings: Sequence[str], given: Sequence[str]
) -> tuple[ManagedIdentity, ...]:
    """The machine's identities, with the commands that get real tokens.

    settings and given are `ID=COMMAND`: an identity's resource id, its name or its client id. `UsageError` for a given
    one that the template does not have; the settings may be about other templates.
    """
    known = [ManagedIdentity.local(resource_id) for resource_id in template.vm_profile.user_assigned_identities]
    commands: dict[str, tuple[str, ...]] = {}
    for text, must_match in (*((text, False) for text in settings), *((text, True) for text in given)):
        name, words = parse_identity(text)
        found = [one for one in known if name.casefold() in _names(one)]
        if must_match and not found:
            raise UsageError(
                f"--identity {name}: the build VM has no such identity",
                details=[one.resource_id for one in known] or ["vmProfile.userAssignedIdentities is empty"],
                hint="give its resource id, or the last part of that, as in vmProfile.userAssignedIdentities",
            )
        commands |= {one.resource_id: words for one in found}
    return tuple(ManagedIdentity.local(one.resource_id, commands.get(one.resource_id, ())) for one in known)


def parse_identity(text: str) -> tuple[str, tuple[str, ...]]:
    """`ID=COMMAND` as id and words, split as a shell would. `UsageError` if it is not that."""
    name, separator, command = text.partition("=")
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise UsageError(f"--identity, or the setting identities: a command cannot be split: {error}") from None
    if not separator or not name.strip() or not words:
        raise UsageError(
            "--identity, or the setting identities, is not ID=COMMAND",
            hint="for example --identity web='az account get-access-token --resource {resource}'",
        )
    return name.strip(), words


def _names(identity: ManagedIdentity) -> set[str]:
    return {identity.resource_id.casefold(), identity.resource_id.casefold().rsplit("/", 1)[-1], identity.client_id}
