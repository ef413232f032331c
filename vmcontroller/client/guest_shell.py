"""What a copy needs of the guest's shell: a few scripts for any POSIX sh, and their runs.

The first words that a script prints are numbers or words of its own; what a guest says more is
its claim, and is checked where it matters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vmcontroller.client.answers import Options
from vmcontroller.client.calls import Calls
from vmcontroller.client.errors import CopyFailed, Fault, GuestUnreachable
from vmcontroller.client.feeding import Source
from vmcontroller.client.running import Completed, Running, Sink

_BEGIN: Final = """
cd ~ 2>/dev/null || cd /
fail() { printf '%s: %s\\n' "$1" "$2" >&2; exit 99; }
"""

FAILED: Final = 99
"""The exit code with which a script says why it fails: REASON: text."""

PLACE: Final = (
    _BEGIN
    + """
# PATH NAME KEY: prints the size of what has come before, and the target.
case $1 in
    "") t=./$2 ;;
    */) t=${1%/}/$2 ;;
    *) t=$1; [ ! -d "$1" ] || t=$1/$2 ;;
esac
case $t in */*) d=${t%/*} ;; *) d=. ;; esac
[ -d "${d:=/}" ] || fail NO_SUCH_FILE "$d is no directory"
[ -w "$d" ] || fail PERMISSION_DENIED "$d"
[ ! -d "$t" ] || fail IS_A_DIRECTORY "$t"
part=$d/.vmcontroller-$3.part
if [ -f "$part" ]; then wc -c <"$part"; else echo 0; fi
printf '%s\\n%s' "$part" "$t"
"""
)
APPEND: Final = (
    _BEGIN
    + """
# PART OFFSET: stdin is what follows there.
umask 077
if [ -f "$1" ]; then n=$(wc -c <"$1"); else n=0; fi
[ "$n" -eq "$2" ] || fail CHANGED "$1 has $n bytes, not $2"
cat >>"$1" || fail DISK_FULL "$1: cat failed"
"""
)
_DIGEST: Final = """
digest() { sha256sum <"$1" | cut -c 1-64; }
"""
FINISH: Final = (
    _BEGIN
    + _DIGEST
    + """
# PART TARGET DIGEST MODE MTIME
: >>"$1"
[ "$(digest "$1")" = "$3" ] || { rm -f "$1"; fail DIGEST_MISMATCH "$2"; }
chmod "$4" "$1" && { touch -d "@$5" "$1" 2>/dev/null || :; }
mv -f "$1" "$2" || fail IO_ERROR "$2: mv failed"
"""
)
UNPACK: Final = (
    _BEGIN
    + _DIGEST
    + """
# PART TARGET DIGEST NAME
[ "$(digest "$1")" = "$3" ] || { rm -f "$1"; fail DIGEST_MISMATCH "$2"; }
[ ! -e "$2" ] && [ ! -L "$2" ] || { rm -f "$1"; fail EXISTS "$2"; }
rm -rf "$1.d" && mkdir "$1.d" && tar -x -p -o -f "$1" -C "$1.d" && mv "$1.d/$4" "$2"
status=$?
rm -rf "$1" "$1.d"
[ "$status" -eq 0 ] || fail IO_ERROR "$2: tar failed"
"""
)
LOOK: Final = (
    _BEGIN
    + """
# PATH: prints what it is.
[ -e "$1" ] || fail NO_SUCH_FILE "$1"
[ ! -d "$1" ] || { echo d; exit 0; }
[ -f "$1" ] || fail NOT_A_FILE "$1"
[ -r "$1" ] || fail PERMISSION_DENIED "$1"
echo f && stat -L -c '%s %Y %a' "$1"
"""
)
READ: Final = (
    _BEGIN
    + """
# PATH SKIP COUNT, in MiB
exec dd if="$1" bs=1048576 skip="$2" count="$3" 2>/dev/null
"""
)
SUM: Final = (
    _BEGIN
    + _DIGEST
    + """
digest "$1"
"""
)
PACK: Final = (
    _BEGIN
    + _DIGEST
    + """
# PATH TAR: prints the digest, and the name that all of it is under.
p=$1
while [ "$p" != / ] && [ "${p%/}" != "$p" ]; do p=${p%/}; done
case $p in */*) d=${p%/*}; b=${p##*/} ;; *) d=.; b=$p ;; esac
case $b in "" | . | ..) fail NOT_A_FILE "$1 has no name of its own" ;; esac
umask 077
tar -c -f "$2" -C "${d:-/}" "./$b" || { rm -f "$2"; fail IO_ERROR "$1: tar failed"; }
digest "$2"
printf '%s' "$b"
"""
)
REMOVE: Final = 'rm -f "$1"'


def run_script(
    calls: Calls,
    vm: str,
    script: str,
    args: Sequence[str],
    *,
    options: Options,
    stdin: Source | None = None,
    sink: Sink | None = None,
) -> Completed:
    """Run a script to its end; raises CopyFailed with what it says, or the guest's fault."""
    more = {"stdinOpen": True} if stdin is not None else {}
    words = ["-c", script, "vmcontroller-cp", *args]
    cmd_id = calls.run_cmd(vm, "sh", words, options={**options, **more})
    running = Running(calls, cmd_id)
    try:
        done = running.follow(sink, stdin=stdin)
    except BaseException:
        running.kill()
        raise
    running.forget()
    if done.lost or done.signal or done.timed_out:
        why = done.error or ("it took too long" if done.timed_out else f"signal {done.signal}")
        raise GuestUnreachable(40, "GUEST_UNREACHABLE", f"{vm!r}: the copy was ended there: {why}")
    if done.exit_code:
        raise _failure(done)
    return done


def _failure(done: Completed) -> CopyFailed:
    said = done.stderr.decode("utf-8", "replace").strip() or done.error
    if done.exit_code == FAILED:
        reason, _, detail = said.splitlines()[-1].partition(": ") if said else ("", "", "")
        if reason.isupper() and reason.replace("_", "").isalpha():
            return CopyFailed(reason, detail or "the guest says no more")
    return CopyFailed("IO_ERROR", f"in the guest: exit code {done.exit_code}: {said[-500:]}")


def end_leftovers(calls: Calls, vm: str, key: str) -> None:
    """End what a copy that was broken off has left running: it may still write."""
    for each in calls.list_cmds(vm):
        if any(key in word for word in each["args"][2:]) and "vmcontroller-cp" in each["args"]:
            running = Running(calls, each["cmd-id"])
            running.kill()
            try:
                calls.wait_cmd(each["cmd-id"], 10)
            except Fault:
                continue
            running.forget()
