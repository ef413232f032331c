"""The table of methods as text: what `help` answers, and the page docs/xmlrpc-api.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vmcontroller.host.xmlrpc.faults import FAMILIES, PUBLISHED
from vmcontroller.host.xmlrpc.kinds import Option, Options
from vmcontroller.host.xmlrpc.method import REQUIRED, Method, Parameter

_HEAD = """\
# The XML-RPC API

<!-- Made by scripts/api-docs from the table of methods; a test keeps it equal. -->

HTTP POST to `/RPC2`, by default at `http://127.0.0.1:50505`. Parameters are positional; those
with a default may be left out from the right, and `nil` stands for the default. The examples
are Python:

```python
from xmlrpc.client import ServerProxy

host = ServerProxy("http://127.0.0.1:50505")
```

* A call either does what it says or answers a Fault with a number and a text `NAME: detail`
  (see the table at the end). There are no half answers and no `nil`.
* An int has 32 bits; a larger number is a double, in both directions.
* What XML cannot carry (control characters in a command's output, for one) is replaced by
  U+FFFD in answers. `getCmdOutput` answers exact bytes.
* A request is at most 16 MiB of UTF-8, with the `Content-Type` `text/xml` or
  `application/xml`, without a document type.
* A client that hangs up gives up the answer, not the operation.
"""


def help_text(method: Method) -> str:
    """Explain a method in plain text: its usage, what it does, each parameter, an example."""
    lines = [f"{method.usage}:", method.doc]
    for parameter in method.parameters:
        lines.append(f"  {parameter.name}: {parameter.doc}")
        lines += [
            f"    {option.key} ({option.kind.wire}): {option.doc}" for option in _options(parameter)
        ]
    lines.append(f"Answers {method.returns}: {method.answer}")
    lines.append(f"Needs the role {method.role}.")
    if method.aliases:
        lines.append(f"Also called {', '.join(method.aliases)}.")
    lines.append(f"Example: {method.example}")
    return "\n".join(lines)


def page(methods: Iterable[Method]) -> str:
    """Write the documentation page, in Markdown."""
    parts = [_HEAD, "## Methods\n"]
    parts += [_section(method) for method in methods]
    parts += ["## Faults\n", _faults()]
    return "\n".join(parts)


def _section(method: Method) -> str:
    lines = [f"### {method.name}", "", f"`{method.usage}` → {method.returns}", ""]
    lines += [method.doc, "", f"For the role `{method.role}`.", ""]
    if method.parameters:
        lines += ["| parameter | type | default | |", "|---|---|---|---|"]
        for parameter in method.parameters:
            lines.append(_row(parameter))
            lines += [_option_row(parameter, option) for option in _options(parameter)]
        lines.append("")
    lines += [f"Answers: {method.answer}", ""]
    if method.aliases:
        lines += [f"Also called {', '.join(f'`{alias}`' for alias in method.aliases)}.", ""]
    lines += ["```python", method.example, "```", ""]
    return "\n".join(lines)


def _row(parameter: Parameter) -> str:
    default = "" if parameter.default is REQUIRED else f"`{parameter.default!r}`"
    return f"| `{parameter.name}` | {parameter.kind.wire} | {default} | {_cell(parameter.doc)} |"


def _option_row(parameter: Parameter, option: Option) -> str:
    name = f"{parameter.name}.{option.key}"
    return f"| `{name}` | {option.kind.wire} | | {_cell(f'{option.doc} {_allowed(option)}')} |"


def _allowed(option: Option) -> str:
    return f"({option.kind.allowed})"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _options(parameter: Parameter) -> Sequence[Option]:
    return parameter.kind.entries if isinstance(parameter.kind, Options) else ()


def _faults() -> str:
    lines = [
        "Numbers are grouped: "
        + ", ".join(f"from {first} {about}" for first, about in FAMILIES)
        + ". They are stable: new ones come into the gaps.",
        "",
        "The original's numbers (-1, 8001, 8002) are not used.",
        "",
        "| number | name | meaning |",
        "|---|---|---|",
    ]
    lines += [
        f"| {number} | {name} | {_cell(meaning)} |" for name, (number, meaning) in PUBLISHED.items()
    ]
    return "\n".join(lines) + "\n"
