"""What kind of disk image is this file? Looked at closely, because its content may come from a
guest: an image that names other files of the host would hand them to the next guest.

`identify` and what it uses are pure; `read_head`, `inspect` and `inspect_used` read, and block
while they do.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import struct
from dataclasses import dataclass, replace

from vmcontroller.common.errors import BadArgument, BadImage, NoSuchImage
from vmcontroller.host.hypervisor.base import VmDisk
from vmcontroller.host.hypervisor.specification import DiskImage

FORMATS = ("qcow2", "raw", "vmdk")
HEAD_BYTES = 64 * 1024
"""One cluster of qcow2, which holds its header, the extensions and the backing file's name."""
SECTOR_BYTES = 512
MAX_CHAIN = 16

_QCOW2 = b"QFI\xfb"
_VMDK_SPARSE = b"KDMV"
_VMDK_TEXT = b"# Disk DescriptorFile"
_STRANGERS = {
    b"\x1f\x8b": "gzip data; unpack it first",
    b"\xfd7zXZ\x00": "xz data; unpack it first",
    b"(\xb5/\xfd": "zstd data; unpack it first",
    b"BZh": "bzip2 data; unpack it first",
    b"PK\x03\x04": "a zip archive; unpack it first",
    b"\x7fELF": "an ELF program",
    b"vhdxfile": "a VHDX image; convert it with qemu-img",
    b"conectix": "a VHD image; convert it with qemu-img",
    b"COWD": "an old VMDK image; convert it with qemu-img",
    b"<<< ": "a VDI image; convert it with qemu-img",
    b"#!": "a script",
}
# qcow2 specification: header extension "backing file format name", and incompatible features.
_BACKING_FORMAT = 0xE2792ACA
_EXTERNAL_DATA = 1 << 2
_VMDK_EXTENT = re.compile(rb'^(?:RW|RDONLY|NOACCESS)\s+\d+\s+\w+\s+"([^"\n]*)"', re.MULTILINE)
_VMDK_PARENT = re.compile(rb'^\s*parentFileNameHint\s*=\s*"([^"\n]*)"', re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backing:
    """A file that an image reads from; `format` is as the image states it, '' if it doesn't."""

    path: str
    format: str


def identify(head: bytes, size: int, path: str, format_asked: str = "") -> DiskImage:
    """Say what the file is by its first HEAD_BYTES bytes and its size in bytes.

    `format_asked` is '' or one of FORMATS. Raises BadArgument for another one, and BadImage
    for what is no image, not the one asked for, or a raw disk by its name but not by its
    content: its guest may have written that header to read the host's files.
    """
    if format_asked and format_asked not in FORMATS:
        raise BadArgument("format", f"{format_asked!r} is not one of {', '.join(FORMATS)}")
    if size == 0:
        raise BadImage(path, "the file is empty")
    found = _by_magic(head)
    if format_asked == "raw" or (not format_asked and not found):
        _check_raw(head, size, path, asked=bool(format_asked))
        return DiskImage(path=path, format="raw")
    if format_asked and found != format_asked:
        raise BadImage(path, f"is not {format_asked}" + (f" but {found}" if found else ""))
    if not format_asked and path.lower().endswith((".raw", ".img")):
        raise BadImage(
            path,
            f"has a raw disk's name and the content of {found}; "
            f"say which it is with the option format ({found} or raw)",
        )
    if found == "qcow2":
        _check_qcow2(head, path)
    return DiskImage(path=path, format=found)


def _by_magic(head: bytes) -> str:
    if head.startswith(_QCOW2):
        return "qcow2"
    if head.startswith((_VMDK_SPARSE, _VMDK_TEXT)):
        return "vmdk"
    return ""


def _check_raw(head: bytes, size: int, path: str, *, asked: bool) -> None:
    if not asked:
        for magic, what in _STRANGERS.items():
            if head.startswith(magic):
                raise BadImage(path, f"is {what}")
    if size % SECTOR_BYTES:
        raise BadImage(path, f"is no disk image: its {size} bytes are not whole sectors")
    if not asked and head[510:512] != b"\x55\xaa":
        raise BadImage(
            path,
            "is neither qcow2 nor vmdk and has no boot record; "
            "if it is a raw disk all the same, say so with the option format",
        )


def _check_qcow2(head: bytes, path: str) -> None:
    if len(head) < 72:
        raise BadImage(path, "its qcow2 header is cut off")
    version = _number(head, 4, 4)
    if version not in {2, 3}:
        raise BadImage(path, f"is version {version} of qcow; 2 and 3 are known")
    if version == 3 and _number(head, 72, 8) & _EXTERNAL_DATA:
        raise BadImage(path, "keeps its data in another file")


def _number(head: bytes, offset: int, length: int) -> int:
    return int.from_bytes(head[offset : offset + length], "big")


def backing_of(head: bytes, path: str) -> Backing | None:
    """Return the file that a qcow2 image is based on; a relative name counts from its directory.

    Raises BadImage when it names none of this host's files.
    """
    offset, length = struct.unpack_from(">QI", head, 8)
    if not offset:
        return None
    name = head[offset : offset + length].decode("utf-8", "surrogateescape")
    if len(name) == 0 or offset + length > len(head):
        raise BadImage(path, "the name of its backing file is cut off")
    if "\x00" in name or re.match(r"[A-Za-z][\w+.-]*:", name):
        raise BadImage(path, f"its backing file {name!r} is not a path")
    return Backing(
        path=os.path.join(os.path.dirname(path), name), format=_extension(head, _BACKING_FORMAT)
    )


def _extension(head: bytes, wanted: int) -> str:
    """Return the text of a qcow2 header extension; '' when it isn't there."""
    offset = 72 if _number(head, 4, 4) == 2 else _number(head, 100, 4)
    while offset + 8 <= len(head):
        kind, length = struct.unpack_from(">II", head, offset)
        if kind == 0:
            break
        if kind == wanted:
            return head[offset + 8 : offset + 8 + length].decode("ascii", "replace")
        offset += 8 + (length + 7) // 8 * 8
    return ""


def extents_of(head: bytes, path: str) -> tuple[str, ...]:
    """Return the files that a VMDK descriptor (in text, or inside a sparse file) names.

    Raises BadImage when it names files outside its own directory, or a parent: none of ours.
    """
    text = _descriptor(head)
    parent = _VMDK_PARENT.search(text)
    if parent and parent[1]:
        raise BadImage(path, f"is based on another file, {os.fsdecode(parent[1])!r}")
    names = [os.fsdecode(name) for name in _VMDK_EXTENT.findall(text)]
    for name in names:
        if not name or "/" in name or "\\" in name or ":" in name or name in {".", ".."}:
            raise BadImage(path, f"names a file outside its own directory: {name!r}")
    if head.startswith(_VMDK_SPARSE):
        return ()  # such a file holds its data itself
    return tuple(os.path.join(os.path.dirname(path), name) for name in names)


def _descriptor(head: bytes) -> bytes:
    if not head.startswith(_VMDK_SPARSE):
        return head
    if len(head) < 44:
        return b""
    sector, sectors = struct.unpack_from("<QQ", head, 28)
    start = sector * SECTOR_BYTES
    return head[start : start + sectors * SECTOR_BYTES]


def read_head(path: str) -> tuple[bytes, int]:
    """Return the first HEAD_BYTES bytes of a regular file and its size in bytes.

    Raises NoSuchImage when it is missing or may not be read, BadImage when it is a directory,
    a socket, a device or the like. A FIFO without a writer doesn't hold it up.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except ValueError as error:  # a NUL in the path, or a lone surrogate
        raise NoSuchImage(path, "is not a path") from error
    except OSError as error:
        if _is_socket(path):
            raise BadImage(path, "is not a regular file") from error
        raise NoSuchImage(path, error.strerror or str(error)) from error
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise BadImage(path, "is a directory")
        if not stat.S_ISREG(status.st_mode):
            raise BadImage(path, "is not a regular file")
        return os.read(descriptor, HEAD_BYTES), status.st_size
    except OSError as error:
        raise NoSuchImage(path, error.strerror or str(error)) from error
    finally:
        os.close(descriptor)


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def inspect(path: str, format_asked: str = "") -> DiskImage:
    """Look at an image, and at every file it is made of; return what it is.

    Raises as `read_head`, `identify`, `backing_of` and `extents_of`, and BadImage for a backing
    file whose format isn't stated: QEMU would guess it from content that a guest can write. A
    fault in a file that an image is based on is told as BadImage of that image.
    """
    extents: list[str] = []
    backing: list[str] = []
    image = _follow(path, format_asked, extents, backing)
    return replace(image, extents=tuple(extents), backing=tuple(backing))


def inspect_used(disk: VmDisk) -> DiskImage:
    """Return what can be found out of a machine's disk, down to where it can't be read.

    Raises nothing: at worst the disk is its own path alone. A raw disk is that, too, whatever
    its guest wrote into it.
    """
    extents: list[str] = []
    backing: list[str] = []
    with contextlib.suppress(BadArgument, BadImage, NoSuchImage):
        _follow(disk.path, disk.format, extents, backing)
    return DiskImage(
        path=disk.path, format=disk.format, extents=tuple(extents), backing=tuple(backing)
    )


def _follow(path: str, format_asked: str, extents: list[str], backing: list[str]) -> DiskImage:
    """Add the real path of each file found to its list, before that file is looked at."""
    head, size = read_head(path)
    image = identify(head, size, path, format_asked)
    _follow_extents(image, head, extents)
    _follow_backing(image, head, backing, depth=1)
    return image


def _follow_extents(image: DiskImage, head: bytes, found: list[str]) -> None:
    if image.format != "vmdk":
        return
    for extent in extents_of(head, image.path):
        found.append(os.path.realpath(extent))
        _look(image, extent)


def _follow_backing(image: DiskImage, head: bytes, found: list[str], *, depth: int) -> None:
    backing = backing_of(head, image.path) if image.format == "qcow2" else None
    if backing is None:
        return
    found.append(os.path.realpath(backing.path))
    if backing.format not in FORMATS:
        raise BadImage(
            image.path,
            f"does not state the format of its backing file {backing.path!r} as one of "
            f"{', '.join(FORMATS)}; qemu-img rebase -u -F FORMAT -b FILE does",
        )
    if depth == MAX_CHAIN:
        raise BadImage(image.path, f"stands on more than {MAX_CHAIN} files, or on itself")
    below, size = _look(image, backing.path)
    try:
        base = identify(below, size, backing.path, backing.format)
        _follow_extents(base, below, found)
        _follow_backing(base, below, found, depth=depth + 1)
    except BadImage as error:
        raise BadImage(image.path, f"its backing file: {error}") from error


def _look(image: DiskImage, other: str) -> tuple[bytes, int]:
    try:
        return read_head(other)
    except (NoSuchImage, BadImage) as error:
        raise BadImage(image.path, f"it needs another file: {error}") from error
