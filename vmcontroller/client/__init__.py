"""The Python client: `Client`, its errors, and what it answers. It needs no Twisted."""

from vmcontroller.client.client import Client
from vmcontroller.client.errors import ClientError, Fault

__all__ = ["Client", "ClientError", "Fault"]
