r"""The one stream of bytes that stands for a directory and all below it. No I/O.

The directory itself is in the copy's FileFacts. Then come its entries, each a head (one line of
JSON and a line feed) and, for a file, its bytes:

| head | what follows |
|---|---|
| `{"dir": path, "mode", "mtime", "owner", "group"}` | the directory's own entries, right after it |
| `{"file": path, "size", "data", "mode", "mtime", "owner", "group"}` | `data` bytes |
| `{"link": path, "to": target, "mtime", "owner", "group"}` | nothing |
| `{"end": number of entries}` | nothing, ever |

A file whose `data` is less than its `size` is sparse: instead of all its bytes come stretches,
each with a head `{"at": offset, "length": bytes}`, until `data` bytes have come.

Names are bytes: what is not UTF-8 is `\udc80` … `\udcff` (Python's surrogateescape). Entries come
in one order only, each after its directory, and the names in a directory ascending by bytes; so a
receiver knows by the last entry alone that none comes twice, and that every path leads through
directories that were announced, never through a symbolic link.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from vmcontroller.common.copying.reasons import Reason
from vmcontroller.common.copying.tree_names import (
    ENTRIES_MOST,
    OWNER_CHARS,
    PATH_BYTES,
    check_names,
    check_target,
    shown,
)
from vmcontroller.common.errors import ProtocolError, TransferFailed
from vmcontroller.common.words.wording import Spoken

HEAD_BYTES: Final = 64 * 1024
"""Of a head at most: room for a path and a target of which every byte is escaped."""

_CODEC: Final = ("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What every entry has."""

    names: tuple[bytes, ...]
    """Of the directories from the root on, and its own."""
    mtime_ns: int
    owner: str = ""
    """The names of its user and its group; empty where they are not to be kept."""
    group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryEntry(Entry):
    mode: int
    """The twelve permission bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry(Entry):
    mode: int
    size_bytes: int
    data_bytes: int
    """Without the holes: so many bytes follow."""

    @property
    def sparse(self) -> bool:
        return self.data_bytes < self.size_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkEntry(Entry):
    target: bytes


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes of the file that was the last entry."""

    offset: int
    data: memoryview


@dataclass(frozen=True, slots=True)
class End:
    """The tree is whole."""


Event = DirectoryEntry | FileEntry | LinkEntry | Data | End


def head_of(entry: Entry) -> bytes:
    """Return the head that announces an entry."""
    path = b"/".join(entry.names).decode(*_CODEC)
    fields: dict[str, object]
    match entry:
        case DirectoryEntry():
            fields = {"dir": path, "mode": entry.mode}
        case FileEntry(size_bytes=size_bytes, data_bytes=data_bytes):
            fields = {"file": path, "size": size_bytes, "data": data_bytes, "mode": entry.mode}
        case LinkEntry(target=target):
            fields = {"link": path, "to": target.decode(*_CODEC)}
        case _:
            raise TypeError(entry)
    fields["mtime"] = entry.mtime_ns
    if entry.owner or entry.group:
        fields |= {"owner": entry.owner, "group": entry.group}
    return _line(fields)


def stretch_head(offset: int, length_bytes: int) -> bytes:
    """Return the head of a stretch of a sparse file."""
    return _line({"at": offset, "length": length_bytes})


def end_head(entries: int) -> bytes:
    """Return the last head."""
    return _line({"end": entries})


def _line(fields: Mapping[str, object]) -> bytes:
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=True).encode() + b"\n"


