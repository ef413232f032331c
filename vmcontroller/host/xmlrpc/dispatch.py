"""From a wire name and parameters to an answer: the table is the only way to the operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import uuid4
from xmlrpc.client import Fault

from twisted.logger import Logger
from twisted.python.failure import Failure

from vmcontroller.common.errors import AccessDenied
from vmcontroller.host.callers import Caller
from vmcontroller.host.xmlrpc.audit import OK, Audit, Audited, plain_arguments, result_of
from vmcontroller.host.xmlrpc.faults import expected_fault, internal_fault
from vmcontroller.host.xmlrpc.introspection import lookup
from vmcontroller.host.xmlrpc.method import Method
from vmcontroller.host.xmlrpc.operations_protocol import Operations
from vmcontroller.host.xmlrpc.table import METHODS


class Dispatcher:
    """Makes calls for those who may, and Faults of what they raise."""

    _log = Logger()

    def __init__(self, operations: Operations, audit: Audit | None = None) -> None:
        """`audit` gets what is to be written down."""
        self.operations = operations
        self.audit = audit

    async def call(self, caller: Caller, name: str, params: Sequence[object]) -> object:
        """Call a method by its wire name, as `caller`.

        Raises NoSuchMethod, AccessDenied and BadArgument before anything is done, and what the
        method raises.
        """
        return await CallersDoor(self, caller).call(name, params)

    def only_waits(self, name: str) -> bool:
        """Tell whether a call may be cancelled when nobody waits for its answer any more."""
        method = METHODS.get(name)
        return method is not None and method.only_waits

    def fault_of(self, error: Exception, name: str) -> Fault:
        """Return the Fault for what a call raised.

        An unexpected error is logged with its traceback under an id; the Fault names only that.
        """
        fault = expected_fault(error)
        if fault is None:
            incident = uuid4().hex[:12]
            self._log.failure(
                "incident {incident} in {method}",
                failure=Failure(error),  # type: ignore[no-untyped-call]
                incident=incident,
                method=name,
            )
            fault = internal_fault(incident)
        return fault


class CallersDoor:
    """What the methods that one caller calls work on (`method.Door`)."""

    def __init__(self, dispatcher: Dispatcher, caller: Caller) -> None:
        self._dispatcher = dispatcher
        self.caller = caller

    @property
    def operations(self) -> Operations:
        """The use cases."""
        return self._dispatcher.operations

    @property
    def methods(self) -> Mapping[str, Method]:
        """Every method by each of its wire names."""
        return METHODS

    async def call(self, name: str, params: Sequence[object]) -> object:
        """Call a method by its wire name; see Dispatcher.call."""
        method = lookup(self, name)
        audited = self._audited(method, params) if method.is_audited else None
        try:
            self.caller.must(method.role, method.name)
            answer = await method.target(self, method.bind(params))
        except BaseException as error:
            if audited is None and isinstance(error, AccessDenied):
                audited = self._audited(method, params)
            if audited is not None:
                audited.ends(result_of(error))
            raise
        if audited is not None:
            audited.ends(OK)
        return answer

    def _audited(self, method: Method, params: Sequence[object]) -> Audited | None:
        audit = self._dispatcher.audit
        if audit is None:
            return None
        return audit.begins(self.caller, method.name, plain_arguments(method, params))

    def fault_of(self, error: Exception, name: str) -> Fault:
        """Return the Fault for what a call raised; see Dispatcher.fault_of."""
        return self._dispatcher.fault_of(error, name)
