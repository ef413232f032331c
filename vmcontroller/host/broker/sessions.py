"""Which connections are a guest's: one for words and, while it copies, one for bulk. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Generic, TypeVar

from vmcontroller.common.errors import AccessDenied
from vmcontroller.common.model import GuestId
from vmcontroller.host.broker.admission import Takeovers
from vmcontroller.host.broker.limits import BrokerLimits
from vmcontroller.host.broker.rates import Budget
from vmcontroller.host.broker.rights import Principal, Role

C = TypeVar("C")


class GuestSessions(Generic[C]):
    """The sessions of all guests, and what each may still send.

    A connection for bulk belongs to the session of its guest for words, and ends with it: what it
    brings makes no sense without, and nobody would have to be asked who it is.
    """

    def __init__(self, limits: BrokerLimits) -> None:
        self.words: dict[GuestId, C] = {}
        self.bulk: dict[GuestId, C] = {}
        self._limits = limits
        self._takeovers = Takeovers(limits)
        self._budgets: dict[Principal, Budget] = {}

    def admit(self, principal: Principal, *, bulk: bool, now_s: float) -> Principal:
        """Return as whom this one comes in; only a guest's connection can be one for bulk.

        Raises AccessDenied when it ends sessions of its own too often, or has none for words.
        """
        if bulk and principal.role is Role.GUEST:
            principal = replace(principal, bulk=True)
        if principal.id is None:
            return principal
        if principal.bulk and principal.id not in self.words:
            raise AccessDenied(
                f"{principal.id} has no session: a connection for bulk comes second, not alone"
            )
        if principal.id in self._of(principal):
            self._takeovers.check(str(principal), now_s)
        return principal

    def join(self, connection: C, principal: Principal) -> C | None:
        """Note a session. Returns the older one of the same kind, which is to end now."""
        if principal.id is None:
            return None
        mine = self._of(principal)
        older = mine.get(principal.id)
        mine[principal.id] = connection
        return older

    def leave(self, connection: object, principal: Principal) -> C | None:
        """Forget a session. Returns the connection for bulk that is to end with it.

        It does so, too, when a newer session has taken the place of this one.
        """
        guest = principal.id
        if guest is None:
            return None
        mine = self._of(principal)
        if mine.get(guest) is connection:
            del mine[guest]
        return None if principal.bulk else self.bulk.pop(guest, None)

    def budget(self, principal: Principal, now_s: float) -> Budget | None:
        """Return what is left to a guest: coming again does not make it more. None: no limit."""
        if principal.id is None:
            return None
        limits = self._limits
        if len(self._budgets) >= limits.connections:
            self._budgets = {p: b for p, b in self._budgets.items() if not b.is_full(now_s)}
        rates = limits.bulk_rates if principal.bulk else limits.rates
        return self._budgets.setdefault(principal, Budget(rates, now_s))

    def _of(self, principal: Principal) -> dict[GuestId, C]:
        return self.bulk if principal.bulk else self.words