class TreeParser:
    """Takes the stream apart, in whatever pieces it comes, and believes none of it."""

    def __init__(self, size_bytes: int) -> None:
        """`size_bytes`: of the whole stream, as announced."""
        self.entries = 0
        """How many have been announced."""
        self.ended = False
        self._left_bytes = size_bytes
        """Of the stream, behind what was taken apart."""
        self._head = bytearray()
        self._directories: tuple[bytes, ...] = ()
        """The names of the directory whose entries come now."""
        self._last: tuple[bytes, ...] = ()
        self._file: FileEntry | None = None
        self._file_left_bytes = 0
        self._offset = 0
        self._stretch_left_bytes = 0

    def feed(self, data: bytes | bytearray | memoryview) -> Iterator[Event]:
        """Take the next bytes; memory is bounded by a head and a path, whatever they hold.

        Must be run to its end. Raises TransferFailed PROTOCOL, ESCAPES_TREE or TOO_LARGE for what
        no honest sender says; the parser is of no use after that.
        """
        raw = bytes(data) if isinstance(data, memoryview) else data
        at = 0
        with memoryview(raw) as view:
            while at < len(raw):
                if self.ended:
                    raise _nonsense("more comes after the end of the tree")
                if self._stretch_left_bytes:
                    piece = view[at : at + self._stretch_left_bytes]
                    yield self._data(piece)
                    at += len(piece)
                    continue
                line_end = raw.find(b"\n", at, at + HEAD_BYTES - len(self._head))
                upto = line_end + 1 if line_end >= 0 else len(raw)
                self._collect(view[at:upto])
                at = upto
                if line_end >= 0:
                    head, self._head = self._head, bytearray()
                    if (event := self._take(head)) is not None:
                        yield event

    def _collect(self, piece: memoryview) -> None:
        if len(self._head) + len(piece) > HEAD_BYTES:
            raise _nonsense(f"a head is longer than {HEAD_BYTES} bytes")
        self._head += piece
        self._consume(len(piece))

    def _consume(self, count: int) -> None:
        if count > self._left_bytes:
            raise _nonsense("the tree is longer than was announced")
        self._left_bytes -= count

    def _data(self, piece: memoryview) -> Data:
        self._consume(len(piece))
        event = Data(self._offset, piece)
        self._offset += len(piece)
        self._stretch_left_bytes -= len(piece)
        self._file_left_bytes -= len(piece)
        return event

    def _take(self, head: bytearray) -> Event | None:
        try:
            fields = json.loads(head.decode())
        except (ValueError, RecursionError):
            raise _nonsense(f"this is no head: {bytes(head[:80])!r}") from None
        if not isinstance(fields, dict):
            raise _nonsense(f"this is no head: {bytes(head[:80])!r}")
        spoken = Spoken(name="a head of the tree", fields=fields, headers={})
        try:
            if self._file_left_bytes:
                self._take_stretch(spoken)
                return None
            if "end" in fields:
                return self._take_end(spoken.whole("end"))
            return self._take_entry(_entry(spoken))
        except ProtocolError as error:
            raise _nonsense(str(error)) from error

    def _take_stretch(self, spoken: Spoken) -> None:
        at, length_bytes = spoken.whole("at"), spoken.whole("length")
        assert self._file is not None
        good = self._offset <= at <= self._file.size_bytes - length_bytes
        if not (good and 1 <= length_bytes <= self._file_left_bytes):
            raise _nonsense(
                f"{shown(self._last)!r:.200} has no stretch of {length_bytes} bytes at {at}"
            )
        self._offset, self._stretch_left_bytes = at, length_bytes

    def _take_end(self, entries: int) -> End:
        if entries != self.entries or self._left_bytes:
            raise _nonsense(
                f"the tree ends after {self.entries} entries, says {entries}, and "
                f"{self._left_bytes} of the announced bytes are missing"
            )
        self.ended = True
        return End()

    def _take_entry(self, entry: DirectoryEntry | FileEntry | LinkEntry) -> Event:
        names = entry.names
        check_names(names)
        if names[:-1] != self._directories[: len(names) - 1]:
            raise _nonsense(f"{shown(names)!r:.200} lies in no directory that is being copied")
        if names <= self._last:
            raise _nonsense(f"{shown(names)!r:.200} comes after {shown(self._last)!r:.200}")
        if self.entries >= ENTRIES_MOST:
            raise TransferFailed(Reason.TOO_LARGE, f"the tree has more than {ENTRIES_MOST} entries")
        self.entries += 1
        self._last = names
        self._directories = names if isinstance(entry, DirectoryEntry) else names[:-1]
        if isinstance(entry, LinkEntry):
            check_target(names, entry.target)
        elif isinstance(entry, FileEntry):
            self._begin_file(entry)
        return entry

    def _begin_file(self, entry: FileEntry) -> None:
        if not entry.data_bytes <= min(entry.size_bytes, self._left_bytes):
            raise _nonsense(
                f"{shown(entry.names)!r:.200} of {entry.size_bytes} bytes can't have "
                f"{entry.data_bytes} bytes of data here"
            )
        self._file = entry
        self._offset = 0
        self._file_left_bytes = entry.data_bytes
        self._stretch_left_bytes = 0 if entry.sparse else entry.data_bytes


def _entry(spoken: Spoken) -> DirectoryEntry | FileEntry | LinkEntry:
    kinds = [kind for kind in ("dir", "file", "link") if kind in spoken.fields]
    if len(kinds) != 1:
        raise ProtocolError(f"{spoken.name}: one of dir, file and link is wanted, not {kinds}")
    common: dict[str, Any] = {
        "names": tuple(_path(spoken, kinds[0]).split(b"/")),
        "mtime_ns": spoken.whole("mtime"),
        "owner": spoken.text("owner", "", max_chars=OWNER_CHARS),
        "group": spoken.text("group", "", max_chars=OWNER_CHARS),
    }
    if kinds == ["link"]:
        return LinkEntry(**common, target=_path(spoken, "to"))
    mode = spoken.integer("mode", 0, 0o7777, -1)
    if kinds == ["dir"]:
        return DirectoryEntry(**common, mode=mode)
    return FileEntry(
        **common,
        mode=mode,
        size_bytes=spoken.whole("size"),
        data_bytes=spoken.whole("data"),
    )


def _path(spoken: Spoken, key: str) -> bytes:
    text = spoken.text(key, max_chars=PATH_BYTES)
    try:
        return text.encode(*_CODEC)
    except UnicodeEncodeError:
        raise ProtocolError(f"{spoken.name}: {key} is no name: {text!r:.80}") from None


def _nonsense(problem: str) -> TransferFailed:
    return TransferFailed(Reason.PROTOCOL, problem)
