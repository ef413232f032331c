"""YAML text into frozen dataclasses: the machinery; `config` holds the keys. No I/O.

A section is a dataclass; each of its fields is made by `key` (with a check and a sentence for
the documentation) or by `section`. Every key has a default. An unknown key, a key given twice
and a value that its check refuses are a ConfigError that names the key and what is allowed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import re
from collections.abc import Callable, Hashable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar, cast

import yaml
from typing_extensions import override

from vmcontroller.common.errors import ConfigError

T = TypeVar("T")

Check = Callable[[object], Any]
"""Returns the value in its final type; raises ValueError saying what is allowed."""


def key(default: T, check: Check, doc: str) -> T:
    """Declare a key of a section."""
    # By a factory: a mapping, even one that can't change, is refused as a default.
    field: T = dataclasses.field(
        default_factory=lambda: default, metadata={"check": check, "doc": doc}
    )
    return field


def section(kind: type[T]) -> T:
    """Declare a section within a section."""
    field: T = dataclasses.field(default_factory=kind, metadata={"section": kind})
    return field


def load(kind: type[T], text: str, source: str) -> T:
    """Make `kind` from YAML text; `source` is the file's name for errors.

    Raises ConfigError.
    """
    try:
        content = yaml.load(text, _StrictLoader)  # noqa: S506 - a SafeLoader, see below
    except yaml.YAMLError as error:
        raise ConfigError(source, "", f"is not YAML: {_one_line(error)}") from error
    except RecursionError:
        raise ConfigError(source, "", "is nested too deeply") from None
    return _build(kind, {} if content is None else content, source, "")


def _build(kind: type[T], content: object, source: str, prefix: str) -> T:
    fields = {field.name: field for field in dataclasses.fields(cast("Any", kind))}
    if not isinstance(content, dict):
        raise ConfigError(source, prefix, f"must be a mapping with the keys {', '.join(fields)}")
    values: dict[str, object] = {}
    for name, value in content.items():
        path = f"{prefix}.{name}" if prefix else str(name)
        if name not in fields:
            raise ConfigError(source, path, f"unknown key; allowed: {', '.join(fields)}")
        values[name] = _value(fields[name], value, source, path)
    return kind(**values)


def _value(field: dataclasses.Field[Any], value: object, source: str, path: str) -> object:
    if "section" in field.metadata:
        return _build(field.metadata["section"], {} if value is None else value, source, path)
    try:
        return field.metadata["check"](value)
    except ValueError as error:
        shown = "what is given" if field.name.endswith("password") else f"{value!r:.80}"
        raise ConfigError(source, path, f"{error}, not {shown}") from None


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice, which YAML itself forbids."""

    @override
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode):
                if key_node.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None,
                        None,
                        f"the key {key_node.value!r} is given twice",
                        key_node.start_mark,
                    )
                seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def _one_line(error: yaml.YAMLError) -> str:
    return " ".join(str(error).split())


def text(value: object) -> str:
    """Any string."""
    if not isinstance(value, str):
        raise ValueError("must be a string (quote it)")
    return value


def filled_text(value: object) -> str:
    """A string that is not empty."""
    if not text(value):
        raise ValueError("must not be empty")
    return text(value)


def truth(value: object) -> bool:
    """Check for true or false."""
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def whole(low: int, high: int) -> Check:
    """Check for a whole number within bounds."""

    def check(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return value

    return check


def seconds(low: float, high: float) -> Check:
    """Check for a number of seconds within bounds."""

    def check(value: object) -> float:
        number = value if isinstance(value, int | float) else -1
        if isinstance(value, bool) or not low <= number <= high:
            raise ValueError(f"must be a number of seconds from {low:g} to {high:g}")
        return float(number)

    return check


def one_of(*allowed: str) -> Check:
    """Check for one of a few words."""

    def check(value: object) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return value

    return check


def ip_address(value: object) -> str:
    """An IPv4 or IPv6 address."""
    try:
        return str(ipaddress.ip_address(text(value)))
    except ValueError:
        raise ValueError("must be an IP address") from None


def subnet(value: object) -> str:
    """An IPv4 network with room for guests."""
    wrong = ValueError("must be an IPv4 network such as 192.168.151.0/24, from /8 to /29")
    try:
        network = ipaddress.IPv4Network(text(value))
    except ValueError:
        raise wrong from None
    if not 8 <= network.prefixlen <= 29:
        raise wrong
    return str(network)


def auto_or_addresses(value: object) -> tuple[str, ...]:
    """`auto` (an empty tuple), one IP address, or a list of them."""
    if value == "auto":
        return ()
    items: Iterable[object] = value if isinstance(value, list) else [value]
    try:
        addresses = tuple(ip_address(item) for item in items)
    except ValueError:
        addresses = ()
    if not addresses:
        raise ValueError("must be auto, an IP address or a list of IP addresses")
    return addresses


_HOST_NAME = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
    r"(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*"
)


def auto_or_hosts(value: object) -> tuple[str, ...]:
    """`auto` (an empty tuple), one IP address, a list of them, or one host name."""
    if isinstance(value, str) and value != "auto" and _HOST_NAME.fullmatch(value):
        with contextlib.suppress(ValueError):
            return auto_or_addresses(value)
        if not value.replace(".", "").isdigit():  # an address that is none is no name
            return (value,)
    return auto_or_addresses(value)


def login(value: object) -> str:
    """What can be told to a guest as its login: nothing, or up to 64 characters."""
    if not re.fullmatch(r"[^\s:]{0,64}", text(value)):
        raise ValueError("must be at most 64 characters, without spaces and colons")
    return text(value)


def passcode(value: object) -> str:
    """What can be told to a guest as its passcode: nothing, or up to 200 characters of ASCII."""
    if not re.fullmatch(r"[!-~]{0,200}", text(value)):
        raise ValueError("must be at most 200 characters of ASCII, without spaces")
    return text(value)


def path_or_empty(value: object) -> str:
    """A path from the root, or nothing."""
    if value == "":
        return ""
    try:
        return absolute_path(value)
    except ValueError:
        raise ValueError("must be an absolute path, or empty") from None


def absolute_path(value: object) -> str:
    """A path from the root."""
    if not isinstance(value, str) or not value.startswith("/") or "\0" in value:
        raise ValueError("must be an absolute path")
    return value


def absolute_paths(value: object) -> tuple[str, ...]:
    """A list of paths from the root."""
    if not isinstance(value, list):
        raise ValueError("must be a list of absolute paths")
    return tuple(absolute_path(item) for item in value)


def paths_of(*names: str) -> Check:
    """A map from some of these names to lists of paths from the root."""

    def check(value: object) -> Mapping[str, tuple[str, ...]]:
        if not isinstance(value, dict) or not set(value) <= set(names):
            raise ValueError(f"must be a map of lists of absolute paths, by {', '.join(names)}")
        return MappingProxyType({name: absolute_paths(paths) for name, paths in value.items()})

    return check
