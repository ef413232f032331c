"""What CONNECT asks and CONNECTED answers: version, who it is, heart-beats. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vmcontroller.common.destinations import CONNECTION_KIND, GUEST_ID, KIND_BULK
from vmcontroller.common.errors import AccessDenied, ProtocolError
from vmcontroller.common.stomp.frames import Frame, Version, encode, quoted
from vmcontroller.common.stomp.heartbeat import agree, parse_heart_beat
from vmcontroller.host.broker.rights import Principal

Authenticate = Callable[[str, str, bool], Principal | None]
"""From login and passcode (empty: not given) to who it is, or None to refuse.

The third says that it is to be a connection for bulk.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """What both sides have agreed upon; the intervals are the broker's, 0 is none."""

    principal: Principal
    version: Version
    send_s: float
    receive_s: float
    connected: bytes
    """The CONNECTED frame."""


def welcome(
    frame: Frame, *, authenticate: Authenticate, session: str, heart_beat_s: float
) -> Welcome:
    """Answer the first frame of a connection.

    Raises ProtocolError when it is not CONNECT (or STOMP, the same since 1.1), or there is no
    common version, or its heart-beat makes no sense; AccessDenied when the login is refused.
    """
    if frame.command not in {"CONNECT", "STOMP"}:
        raise ProtocolError(f"the first frame must be CONNECT or STOMP, not {frame.command}")
    version = _choose_version(frame)
    can_s, wants_s = parse_heart_beat(frame.header("heart-beat") or "0,0")
    login = frame.header("login") or ""
    is_bulk = frame.header(CONNECTION_KIND) == KIND_BULK
    principal = authenticate(login, frame.header("passcode") or "", is_bulk)
    if principal is None:
        raise AccessDenied(
            f"login {quoted(login)} is refused: nobody here has it, or its passcode is another"
        )
    interval_ms = round(heart_beat_s * 1000)
    headers = [
        ("version", version.value),
        ("session", session),
        ("server", "VMController"),
        ("heart-beat", f"{interval_ms},{interval_ms}"),
    ]
    if principal.id is not None:
        headers.append((GUEST_ID, principal.id))
    return Welcome(
        principal=principal,
        version=version,
        send_s=agree(heart_beat_s, wants_s),
        receive_s=agree(heart_beat_s, can_s),
        connected=encode(Frame("CONNECTED", tuple(headers)), version),
    )


def _choose_version(frame: Frame) -> Version:
    accepted = frame.header("accept-version")
    if accepted is None:
        return Version.V1_0
    offered = {text.strip() for text in accepted.split(",")}
    common = [version for version in Version if version.value in offered]
    if not common:
        raise ProtocolError(
            f"no common version: you accept {quoted(accepted)}, this broker {', '.join(Version)}"
        )
    return common[-1]
