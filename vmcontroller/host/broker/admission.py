"""Who may come in: connections counted in all and for each address, so that none uses them up.

Pure.
"""

from __future__ import annotations

import ipaddress
from collections import Counter, OrderedDict

from vmcontroller.common.errors import AccessDenied
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


class Arrivals:
    """How often something may happen for each key: so many times at once, then at a rate.

    For a key it keeps the time at which all is as if nothing had happened, and forgets it then. Of
    more than `most_keys` (addresses can be made up) it forgets who was longest not heard of.
    """

    def __init__(self, *, at_once: int, per_s: float, most_keys: int) -> None:
        self._most_keys = most_keys
        self._step_s = 1 / per_s
        self._ahead_s = (at_once - 1) / per_s
        self._even_at_s: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._even_at_s)

    def admits(self, key: str, now_s: float) -> bool:
        """Say whether it may happen once more, and count it if so. What may not costs nothing."""
        even_at_s = max(self._even_at_s.pop(key, now_s), now_s)
        even_at_s = min(even_at_s, now_s + self._ahead_s + self._step_s)  # the clock was put back
        admitted = even_at_s - now_s <= self._ahead_s
        self._forget(now_s)
        self._even_at_s[key] = even_at_s + self._step_s if admitted else even_at_s
        return admitted

    def _forget(self, now_s: float) -> None:
        """Drop from the longest unheard of on; each is dropped once, so this is cheap."""
        while self._even_at_s:
            oldest = next(iter(self._even_at_s))
            if self._even_at_s[oldest] > now_s and len(self._even_at_s) < self._most_keys:
                return
            self._even_at_s.popitem(last=False)


class Admission:
    """Counts TCP connections from `enter` to `leave`, and how often they come."""

    def __init__(self, limits: BrokerLimits) -> None:
        self._limits = limits
        self._total = 0
        self._by_host: Counter[str] = Counter()
        self._any_number = limits.connections_per_address >= limits.connections
        self._arrivals = Arrivals(
            at_once=limits.arrivals_at_once,
            per_s=limits.arrivals_per_s,
            most_keys=limits.connections,
        )

    @property
    def is_full(self) -> bool:
        """There is no room for anybody, not even to be told so."""
        return self._total >= self._limits.connections

    def turned_away(self, host: str, now_s: float) -> str:
        """Return why a new connection is closed at once, without being told or counted; or ""."""
        limits = self._limits
        if self.is_full:
            return f"the broker has its {limits.connections} connections"
        if not host or self._any_number:
            return ""
        if self._by_host[host] >= 2 * limits.connections_per_address:
            return "too many have come from there before"
        if not self._arrivals.admits(host, now_s):
            return f"they come more often than {limits.arrivals_per_s:g} times a second"
        return ""

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


class Takeovers:
    """How often the sessions of a guest may be ended by another login of the same guest.

    Two clones that push each other out, or one that does it to itself, must not keep the host busy.
    """

    def __init__(self, limits: BrokerLimits) -> None:
        self._arrivals = Arrivals(
            at_once=limits.takeovers_at_once,
            per_s=limits.takeovers_per_s,
            most_keys=limits.connections,
        )

    def check(self, guest: str, now_s: float) -> None:
        """Count one. Raises AccessDenied when there are too many: then the older session stays."""
        if not self._arrivals.admits(guest, now_s):
            raise AccessDenied(
                f"{guest} has a session, and has ended older ones too often by connecting again: "
                "wait, and see whether two guests have this identity"
            )
