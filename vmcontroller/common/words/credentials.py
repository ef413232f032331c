"""Words about what a guest logs in with: CREDENTIAL and CREDENTIAL_KEPT, since protocol 2.

A guest whose VM was cloned or restored is given a new credential over the session it has.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Self

from typing_extensions import override

from vmcontroller.common.words.ears import Word
from vmcontroller.common.words.wording import Spoken, Utterance, compose


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCredential(Word):
    """From now on this guest logs in with these; the old ones end once it has said so."""

    NAME: ClassVar[str] = "CREDENTIAL"

    login: str
    passcode: str = field(repr=False)

    @override
    def how_to_say(self) -> Utterance:
        return compose(self.NAME, {"login": self.login, "passcode": self.passcode})

    @override
    @classmethod
    def heard(cls, spoken: Spoken) -> Self:
        return cls(
            login=spoken.text("login", max_chars=64),
            passcode=spoken.text("passcode", max_chars=200),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialKept(Word):
    """The guest has its new credential on its disk."""

    NAME: ClassVar[str] = "CREDENTIAL_KEPT"

    generation: int

    @override
    def how_to_say(self) -> Utterance:
        return compose(self.NAME, {"generation": self.generation})

    @override
    @classmethod
    def heard(cls, spoken: Spoken) -> Self:
        return cls(generation=spoken.whole("generation"))
