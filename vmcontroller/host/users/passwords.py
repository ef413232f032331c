"""Passwords and tokens as they are kept: what they can be checked by, and not made from.

`verify` takes some 200 ms of a processor core and 16 MiB: call it in a thread.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from typing import Final

_LOG2_N: Final = 14
_R: Final = 8
_P: Final = 5
"""One of the equal settings of OWASP's Password Storage Cheat Sheet: that with the least memory."""

_MOST_MEMORY_BYTES: Final = 64 * 2**20
_SALT_BYTES: Final = 16
_KEY_BYTES: Final = 32

PASSWORD_MAX_BYTES: Final = 1024
TOKEN_BYTES: Final = 32


def hash_password(password: str) -> str:
    """Return what is kept of a password: `scrypt$log2 N$r$p$salt$key`."""
    salt = secrets.token_bytes(_SALT_BYTES)
    key = _scrypt(password, salt, log2_n=_LOG2_N, r=_R, p=_P)
    return "$".join(["scrypt", str(_LOG2_N), str(_R), str(_P), _text(salt), _text(key)])


def verify(password: str, kept: str) -> bool:
    """Tell whether this is the password of which `kept` is kept; '' is none's."""
    try:
        log2_n, r, p, salt, key = _parts(kept or NOBODYS)
        given = _scrypt(password, salt, log2_n=log2_n, r=r, p=p)
    except ValueError:  # more than `_MOST_MEMORY_BYTES`
        return False
    return hmac.compare_digest(given, key) and bool(kept)


def check_kept(kept: str) -> None:
    """Raise ValueError for what `hash_password` does not return."""
    _parts(kept)


def new_token() -> str:
    """Return a new token: 256 random bits, 43 characters."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def hash_token(token: str) -> str:
    """Return what is kept of a token: its SHA-256 in hex. It has nothing that could be guessed."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def _parts(kept: str) -> tuple[int, int, int, bytes, bytes]:
    try:
        kind, log2_n, r, p, salt, key = kept.split("$")
        numbers = int(log2_n), int(r), int(p)
        octets = base64.b64decode(salt, validate=True), base64.b64decode(key, validate=True)
    except (ValueError, binascii.Error):
        raise ValueError("is no hash of a password") from None
    log2_n_, r_, p_ = numbers
    if kind != "scrypt" or not (1 <= log2_n_ <= 20 and 1 <= r_ <= 32 and 1 <= p_ <= 16):
        raise ValueError("is no hash of a password that is known here")
    if not octets[0] or len(octets[1]) != _KEY_BYTES:
        raise ValueError("is no hash of a password")
    return log2_n_, r_, p_, *octets


def _scrypt(password: str, salt: bytes, *, log2_n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(
        password.encode("utf-8", "surrogateescape"),
        salt=salt,
        n=1 << log2_n,
        r=r,
        p=p,
        maxmem=_MOST_MEMORY_BYTES,
        dklen=_KEY_BYTES,
    )


def _text(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


NOBODYS: Final = "$".join(
    ["scrypt", str(_LOG2_N), str(_R), str(_P), _text(bytes(_SALT_BYTES)), _text(bytes(_KEY_BYTES))]
)
"""Checked where a name is nobody's, so that its answer takes as long as that of a name that is."""
