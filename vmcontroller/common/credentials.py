"""How a guest's credential is written: what it logs in with at the broker. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_WRITTEN = re.compile(r"([^\s:]{1,64}):([!-~]{1,200})")
_GENERATION = re.compile(r"([1-9][0-9]{0,8})-.*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """Login and passcode of one VM's guest. The login is the VM's UUID."""

    login: str
    passcode: str = field(repr=False)

    @property
    def generation(self) -> int:
        """How often it has been replaced, plus one; 0 for a passcode that does not say."""
        found = _GENERATION.fullmatch(self.passcode)
        return int(found[1]) if found else 0

    @property
    def written(self) -> str:
        """`LOGIN:PASSCODE`, as a hypervisor tells it to its guest."""
        return f"{self.login}:{self.passcode}"


def read_credential(text: str) -> Credential | None:
    """Return what `LOGIN:PASSCODE` says; None for what is no such thing."""
    found = _WRITTEN.fullmatch(text.strip())
    return Credential(login=found[1], passcode=found[2]) if found else None


def newest(*candidates: Credential | None) -> Credential | None:
    """Return the candidate that counts: of the first one's login, the highest generation.

    The first that is there says whose it is; a later one, such as what was kept on a disk that has
    been cloned, counts only if it is of the same login.
    """
    there = [candidate for candidate in candidates if candidate is not None]
    own = [candidate for candidate in there if candidate.login == there[0].login]
    return max(own, key=lambda candidate: candidate.generation, default=None)
