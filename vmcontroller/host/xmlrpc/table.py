"""Every method by each of its wire names. What is not here cannot be called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from vmcontroller.host.xmlrpc.command_methods import COMMAND_METHODS
from vmcontroller.host.xmlrpc.copy_methods import COPY_METHODS
from vmcontroller.host.xmlrpc.event_methods import EVENT_METHODS
from vmcontroller.host.xmlrpc.guest_methods import GUEST_METHODS
from vmcontroller.host.xmlrpc.introspection import INTROSPECTION
from vmcontroller.host.xmlrpc.method import Method
from vmcontroller.host.xmlrpc.screen_methods import SCREEN_METHODS
from vmcontroller.host.xmlrpc.snapshot_methods import SNAPSHOT_METHODS
from vmcontroller.host.xmlrpc.stats_methods import STATS_METHODS
from vmcontroller.host.xmlrpc.task_methods import TASK_METHODS
from vmcontroller.host.xmlrpc.vm_methods import VM_METHODS

METHODS: Final[Mapping[str, Method]] = {
    name: method
    for methods in (
        VM_METHODS,
        SNAPSHOT_METHODS,
        GUEST_METHODS,
        COMMAND_METHODS,
        COPY_METHODS,
        EVENT_METHODS,
        TASK_METHODS,
        STATS_METHODS,
        SCREEN_METHODS,
        INTROSPECTION,
    )
    for method in methods
    for name in (method.name, *method.aliases)
}
