"""What cloud-init is told by a NoCloud seed: the files of one, checked. Pure.

Only that is checked which cloud-init demands; it would ignore the rest in silence, in a guest
that nobody can log in to. The YAML is parsed, so that this runs in a thread.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import yaml

from vmcontroller.common.errors import BadArgument
from vmcontroller.host.requests import CreateOptions

USER_DATA_MAX_CHARS: Final = 256 * 1024
META_DATA_MAX_CHARS: Final = 16 * 1024
NETWORK_CONFIG_MAX_CHARS: Final = 32 * 1024
KEYS_MAX: Final = 64
KEY_MAX_CHARS: Final = 8 * 1024
HOSTNAME_MAX_CHARS: Final = 253

LABEL: Final = "cidata"
"""Of the file system, by which cloud-init finds it."""

# cloudinit.handlers.INCLUSION_TYPES_MAP: what a part may begin with, without regard to case.
_BEGINNINGS: Final = (
    "#include",
    "#include-once",
    "#!",
    "#cloud-config",
    "#cloud-config-archive",
    "#cloud-config-jsonp",
    "#part-handler",
    "#cloud-boothook",
    "## template: jinja",
)
_ALIASES_MAX: Final = 32
"""With merge keys a few more make gigabytes of a few lines."""
_MIME_WITHIN_CHARS: Final = 4096
_LABEL_OF_NAME: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOSTNAME: Final = re.compile(rf"{_LABEL_OF_NAME}(?:\.{_LABEL_OF_NAME})*")
_KEY_TYPE: Final = (
    r"(?:ssh-(?:rsa|dss|ed25519)|ecdsa-sha2-nistp(?:256|384|521)"
    r"|sk-(?:ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com)(?:-cert-v01@openssh\.com)?"
)
_KEY: Final = re.compile(rf"(?:[^\n]* )?{_KEY_TYPE} [A-Za-z0-9+/]{{16,}}={{0,2}}(?: [^\n]*)?")
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")


def seed_files(options: CreateOptions, instance_id: str) -> Mapping[str, bytes]:
    """Return the content of each file of the seed, by name.

    user-data and network-config are what was given, to the byte. So is meta-data, if it has an
    instance-id and neither a hostname nor keys were given; else these are merged into it. Raises
    BadArgument.
    """
    files = {
        "user-data": _encoded("userData", _user_data(options.user_data)),
        "meta-data": _encoded("metaData", _meta_data(options, instance_id)),
    }
    if options.network_config:
        _mapping("networkConfig", options.network_config)
        files["network-config"] = _encoded("networkConfig", options.network_config)
    return files


def _user_data(text: str) -> str:
    beginning = text.lstrip()[:64].lower()
    if not text or beginning.startswith(_BEGINNINGS):
        return text
    if "mime-version:" in text[:_MIME_WITHIN_CHARS].lower():
        return text
    raise BadArgument(
        "options.userData",
        f"cloud-init would ignore it: it must be MIME, or begin with {', '.join(_BEGINNINGS)}; "
        f"it begins with {text.lstrip()[:20]!r}",
    )


def _meta_data(options: CreateOptions, instance_id: str) -> str:
    given = _mapping("metaData", options.meta_data) if options.meta_data else {}
    added: dict[str, Any] = {}
    if "instance-id" not in given:
        added["instance-id"] = instance_id
    if options.hostname:
        _check_hostname(options.hostname)
        _check_not_in("hostname", "local-hostname", given)
        added["local-hostname"] = options.hostname
    if options.ssh_keys:
        for number, key in enumerate(options.ssh_keys):
            _check_key(f"options.sshKeys[{number}]", key)
        _check_not_in("sshKeys", "public-keys", given)
        added["public-keys"] = list(options.ssh_keys)
    if not added:
        return options.meta_data
    return yaml.safe_dump({**given, **added}, sort_keys=False, allow_unicode=True, width=2**20)


def _mapping(option: str, text: str) -> Mapping[str, Any]:
    """Parse YAML that must be a mapping."""
    name = f"options.{option}"
    try:
        aliases = sum(isinstance(token, yaml.AliasToken) for token in yaml.scan(text))
        parsed = yaml.safe_load(text) if aliases <= _ALIASES_MAX else None
    except yaml.YAMLError as error:
        raise BadArgument(name, f"is not YAML: {' '.join(str(error).split())[:300]}") from error
    except (RecursionError, ValueError) as error:  # too deep; a number or a date that is none
        raise BadArgument(name, f"is not YAML: {error!s:.300}") from error
    if aliases > _ALIASES_MAX:
        raise BadArgument(name, f"has {aliases} aliases; {_ALIASES_MAX} at most")
    if not isinstance(parsed, dict):
        raise BadArgument(name, "must be a mapping in YAML, such as 'key: value'")
    return parsed


def _check_not_in(option: str, key: str, given: Mapping[str, Any]) -> None:
    if key in given:
        raise BadArgument(f"options.{option}", f"options.metaData has {key!r} too")


def _check_hostname(name: str) -> None:
    if len(name) > HOSTNAME_MAX_CHARS or not _HOSTNAME.fullmatch(name):
        raise BadArgument(
            "options.hostname",
            f"{name!r:.100} is no host name: letters, digits and hyphens, 1 to 63 of them between "
            f"two dots, {HOSTNAME_MAX_CHARS} in all",
        )


def _check_key(name: str, key: str) -> None:
    if "PRIVATE KEY" in key:
        raise BadArgument(name, "is a private key; the public one is needed")
    if _CONTROL.search(key) or not _KEY.fullmatch(key):
        raise BadArgument(
            name, "must be one line of authorized_keys, such as 'ssh-ed25519 AAAA… name'"
        )


def _encoded(option: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise BadArgument(f"options.{option}", f"is not text: {error.reason}") from error
