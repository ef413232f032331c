"""Which of the broker's addresses a guest shall be told. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from vmcontroller.host.hypervisor.base import AgentAddress

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def broker_for(agent: AgentAddress, reachable: Sequence[str]) -> str:
    """Return HOST:PORT for a guest, IPv6 in brackets, or '' when nothing is known to lead there.

    `reachable` are the host's addresses in the guest's own networks. Of them, one that the
    broker listens on; where libvirt knows no address (a bridge), the broker's first that is
    not the host's alone. The agent then still has its gateway to try. A broker elsewhere is told
    as it is.
    """
    if agent.elsewhere:
        host = agent.hosts[0]
        return f"[{host}]:{agent.port}" if ":" in host else f"{host}:{agent.port}"
    listening = [address for host in agent.hosts if (address := _address(host)) is not None]
    everywhere = not listening or any(address.is_unspecified for address in listening)
    own = [address for host in reachable if (address := _address(host)) is not None]
    candidates = [address for address in own if everywhere or address in listening]
    if not own:
        candidates = [
            address
            for address in listening
            if not address.is_loopback and not address.is_unspecified
        ]
    if not candidates:
        return ""
    chosen = candidates[0]
    return f"[{chosen}]:{agent.port}" if chosen.version == 6 else f"{chosen}:{agent.port}"


def _address(host: str) -> _Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
