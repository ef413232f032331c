"""How many connections there may be, in all and of one client. Decisions only.

Where there are too many, the one that is missed least gives way: it has waited longest without a
call. So whoever only holds connections open keeps nobody out, and no call under way is lost.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import Generic, Protocol, TypeVar


class Connection(Protocol):
    """One of them; compared by identity."""

    @property
    def client(self) -> str:
        """Whose it is."""
        ...


C = TypeVar("C", bound=Connection)


class Connections(Generic[C]):
    """The connections of one listening port."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.most_of_one = max(1, most // 2)
        self._all: set[C] = set()
        self._of: Counter[str] = Counter()
        self._strangers: OrderedDict[C, None] = OrderedDict()
        """Without a call so far, the oldest first."""
        self._idle: OrderedDict[C, None] = OrderedDict()
        """Between two calls."""

    def __len__(self) -> int:
        return len(self._all)

    def room_for(self, client: str) -> tuple[bool, C | None]:
        """Tell whether one more of this client may come, and which other must go for it."""
        if self._of[client] >= self.most_of_one:
            leaving = self._first_of(client)
        elif len(self._all) >= self.most:
            leaving = next(iter(self._strangers), None) or next(iter(self._idle), None)
        else:
            return True, None
        return leaving is not None, leaving

    def _first_of(self, client: str) -> C | None:
        for group in (self._strangers, self._idle):
            for connection in group:
                if connection.client == client:
                    return connection
        return None

    def add(self, connection: C) -> None:
        """Count one that has come."""
        self._all.add(connection)
        self._of[connection.client] += 1
        self._strangers[connection] = None

    def calls(self, connection: C) -> None:
        """Note that a whole request has come on it."""
        self._strangers.pop(connection, None)
        self._idle.pop(connection, None)

    def rests(self, connection: C) -> None:
        """Note that its call is answered."""
        if connection in self._all:
            self._idle[connection] = None

    def remove(self, connection: C) -> None:
        """Count one less."""
        if connection not in self._all:
            return
        self._all.remove(connection)
        self._strangers.pop(connection, None)
        self._idle.pop(connection, None)
        self._of[connection.client] -= 1
        if not self._of[connection.client]:
            del self._of[connection.client]
