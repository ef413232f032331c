"""Elements of an XML text from somebody else: bounded, without entities and document types."""

from __future__ import annotations

from typing import Final
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

LARGEST_BYTES: Final = 2**20
DEEPEST: Final = 8
MOST_ELEMENTS: Final = 10_000


class BadXml(ValueError):
    """The text is not XML, or more than is allowed here."""


def parse(data: bytes) -> Element:
    """Return the root element.

    Raises BadXml for what isn't well-formed, has a document type (so there are no entities, and
    nothing expands), is larger than 1 MiB, nested deeper than 8, or has more than 10,000 elements.
    """
    if len(data) > LARGEST_BYTES:
        raise BadXml(f"larger than {LARGEST_BYTES} bytes")
    building = _Building()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse_document_type
    parser.StartElementHandler = building.begin
    parser.EndElementHandler = building.end
    parser.CharacterDataHandler = building.builder.data
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, LookupError) as error:  # LookupError: an unknown encoding
        raise BadXml(f"not well-formed: {error}") from error
    return building.builder.close()


def _refuse_document_type(*_: object) -> None:
    raise BadXml("a document type is not allowed")


class _Building:
    """Counts while it builds."""

    def __init__(self) -> None:
        self.builder = TreeBuilder()
        self._depth = 0
        self._count = 0

    def begin(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        self._count += 1
        if self._depth > DEEPEST:
            raise BadXml(f"nested deeper than {DEEPEST}")
        if self._count > MOST_ELEMENTS:
            raise BadXml(f"more than {MOST_ELEMENTS} elements")
        self.builder.start(tag, attributes)

    def end(self, tag: str) -> None:
        self._depth -= 1
        self.builder.end(tag)
