"""The Python client: `Client`, its errors, and what it answers. It needs no Twisted.

`Client` is imported when it is asked for: the command's help does not need it.
"""

from typing import TYPE_CHECKING

from vmcontroller.client.errors import ClientError, Fault

if TYPE_CHECKING:
    from vmcontroller.client.client import Client

__all__ = ["Client", "ClientError", "Fault"]


def __getattr__(name: str) -> object:
    if name == "Client":
        from vmcontroller.client.client import Client  # noqa: PLC0415 - see above

        return Client
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
