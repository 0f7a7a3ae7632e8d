"""What may come instead of an answer, as a few kinds: what to do depends on the kind alone.

WinRM's own numbers are in [MS-WSMV] 2.2.9 and wsmerror.h. A text of the guest's is shown as one line, cut.
"""

from __future__ import annotations

from aibemu.communicators import LoginHopeless
from aibemu.errors import ProvisionFailed

# No output came within the time that was asked for: go on asking.
TIMED_OUT = 2150858793
# The shell or the command is not there: it is over, or the guest has restarted.
NO_SUCH_THING = 2150858843
# The shell is going down, or the service is: the operation was aborted; the network name or the pipe is gone.
CUT_OFF = frozenset({995, 1236, 1726, 2147943395, 2147943636})
ACCESS_DENIED = frozenset({5, 2147942405})
# ERROR_WSMAN_QUOTA_MAX_SHELLS to ERROR_WSMAN_QUOTA_MIN_REQUIREMENT_NOT_AVAILABLE_PPQ.
QUOTAS = range(2150859173, 2150859187)
LONGEST_WORDS = 400


class Trouble(Exception):
    """No answer that is of use; str() is why, in a few words that can follow a colon."""


class Broken(Trouble):
    """The connection was not made, or was lost: nobody knows whether the request arrived."""


class Silent(Trouble):
    """The guest said in time that there is nothing to say yet."""


class Busy(Trouble):
    """The server answered that it can serve nobody now: it starts, or goes down. The request was not carried out."""


class Refused(Trouble):
    """The server answered, and did not let in. The request was not carried out."""


class Quota(Trouble):
    """The server has no room for one more. The request was not carried out."""


class Gone(Trouble):
    """The shell or the command that was asked for is not there any more."""


class TooLarge(Trouble):
    """The request is larger than the server takes. It was not carried out."""


class Fault(Trouble):
    """Another fault of WinRM's."""


class WinrmFailed(ProvisionFailed):
    """The guest's WinRM answers, and does not run what it is asked to."""

    code = "WINRM_FAILED"


class CommandTooLong(ProvisionFailed):
    """A command that cmd.exe cannot take."""

    code = "COMMAND_TOO_LONG"


def of_fault(code: int | None, subcode: str, reason: str) -> Trouble:
    """The kind of a fault."""
    words = words_of(reason)
    if code == TIMED_OUT:
        return Silent(words)
    if code == NO_SUCH_THING:
        return Gone(words)
    if code in CUT_OFF:
        return Broken(f"{words} (fault {code})")
    if code in ACCESS_DENIED:
        return Refused(f"{words} (fault {code})")
    if subcode.endswith("QuotaLimit") or code in QUOTAS:
        return Quota(f"{words} (fault {code})")
    return Fault(f"{words} (fault {code})" if code is not None else words)


def of_status(status: int) -> Trouble:
    """The kind of an answer by its HTTP status alone."""
    if status == 401:
        return Refused("HTTP status 401")
    if status == 413:
        return TooLarge("the request is too large (HTTP status 413)")
    if status in (404, 502, 503, 504):
        return Busy(f"its WinRM service is not ready (HTTP status {status})")
    return Fault(f"HTTP status {status}, without a reason")


def words_of(text: str) -> str:
    """One line of a guest's text."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_WORDS else f"{line[:LONGEST_WORDS]}..."


def wrong_certificate(expected: str, shown: str) -> LoginHopeless:
    """Somebody else answers, or the guest got another certificate than this run gave it."""
    return LoginHopeless(
        "the guest's WinRM server shows another certificate than the one that this run gave it",
        details=[f"expected (SHA-256): {expected}", f"shown: {shown or 'none'}"],
        hint="a step or the image made another HTTPS listener or certificate for WinRM; leave the listener on port "
        "5986 alone until the deprovisioning at the end",
    )


def no_common_method(offered: str) -> LoginHopeless:
    """Neither of the two ways to log in is on."""
    return LoginHopeless(
        "the guest's WinRM server takes neither NTLM nor Basic, so nobody can log in",
        details=[f"it offers: {offered or 'nothing'}"],
        hint='switch one on in the image: winrm set winrm/config/service/auth @{Negotiate="true"}',
    )
