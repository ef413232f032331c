"""The table of methods: screens and serial consoles."""

from __future__ import annotations

from typing import Final

from vmcontroller.host.callers import OPERATE, READ
from vmcontroller.host.xmlrpc.method import Method
from vmcontroller.host.xmlrpc.parameters import OFFSET, VM, length_of

PIECE_MAX_BYTES: Final = 2**20

SCREEN_METHODS: Final = (
    Method(
        name="getDisplay",
        role=OPERATE,
        target=lambda door, arg: door.operations.get_display(arg["vm"]),
        parameters=(VM,),
        returns="struct",
        answer="A struct: `kind` (`vnc`, `spice`, `vrde` or `none`), `host` and `port` (0: not by "
        "TCP, or the VM is off), `socket` (a Unix socket of the hypervisor's host, or empty), "
        "`password` (or empty), `tls`, and `open`: true when whoever reaches `host` over the "
        "network sees the screen without a password.",
        doc="Tell how to reach a VM's screen. That of a VM made by `createVM` is never open: it is "
        "a socket that only root and the hypervisor's own user reach.",
        example="host.getDisplay('worker 1')['socket']",
    ),
    Method(
        name="takeScreenshot",
        role=READ,
        target=lambda door, arg: door.operations.take_screenshot(arg["vm"]),
        parameters=(VM,),
        returns="base64",
        answer="A PNG. A screen of more than 4 Mi pixels is made smaller, one of more than 16 Mi "
        "is refused.",
        doc="Take a picture of what is on a VM's screen.",
        example="host.takeScreenshot('worker 1').data",
    ),
    Method(
        name="getConsoleLog",
        role=READ,
        target=lambda door, arg: door.operations.get_console_log(
            arg["vm"], arg["offset"], arg["length"]
        ),
        parameters=(
            VM,
            OFFSET,
            length_of(PIECE_MAX_BYTES),
        ),
        returns="struct",
        answer="A struct: `data` (base64), `offset` of its first byte, `next` (the offset to ask "
        "for next), `begins` (the first byte that is still kept). Of what was asked for and is "
        "dropped already, nothing comes: then `offset` is larger than asked for.",
        doc="Read what a VM has written to its serial console, also before its last start. The "
        "oldest is dropped, some MiB are kept; offsets stay valid.",
        example="host.getConsoleLog('worker 1')['data'].data.decode(errors='replace')",
    ),
)
