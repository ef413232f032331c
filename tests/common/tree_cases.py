"""Trees for the tests of copies: any tree on a disk, and any stream that stands for one."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections import Counter
from pathlib import Path

from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.common.copying_wire import open_files, sha256
from vmcontroller.common.copying.source import BLOCK_BYTES, place_at
from vmcontroller.common.copying.tree_landing import TreeLanding
from vmcontroller.common.copying.tree_source import TreeSource
from vmcontroller.common.copying.tree_stream import end_head
from vmcontroller.common.errors import TransferFailed
from vmcontroller.common.words.files import FileFacts

BYTES = st.binary(min_size=1, max_size=12).filter(lambda n: not set(n) & set(b"/\0"))
NAMES = BYTES.filter(lambda name: name not in {b".", b".."})


def line(**fields):
    return json.dumps(fields).encode() + b"\n"


def directory(path, **fields):
    return line(**{"dir": path, "mode": 0o755, "mtime": 1, **fields})


def file(path, size=0, data=None, **fields):
    data = size if data is None else data
    return line(**{"file": path, "size": size, "data": data, "mode": 0o644, "mtime": 1, **fields})


def link(path, to, **fields):
    return line(**{"link": path, "to": to, "mtime": 1, **fields})


END = object()


def stream(*parts):
    """Join heads and bytes; END becomes an end with the right number of entries."""
    entries = sum(part is not END and b'"mtime"' in part for part in parts)
    return b"".join(end_head(entries) if part is END else part for part in parts)


PAGE = 64 * 1024
TIMES = st.integers(0, 2**33 * 10**9)
# Whoever is not root can only read what its owner may read.
FILE_MODES = st.integers(0, 0o777).map(lambda mode: mode | 0o400)
DIRECTORY_MODES = st.integers(0, 0o777).map(lambda mode: mode | 0o500)
LONG_NAMES = st.sampled_from([b"n" * 255, b"\xff" * 255, "é".encode() * 127])
FILES = st.fixed_dictionaries(
    {
        "pieces": st.one_of(
            st.dictionaries(st.just(0), st.binary(max_size=40), max_size=1),
            st.dictionaries(st.integers(0, 20).map(lambda n: n * PAGE), st.binary(max_size=40)),
        ),
        "tail_bytes": st.sampled_from([0, 0, 1, 10 * PAGE]),
        "mode": FILE_MODES,
        "mtime_ns": TIMES,
    }
)
LINKS = st.fixed_dictionaries(
    {"target": st.lists(NAMES, min_size=1, max_size=3).map(b"/".join), "mtime_ns": TIMES}
)
DIRECTORIES = st.deferred(
    lambda: st.fixed_dictionaries(
        {"inside": TREES, "mode": DIRECTORY_MODES, "mtime_ns": TIMES},
    )
)
TREES = st.dictionaries(NAMES | LONG_NAMES, st.one_of(FILES, FILES, LINKS, DIRECTORIES), max_size=4)


def make(path, node):
    """Make a file, link or directory of a strategy."""
    times = (node["mtime_ns"], node["mtime_ns"])
    if "target" in node:
        os.symlink(node["target"], path)
        os.utime(path, ns=times, follow_symlinks=False)
        return
    if "inside" in node:
        os.mkdir(path)
        for name, inner in node["inside"].items():
            make(path + b"/" + name, inner)
    else:
        with open(path, "wb") as made:
            for offset, piece in node["pieces"].items():
                made.seek(offset)
                made.write(piece)
            made.seek(0, os.SEEK_END)
            made.truncate(made.tell() + node["tail_bytes"])
    os.chmod(path, node["mode"])
    os.utime(path, ns=times)


def seen(path):
    """Return all that a copy keeps of what lies there, and all below it."""
    found = os.lstat(path)
    facts = (stat.S_IMODE(found.st_mode), found.st_mtime_ns)
    if stat.S_ISLNK(found.st_mode):
        return ("link", found.st_mtime_ns, os.readlink(path))
    if stat.S_ISDIR(found.st_mode):
        return ("dir", *facts, {name: seen(path + b"/" + name) for name in os.listdir(path)})
    return ("file", *facts, Path(os.fsdecode(path)).read_bytes())


def tree_facts(data, mode=0o755, **more):
    return FileFacts(size_bytes=len(data), mode=mode, mtime_ns=5, tree=True, **more)


def read_all(source):
    data = b""
    while len(data) < source.facts.size_bytes:
        block = source.read()
        assert 0 < len(block) <= BLOCK_BYTES
        data += block
    return data


class TreeCase(SynchronousTestCase):
    def setUp(self):
        self.base = Path(self.mktemp()).absolute()
        self.base.mkdir()
        self.before = open_files()

    def names(self):
        return sorted(path.name for path in self.base.iterdir())

    def open(self, name="tree", **options):
        return TreeSource.open(place_at(name, home=str(self.base)), **options)

    @contextlib.contextmanager
    def landing(self, facts, name="copy", terms=None):
        """Give a landing, and see that it leaves nothing open, and nothing half-done."""
        before = open_files()
        place = place_at(name, home=str(self.base))
        try:
            new = TreeLanding(place, "t1", facts, *([terms] if terms else []))
            try:
                yield new
            finally:
                new.discard()
        finally:
            place.close()
        self.assertEqual(Counter(open_files()) - Counter(before), Counter())
        self.assertNotIn(".copy.vmcontroller-t1", self.names())

    def land(self, data, facts=None, name="copy", terms=None):
        with self.landing(facts or tree_facts(data), name, terms) as new:
            new.write(data)
            new.put_in_place(sha256(data))

    @contextlib.contextmanager
    def failing(self, reason):
        with self.assertRaises(TransferFailed) as caught:
            yield caught
        self.assertEqual(caught.exception.reason, reason)
