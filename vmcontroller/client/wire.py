"""A call as XML and its answer as values; what can't be carried is refused before it is sent."""

from __future__ import annotations

import re
import xmlrpc.client
from collections.abc import Mapping, Sequence
from typing import Any, Final

from vmcontroller.client.errors import BadAnswer, NotSendable, fault_of

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_INT: Final = range(-(2**31), 2**31)


def request(method: str, params: Sequence[object]) -> bytes:
    """Write a call; raises NotSendable."""
    text = xmlrpc.client.dumps(tuple(map(_sendable, params)), method, allow_none=True)
    # A parser turns a raw CR into LF; dumps itself writes none.
    return text.replace("\r", "&#13;").encode()


def _sendable(value: object) -> Any:
    if isinstance(value, str):
        if wrong := _NOT_XML.search(value):
            raise NotSendable(
                f"XML cannot carry U+{ord(wrong[0]):04X}, which is in {value!r:.100}; "
                "bytes can go through stdin or a file"
            )
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return xmlrpc.client.Binary(bytes(value))
    if isinstance(value, bool | float) or value is None:
        return value
    if isinstance(value, int):
        return value if value in _INT else float(value)
    if isinstance(value, Mapping):
        return {_sendable(str(key)): _sendable(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [_sendable(item) for item in value]
    raise NotSendable(f"XML-RPC has no form for {type(value).__name__}: {value!r:.100}")


def answer(body: bytes) -> Any:
    """Read an answer; raises the Fault that it is, or BadAnswer. Base64 becomes bytes."""
    try:
        values, _ = xmlrpc.client.loads(body, use_builtin_types=True)
    except xmlrpc.client.Fault as fault:
        raise fault_of(fault.faultCode, fault.faultString) from None
    except Exception as error:
        # What expat and xmlrpc.client raise for other things than an answer is of many types.
        raise BadAnswer(f"the answer is not XML-RPC: {error!s:.200}") from error
    if len(values) != 1:
        raise BadAnswer("the answer is not that of a call")
    return _whole(values[0])


def _whole(value: Any) -> Any:
    """Turn numbers that were whole and too large for an int of the wire into ints again."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) >= 2**31 else value
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return value
