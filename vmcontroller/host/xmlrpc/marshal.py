"""XML-RPC in and out: request bodies to a name and plain values, our values to response bodies.

Every reply can be parsed: what XML 1.0 or XML-RPC cannot carry is repaired or refused before it
leaves. No I/O and no reactor, so that large bodies can be worked on in a thread.
"""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from xml.parsers import expat
from xmlrpc.client import Binary, Error, Fault, Unmarshaller, dumps

from vmcontroller.host.xmlrpc.faults import BadRequest

MAX_DEPTH: Final = 100
"""Elements within elements; a level of arrays or structs takes three."""

_PROLOG = re.compile(rb"(?:\xef\xbb\xbf)?(?:\s++|<\?.*?\?>|<!--.*?-->)*+", re.DOTALL)
_ENCODINGS = frozenset({None, "utf-8", "us-ascii", "ascii"})
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_INT = range(-(2**31), 2**31)


def read_call(body: bytes) -> tuple[str, Sequence[object]]:
    """Parse a methodCall into the method's name and its parameters.

    They are str, bool, int, float, bytes, datetime, list, dict or None. Raises BadRequest for
    anything else than one call in UTF-8 or ASCII without a document type.
    """
    prolog = _PROLOG.match(body)
    root = prolog.end() if prolog else 0
    if body.startswith(b"<!", root):
        raise BadRequest("a document type declaration is not allowed")
    if not body.startswith(b"<methodCall", root):
        raise BadRequest("the body must be an XML-RPC methodCall in UTF-8")
    unmarshaller = Unmarshaller(use_builtin_types=True)
    try:
        _parser(unmarshaller).Parse(body, True)
        params = unmarshaller.close()
    # What xmlrpc.client raises for elements in an order that it does not expect.
    except (Error, expat.ExpatError, ValueError, TypeError, LookupError, ArithmeticError) as error:
        raise BadRequest(f"not an XML-RPC call: {type(error).__name__}: {error!s:.200}") from error
    name = unmarshaller.getmethodname()
    if name is None:
        raise BadRequest("not an XML-RPC call: it has no methodName")
    return name, params


def _parser(unmarshaller: Unmarshaller) -> expat.XMLParserType:
    """Make a parser that takes every body for UTF-8, whatever it declares or begins with."""
    unmarshaller.xml("", None)  # its text comes decoded
    parser = expat.ParserCreate("UTF-8")
    depth = 0

    def declared(_version: str, encoding: str | None, _standalone: int) -> None:
        if encoding is not None and encoding.lower() not in _ENCODINGS:
            raise BadRequest(f"the encoding must be UTF-8, not {encoding:.40}")

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise BadRequest(f"elements are nested deeper than {MAX_DEPTH}")
        unmarshaller.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        unmarshaller.end(tag)

    parser.XmlDeclHandler = declared
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = unmarshaller.data
    return parser


def write_answer(value: object) -> bytes:
    """Write the response with one value, as `plain` allows it."""
    return _encoded((plain(value),))


def write_fault(fault: Fault) -> bytes:
    """Write the response that is a Fault."""
    return _encoded(fault)


def _encoded(content: Any) -> bytes:
    text = dumps(content, methodresponse=True)
    # A parser turns a raw CR, alone or before LF, into LF; dumps itself writes none.
    return _NOT_XML.sub("\ufffd", text).replace("\r", "&#13;").encode()


def plain(value: object) -> Any:
    """Turn a value of ours into what `xmlrpc.client.dumps` writes rightly.

    An int beyond 32 bits becomes a double, bytes become base64, an enum its value, every
    sequence an array. None, a number that is not finite and any other type raise TypeError: the
    operation that answered it has a bug.
    """
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, Mapping):
        return {_key(key): plain(item) for key, item in value.items()}
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bytes | bytearray):
        return Binary(bytes(value))
    if isinstance(value, Sequence):
        return [plain(item) for item in value]
    if isinstance(value, int | float):
        return value if isinstance(value, bool) else _number(value)
    raise TypeError(f"{type(value).__name__} has no form in XML-RPC")


def _number(value: float) -> float:
    if isinstance(value, int) and value in _INT:
        return int(value)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise TypeError("a number that is not finite has no form in XML-RPC")
    return number


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"{type(key).__name__} cannot be a key of a struct")
    return str(key.value) if isinstance(key, enum.Enum) else str(key)


def is_large(value: object, limit: int) -> bool:
    """Tell whether a value takes more than about `limit` bytes to write; looks no further."""
    left = limit
    todo = [value]
    while todo and left >= 0:
        item = todo.pop()
        left -= 32  # the tags around it
        if isinstance(item, str | bytes | bytearray):
            left -= len(item)
        elif isinstance(item, Mapping):
            left -= 32 * len(item)
            todo += item.values()
        elif isinstance(item, Sequence):
            todo += item
    return left < 0
