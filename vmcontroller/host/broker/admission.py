"""Who may come in: connections counted in all and for each address, so that none uses them up."""

from __future__ import annotations

import ipaddress
from collections import Counter

from vmcontroller.host.broker.limits import BrokerLimits


def counted_host(host: str) -> str:
    """Return under which name connections from this IP address are counted together.

    "" is for those of this machine, which are only counted in all. IPv4 in IPv6 is IPv4.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is not None:
        address = mapped
    return "" if address.is_loopback else str(address)


class Admission:
    """Counts TCP connections from `enter` to `leave`."""

    def __init__(self, limits: BrokerLimits) -> None:
        self._limits = limits
        self._total = 0
        self._by_host: Counter[str] = Counter()

    @property
    def is_full(self) -> bool:
        """There is no room for anybody, not even to be told so."""
        return self._total >= self._limits.connections

    def is_crowded(self, host: str) -> bool:
        """So many from this host have been refused and are still there that no more are told."""
        return bool(host) and self._by_host[host] >= 2 * self._limits.connections_per_address

    def enter(self, host: str) -> str:
        """Count a connection. Returns why it may not stay, or nothing; it is counted either way."""
        self._total += 1
        if not host:
            return ""
        self._by_host[host] += 1
        if self._by_host[host] <= self._limits.connections_per_address:
            return ""
        return (
            f"there are {self._limits.connections_per_address} connections from {host} already, "
            "and no more are allowed"
        )

    def leave(self, host: str) -> None:
        """Count it no longer."""
        self._total -= 1
        if host:
            self._by_host[host] -= 1
            if not self._by_host[host]:
                del self._by_host[host]
