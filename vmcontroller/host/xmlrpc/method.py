"""What the table of methods is made of, and how a call's arguments are bound to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from xmlrpc.client import Fault

from vmcontroller.common.errors import BadArgument
from vmcontroller.host.callers import READ, Caller
from vmcontroller.host.xmlrpc.kinds import Kind
from vmcontroller.host.xmlrpc.operations_protocol import Operations


class Required:
    """The type of REQUIRED."""


REQUIRED: Final = Required()
"""The default of a parameter that has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One positional parameter, under the name that the documentation gives it."""

    name: str
    kind: Kind
    doc: str
    default: object = REQUIRED
    """As a caller would send it; it is checked like a value that was sent."""

    @property
    def shown(self) -> str:
        """The parameter as it stands in a usage."""
        return self.name if self.default is REQUIRED else f"{self.name}={self.default!r}"


class Door(Protocol):
    """What a method works on: the operations behind the door, and the door itself."""

    @property
    def operations(self) -> Operations:
        """The use cases."""
        ...

    @property
    def caller(self) -> Caller:
        """Who makes this call."""
        ...

    @property
    def methods(self) -> Mapping[str, Method]:
        """Every method by each of its wire names."""
        ...

    async def call(self, name: str, params: Sequence[object]) -> object:
        """Check the caller's role and the arguments, and call; raises what the method raises."""
        ...

    def fault_of(self, error: Exception, name: str) -> Fault:
        """Turn what a call of the method `name` raised into a Fault; a bug is logged."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One method of the API."""

    name: str
    role: str
    """What a caller must be (host.callers)."""
    target: Callable[[Door, Mapping[str, Any]], Awaitable[object]]
    """Takes the door and the checked values by parameter name."""
    returns: str
    """The XML-RPC type of the answer."""
    answer: str
    """What the answer is, for the documentation."""
    doc: str
    example: str
    """In Python, where `host` is an `xmlrpc.client.ServerProxy`."""
    parameters: tuple[Parameter, ...] = ()
    aliases: tuple[str, ...] = field(default=())
    changes: bool | None = None
    """Whether a call may change something, and so is audited. None: if it needs more than read."""
    only_waits: bool = False
    """Nothing is lost when the call is cancelled because its client has gone."""

    @property
    def is_audited(self) -> bool:
        """Whether each call is written down, not only those that were denied."""
        return self.role != READ if self.changes is None else self.changes

    @property
    def usage(self) -> str:
        """The call as one writes it, with the defaults."""
        return f"{self.name}({', '.join(parameter.shown for parameter in self.parameters)})"

    @property
    def required(self) -> int:
        """How many arguments a call needs at least."""
        return sum(parameter.default is REQUIRED for parameter in self.parameters)

    def bind(self, params: Sequence[object]) -> Mapping[str, Any]:
        """Check positional arguments; nil stands for a default.

        Raises BadArgument with the first that is missing, surplus or not allowed. Nothing has
        been done then.
        """
        if len(params) > len(self.parameters):
            raise BadArgument(
                self.name,
                f"takes at most {len(self.parameters)} arguments, not {len(params)}: {self.usage}",
            )
        given = [*params, *[None] * (len(self.parameters) - len(params))]
        return {
            parameter.name: self._checked(parameter, value)
            for parameter, value in zip(self.parameters, given, strict=True)
        }

    def _checked(self, parameter: Parameter, value: object) -> object:
        if value is None:
            if parameter.default is REQUIRED:
                raise BadArgument(
                    parameter.name, f"is missing, {parameter.kind.allowed}: {self.usage}"
                )
            value = parameter.default
        checked: object = parameter.kind.check(parameter.name, value)
        return checked
