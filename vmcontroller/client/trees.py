"""A directory as one file, a tar, and back; what a guest sends leads nowhere but below its place.

The same tree is the same tar: so a copy that broke off goes on.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import tarfile
import tempfile
from pathlib import Path
from typing import IO, Final

from vmcontroller.client import guest_shell
from vmcontroller.client.answers import Options
from vmcontroller.client.calls import Calls
from vmcontroller.client.downloading import Download, name_of, part_of, place_of
from vmcontroller.client.errors import ClientError, CopyFailed
from vmcontroller.client.guest_shell import run_script
from vmcontroller.client.uploading import Progress, Source, Upload, key_of
from vmcontroller.common.copying.tree_names import check_names, check_target
from vmcontroller.common.errors import TransferFailed

ENTRIES_MOST: Final = 1_000_000


def send_tree(  # noqa: PLR0917 - as client.copy_to
    calls: Calls, vm: str, local: str, remote: str, options: Options, progress: Progress
) -> None:
    """Copy a directory; it belongs to the user that writes it there."""
    name = os.path.basename(os.path.abspath(local))
    if not name:
        raise CopyFailed("NOT_A_FILE", f"{local!r} has no name of its own")
    with tempfile.TemporaryFile(prefix="vmcontroller-") as file:
        pack(local, name, file)
        key = key_of(_digest(file), vm, remote)
        source = Source(file=file, name=name, size_bytes=file.seek(0, os.SEEK_END), key=key)
        Upload(calls, vm, source, options=options, progress=progress).run(
            remote,
            lambda part, target, digest: (guest_shell.UNPACK, [part, target, digest, name]),
        )


def fetch_tree(  # noqa: PLR0917 - as client.copy_from
    calls: Calls, vm: str, remote: str, local: str, options: Options, progress: Progress
) -> None:
    """Copy a directory; where it goes nothing may be."""
    target = place_of(local, name_of(remote))
    if os.path.lexists(target):
        raise CopyFailed("EXISTS", f"{target!r}")
    tar = f"/var/tmp/.vmcontroller-{key_of(vm, remote)}.tar"  # noqa: S108 - made with umask 077
    said = run_script(calls, vm, guest_shell.PACK, [remote, tar], options=options).stdout
    try:
        digest, name = said.decode("utf-8").split("\n", 1)
    except ValueError as error:
        raise CopyFailed("PROTOCOL", f"{remote!r}: the guest's answer makes no sense") from error
    part = part_of(target, vm, remote, digest)
    try:
        download = Download(calls, vm, tar, options=options, progress=progress)
        found = download.look()
        if found is None:
            raise CopyFailed("CHANGED", f"{tar!r} is a directory")
        download.fetch(found, part)
    finally:
        with contextlib.suppress(ClientError):
            run_script(calls, vm, guest_shell.REMOVE, [tar], options=options)
    try:
        with open(part, "rb") as file:
            unpack(file, name, target)
    finally:
        os.unlink(part)


def pack(local: str, name: str, file: IO[bytes]) -> None:
    """Write a directory as a tar, all of it under `name`; raises CopyFailed."""
    if not os.path.isdir(local):
        raise CopyFailed("NO_SUCH_FILE", f"{local!r} is no directory")

    def plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
        if not (info.isreg() or info.isdir() or info.issym() or info.islnk()):
            raise CopyFailed("NOT_A_FILE", f"{info.name!r} is a device, a FIFO or a socket")
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        info.mode &= 0o777
        return info

    try:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
            tar.add(local, arcname=name, filter=plain)
    except OSError as error:
        raise CopyFailed("IO_ERROR", f"{local!r}: {error}") from error
    file.flush()


def unpack(file: IO[bytes], name: str, target: str) -> None:
    """Make the directory `target` of a tar that a guest sends; raises CopyFailed, without it."""
    where = tempfile.mkdtemp(prefix=".vmcontroller-", dir=os.path.dirname(target) or ".")
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            _extract(tar, name, where)
        top = os.path.join(where, name)
        if not stat.S_ISDIR(os.lstat(top).st_mode) or os.path.lexists(target):
            raise CopyFailed("EXISTS", f"{target!r}")
        os.rename(top, target)
    except (
        tarfile.TarError,
        OSError,
        ValueError,
        LookupError,
        RecursionError,
        TransferFailed,
    ) as error:
        reason = getattr(error, "reason", "IO_ERROR")
        raise CopyFailed(str(reason), getattr(error, "detail", "") or str(error)) from error
    finally:
        shutil.rmtree(where, ignore_errors=True)


def _extract(tar: tarfile.TarFile, name: str, where: str) -> None:
    """Extract member by member: each below a true directory that was made here."""
    directories: dict[tuple[str, ...], tarfile.TarInfo] = {}
    for count, member in enumerate(tar):
        if count > ENTRIES_MOST:
            raise CopyFailed("TOO_LARGE", f"more than {ENTRIES_MOST} files")
        names = _checked(member, name)
        if names[:-1] and names[:-1] not in directories:
            raise CopyFailed("PROTOCOL", f"{member.name!r:.200} has no directory")
        path = Path(where, *names)
        if member.isdir():
            if names not in directories:
                path.mkdir(mode=0o700)
            directories[names] = member
        elif member.issym():
            path.symlink_to(member.linkname)
        else:
            _write(tar, member, path)
    for names, member in reversed(directories.items()):
        path = Path(where, *names)
        os.utime(path, (member.mtime, member.mtime))
        path.chmod(member.mode & 0o777)


def _checked(member: tarfile.TarInfo, name: str) -> tuple[str, ...]:
    names = tuple(part for part in member.name.split("/") if part not in {"", "."})
    encoded = [os.fsencode(part) for part in names]
    check_names(encoded)
    if names[0] != name:
        raise CopyFailed("PROTOCOL", f"{member.name!r:.200} does not belong there")
    if member.issym():
        # The names above the tree's own one are not part of it.
        check_target(encoded[1:] or encoded, os.fsencode(member.linkname))
    elif member.sparse is not None:
        raise CopyFailed("PROTOCOL", f"{member.name!r:.200} is larger than what has come of it")
    elif not (member.isdir() or member.isreg() or member.islnk()):
        raise CopyFailed("NOT_A_FILE", f"{member.name!r:.200} is a device, a FIFO or a socket")
    return names


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    """Write a file; one that is a second name of another gets that one's content."""
    source = tar.extractfile(member)  # follows hard links, within the tar only
    if source is None:
        raise CopyFailed("PROTOCOL", f"{member.name!r:.200} is no file")
    with source, path.open("xb") as file:
        shutil.copyfileobj(source, file, 2**20)
    os.utime(path, (member.mtime, member.mtime))
    path.chmod(member.mode & 0o777)


def _digest(file: IO[bytes]) -> str:
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
