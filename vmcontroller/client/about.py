"""Calls: the daemon itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vmcontroller.client.answers import Identity
from vmcontroller.client.caller import UNLIMITED, Caller


class AboutCalls(Caller):
    """What the daemon is, what it can do, and whom it takes the caller for."""

    def version(self) -> str:
        """Return the daemon's version."""
        return str(self.call("version"))

    def who_am_i(self) -> Identity:
        """Return whom the daemon takes the caller for."""
        answer: Identity = self.call("whoAmI")
        return answer

    def help(self, method_name: str = "") -> str:
        """Return what a method is for; '' is all."""
        return str(self.call("help", method_name))

    def system_list_methods(self) -> list[str]:
        """Return the wire names of all methods."""
        answer: list[str] = self.call("system.listMethods")
        return answer

    def system_method_help(self, method_name: str) -> str:
        """Return what a method is for."""
        return str(self.call("system.methodHelp", method_name))

    def system_method_signature(self, method_name: str) -> list[list[str]]:
        """Return the types of a method: of its answer, then of its parameters."""
        answer: list[list[str]] = self.call("system.methodSignature", method_name)
        return answer

    def system_multicall(self, calls: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Make several calls; return of each [its answer], or a struct that is its Fault."""
        answer: list[Any] = self.call("system.multicall", calls, wait_s=UNLIMITED)
        return answer
