"""What a new virtual machine may be called. The one place where that is decided."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from vmcontroller.common.errors import BadArgument

MAX_CHARS: Final = 100
MAX_BYTES: Final = 200
"""In UTF-8: a name becomes part of file names, which end at 255 bytes."""

_UUID = re.compile(r"[0-9a-f]{8}(?:-?[0-9a-f]{4}){3}-?[0-9a-f]{12}", re.IGNORECASE)
_MAC = re.compile(r"[0-9a-f]{12}", re.IGNORECASE)
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Control characters, lone surrogates, line and paragraph separators."""


def check_new_name(name: str) -> None:
    """Refuse a name with BadArgument, which says what is wrong and what is allowed.

    A VM is named by its name, its UUID or a MAC address, so a name must look like neither of
    the other two. Spaces inside, quotes, `<&>` and every script are fine.
    """
    problem = _problem_of(name)
    if problem:
        raise BadArgument("vm", problem)


def _problem_of(name: str) -> str:
    """Say what is wrong with a name; '' if nothing is."""
    if not 1 <= len(name) <= MAX_CHARS:
        return f"a name has 1 to {MAX_CHARS} characters, not {len(name)}"
    for char in name:
        if unicodedata.category(char) in _UNPRINTABLE or char in "\ufffe\uffff":
            return f"a name must not contain the control character U+{ord(char):04X}"
    return _form_problem_of(name)


def _form_problem_of(name: str) -> str:
    if len(name.encode()) > MAX_BYTES:
        return f"a name has at most {MAX_BYTES} bytes in UTF-8, not {len(name.encode())}"
    if "/" in name or name in {".", ".."}:
        return f"{name!r}: a name must not contain '/' nor be '.' or '..'"
    if name != name.strip():
        return f"{name!r}: a name must not begin or end with white space"
    if _UUID.fullmatch(name) or _MAC.fullmatch(re.sub(r"[:\-.]", "", name)):
        return f"{name!r}: a name must not have the form of a UUID or of a MAC address"
    return ""
