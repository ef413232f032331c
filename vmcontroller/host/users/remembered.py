"""Passwords that were right a moment ago, so that not every call costs as much as the first."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Final

REMEMBERED_S: Final = 60.0
_MOST: Final = 1000


class Remembered:
    """Knows pairs of name and password by a digest under a key that never leaves this process."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._until_s: dict[bytes, float] = {}
        self._version = 0

    def add(self, name: str, password: str, version: int, now_s: float) -> None:
        """Remember a pair that was right while the file of users had this version."""
        self._forget_all_but(version)
        if len(self._until_s) >= _MOST:
            self._until_s.clear()
        self._until_s[self.digest(name, password)] = now_s + REMEMBERED_S

    def has(self, name: str, password: str, version: int, now_s: float) -> bool:
        """Tell whether the pair was right a moment ago, and the users have not changed since."""
        self._forget_all_but(version)
        digest = self.digest(name, password)
        until_s = self._until_s.get(digest)
        if until_s is None:
            return False
        if now_s >= until_s:
            del self._until_s[digest]
            return False
        return True

    def _forget_all_but(self, version: int) -> None:
        if version != self._version:
            self._until_s.clear()
            self._version = version

    def digest(self, name: str, password: str) -> bytes:
        """Return what a pair is known by."""
        pair = f"{name}\0{password}".encode("utf-8", "surrogateescape")
        return hmac.digest(self._key, pair, hashlib.sha256)
