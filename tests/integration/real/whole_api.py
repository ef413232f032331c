"""A client that notes which methods are called, and runs the examples of the documentation."""

from __future__ import annotations

from typing import Any
from xmlrpc.client import ServerProxy

from vmcontroller.host.xmlrpc.table import METHODS

EXAMPLE_VM = "worker 1"
"""The VM that every example speaks of."""


class Noting:
    """A proxy; `called` has the wire name of each method that has answered."""

    def __init__(self, url: str) -> None:
        self._proxy = ServerProxy(url)
        self.called: set[str] = set()

    def close(self) -> None:
        self._proxy("close")()

    def __getattr__(self, name: str) -> Any:
        return _Method(self, name)

    def call(self, name: str, *params: object) -> Any:
        answer = getattr(self._proxy, name)(*params)
        self.called.add(name)  # only now: one that never answers was not exercised
        return answer


class _Method:
    def __init__(self, noting: Noting, name: str) -> None:
        self._noting = noting
        self._name = name

    def __getattr__(self, name: str) -> _Method:
        return _Method(self._noting, f"{self._name}.{name}")

    def __call__(self, *params: object) -> Any:
        return self._noting.call(self._name, *params)


class Examples:
    """Runs the example of a method as it stands in the documentation, on one real VM."""

    def __init__(self, host: Noting, *, replace: dict[str, str]) -> None:
        """`replace`: what stands for the VM and the paths of the page on this machine."""
        self._host = host
        self._replace = replace
        self.ran: set[str] = set()

    def run(self, method: str, **names: object) -> Any:
        """Return what the example's value is; `names` are the variables that it uses."""
        text = METHODS[method].example
        for theirs, ours in self._replace.items():
            text = text.replace(theirs, ours)
        value = eval(text, {"host": self._host, **names})
        assert METHODS[method].name in self._host.called, text
        self.ran.add(METHODS[method].name)
        return value
