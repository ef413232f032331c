"""The table of methods: guests, and what connects them with the host."""

from __future__ import annotations

from typing import Final

from vmcontroller.host.callers import READ
from vmcontroller.host.xmlrpc.kinds import Seconds
from vmcontroller.host.xmlrpc.method import Method, Parameter
from vmcontroller.host.xmlrpc.parameters import VM, WAIT_MAX_S

_GUEST = (
    "A struct: `name`, `uuid` and `state` of the VM, `id` of its guest, `connected`; for one that "
    "is connected also `since` and `lastHeard` (seconds since 1970, by this host's clock), "
    "`silentFor` and `latency` (seconds; below 0: not measured yet), `load` (of one minute), "
    "`version` of its agent, `protocol`, `capabilities`, `session` (new with every start of the "
    "agent), `epoch` (which connection of it), `bootId`; and what it says of itself: `hostname`, "
    "`os`, `ip`, `addresses`."
)

GUEST_METHODS: Final = (
    Method(
        name="ping",
        role=READ,
        target=lambda door, arg: door.operations.ping(arg["vm"], arg["timeout_secs"]),
        parameters=(
            VM,
            Parameter(
                name="timeout_secs",
                kind=Seconds(least_s=0, most_s=WAIT_MAX_S),
                default=5.0,
                doc="How long to wait, also for an agent that still comes up.",
            ),
        ),
        returns="string",
        answer="`PONG from <name>`; a Fault means: not yet.",
        doc="Ask a VM's agent whether it is there.",
        example="host.ping('worker 1', 120)",
        only_waits=True,
    ),
    Method(
        name="getGuest",
        role=READ,
        target=lambda door, arg: door.operations.get_guest(arg["vm"]),
        parameters=(VM,),
        returns="struct",
        answer=f"{_GUEST} When it is not connected, `detail` says why.",
        doc="Ask what is known of a VM's guest. Nothing is asked of the guest itself: `ping` does.",
        example="host.getGuest('worker 1')['lastHeard']",
    ),
    Method(
        name="listGuests",
        role=READ,
        target=lambda door, _: door.operations.list_guests(),
        returns="struct",
        answer="Name of the VM → what `getGuest` answers of it.",
        doc="Ask what is known of all guests, also of VMs that are off.",
        example="host.listGuests()['worker 1']['connected']",
    ),
    Method(
        name="getBrokerStats",
        role=READ,
        target=lambda door, _: door.operations.get_broker_stats(),
        returns="struct",
        answer="A struct: `connections`, with a session or not; `roles` (`host`, `guest`, `bulk` "
        "→ sessions); `subscriptions`, `destinations`; `queuedMessages` and `queuedBytes` "
        "(waiting in queues, or delivered and not acknowledged); `held` (connections that are not "
        "read now, because they send too much or the host is behind); `totals` since the start and "
        "`perSecond` of "
        "the last ten seconds (`framesIn`, `bytesIn`, `framesOut`, `bytesOut`); `drops` (reason → "
        "how often: `slow-consumer`, `login-refused`, `too-many` connections, `protocol-error`, "
        "`access-denied`, `takeover`, `silent`; and `rate-held`, which drops nobody); `listeners` "
        "(`tcp`, `tls`, `unix` → addresses); `limits`; `events`, the last hundred takeovers, "
        "refused logins, slow consumers and protocol errors (`number`, `at` in seconds since "
        "1970, `kind`, `who`, `address`, `detail`). With an external broker it is a Fault.",
        doc="Ask what the embedded STOMP broker does.",
        example="host.getBrokerStats()['drops']['slow-consumer']",
    ),
)
