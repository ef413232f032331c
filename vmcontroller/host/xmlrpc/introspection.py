"""The methods about the methods: help and the usual `system.*`, from the table itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from vmcontroller.common.errors import BadArgument, NoSuchMethod
from vmcontroller.host.callers import READ
from vmcontroller.host.xmlrpc.document import help_text
from vmcontroller.host.xmlrpc.kinds import Calls, Text
from vmcontroller.host.xmlrpc.method import Door, Method, Parameter

_MULTICALL = "system.multicall"

_METHOD_NAME = Parameter(
    name="methodName", kind=Text(max_chars=100), doc="The wire name of a method."
)


async def _help(door: Door, arg: Mapping[str, Any]) -> str:
    name = arg["methodName"]
    if name in {"", "None"}:
        return "\n\n".join(help_text(method) for method in unique(door.methods))
    return help_text(lookup(door, name))


async def _list_methods(door: Door, _arg: Mapping[str, Any]) -> Sequence[str]:
    return sorted(door.methods)


async def _method_help(door: Door, arg: Mapping[str, Any]) -> str:
    return help_text(lookup(door, arg["methodName"]))


async def _method_signature(door: Door, arg: Mapping[str, Any]) -> Sequence[Sequence[str]]:
    method = lookup(door, arg["methodName"])
    kinds = [parameter.kind.wire for parameter in method.parameters]
    return [
        [method.returns, *kinds[:count]]
        for count in range(method.required, len(method.parameters) + 1)
    ]


async def _who_am_i(door: Door, _arg: Mapping[str, Any]) -> Mapping[str, Any]:
    caller = door.caller
    return {"name": caller.name, "roles": list(caller.all_roles), "address": caller.address}


async def _multicall(door: Door, arg: Mapping[str, Any]) -> Sequence[object]:
    return [await _one_of_many(door, call) for call in arg["calls"]]


async def _one_of_many(door: Door, call: tuple[str, Sequence[object]]) -> object:
    name, params = call
    if name == _MULTICALL:
        error = BadArgument("calls", f"{_MULTICALL} cannot be one of them")
        fault = door.fault_of(error, name)
    else:
        try:
            return [await door.call(name, params)]
        except Exception as raised:  # noqa: BLE001 - the other calls go on, as with single calls
            fault = door.fault_of(raised, name)
    return {"faultCode": fault.faultCode, "faultString": fault.faultString}


def lookup(door: Door, name: str) -> Method:
    """Return the method with this wire name; raises NoSuchMethod."""
    method = door.methods.get(name)
    if method is None:
        raise NoSuchMethod(name[:100])
    return method


def unique(methods: Mapping[str, Method]) -> Sequence[Method]:
    """Return each method once, whatever its aliases, in the table's order."""
    return [method for name, method in methods.items() if name == method.name]


INTROSPECTION: Final = (
    Method(
        name="whoAmI",
        role=READ,
        target=_who_am_i,
        returns="struct",
        answer="A struct: `name`; `roles`, all that the caller has (`admin` has each); `address`, "
        "where the call came from.",
        doc="Tell whom the daemon takes the caller for, and what they may do.",
        example="host.whoAmI()['roles']",
    ),
    Method(
        name="help",
        role=READ,
        target=_help,
        parameters=(
            Parameter(
                name="methodName",
                kind=Text(max_chars=100),
                default="",
                doc="The wire name of a method; `''` is all of them.",
            ),
        ),
        returns="string",
        answer="The text.",
        doc="Explain one method, or all.",
        example="print(host.help('runCmd'))",
    ),
    Method(
        name="system.listMethods",
        role=READ,
        target=_list_methods,
        returns="array",
        answer="Their names, aliases among them.",
        doc="List all methods.",
        example="host.system.listMethods()",
    ),
    Method(
        name="system.methodHelp",
        role=READ,
        target=_method_help,
        parameters=(_METHOD_NAME,),
        returns="string",
        answer="As `help`.",
        doc="Explain a method.",
        example="host.system.methodHelp('createVM')",
    ),
    Method(
        name="system.methodSignature",
        role=READ,
        target=_method_signature,
        parameters=(_METHOD_NAME,),
        returns="array",
        answer="An array of signatures, one for each number of arguments: the type of the answer, "
        "then those of the parameters.",
        doc="Tell the types of a method.",
        example="host.system.methodSignature('start')",
    ),
    Method(
        name=_MULTICALL,
        role=READ,
        target=_multicall,
        parameters=(
            Parameter(
                name="calls",
                kind=Calls(),
                doc="The calls, each a struct of `methodName` and `params` (an array).",
            ),
        ),
        returns="array",
        answer="For each call an array with its answer, or a struct of `faultCode` and "
        "`faultString`.",
        doc="Make several calls, one after the other; a Fault of one does not stop the others.",
        example="host.system.multicall([{'methodName': 'getState', 'params': ['worker 1']}])",
    ),
)
