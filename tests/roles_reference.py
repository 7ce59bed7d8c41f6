"""Write docs/roles.md, the reference of all roles, from their argument specifications: `make docs`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "roles.md"
INTERNAL = {"container", "python_service"}

HEAD = """# Roles and their variables

Made by `make docs` from the argument specifications of the roles; do not edit it by hand.
Ansible holds every variable to its type before a role changes anything.
`ansible-doc -t role pyindex.fleet.NAME` prints the same in a terminal.
"""


def paragraphs(text: str | Sequence[str]) -> str:
    """Return a description as one line of Markdown."""
    lines = [text] if isinstance(text, str) else text
    plain = " ".join(" ".join(line.split()) for line in lines)
    # Ansible's markup of names, values, options and files
    return re.sub(r"\b[CEFOV]\(([^)]*)\)", r"`\1`", plain)


def kind(option: Mapping[str, Any]) -> str:
    """Return the type of an option in words."""
    if option["type"] == "list":
        return f"list of {option['elements']}"
    return str(option["type"])


def shown(value: Any) -> str:
    """Return a default as it would be written in YAML, on one line."""
    if value is None or value == "":
        return '`""`'
    if isinstance(value, str):
        return f"`` {' '.join(value.split())} ``" if "`" in value else f"`{' '.join(value.split())}`"
    return f"`{yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix('...' + chr(10)).strip()}`"


def rows(options: Mapping[str, Any], defaults: Mapping[str, Any], depth: int = 0) -> Iterator[str]:
    """Return the table rows of `options`; those inside others follow indented."""
    for name, option in options.items():
        label = f"{'&nbsp;&nbsp;' * depth}`{name}`"
        if option.get("required"):
            value = "required"
        elif name in defaults and not depth:
            value = shown(defaults[name])
        else:
            value = shown(option["default"]) if "default" in option else ""
        text = paragraphs(option.get("description", ""))
        if "choices" in option:
            text += f" One of {', '.join(f'`{choice}`' for choice in option['choices'])}."
        cells = (cell.replace("|", "\\|") for cell in (label, kind(option), value, text))
        yield f"| {' | '.join(cells)} |"
        yield from rows(option.get("options", {}), {}, depth + 1)


def section(role: Path) -> str:
    """Return the part of the page about one role."""
    entries = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]
    defaults = yaml.safe_load((role / "defaults" / "main.yml").read_text(encoding="utf-8")) or {}
    internal = " (internal)" if role.name in INTERNAL else ""
    lines = [f"## {role.name}{internal}", "", f"[README](../roles/{role.name}/README.md)", ""]
    for entry, spec in entries.items():
        if entry != "main":
            lines += [f"### Entry point `{entry}`", ""]
        lines += [paragraphs(spec.get("description", spec["short_description"])), ""]
        options = spec.get("options", {})
        if entry != "main" and options == entries["main"].get("options", {}):
            lines += ["It takes the variables above.", ""]
        elif options:
            lines += [
                "| Variable | Type | Default | Meaning |",
                "| --- | --- | --- | --- |",
                *rows(options, defaults),
                "",
            ]
    return "\n".join(lines)


def render(roles: Path = ROOT / "roles") -> str:
    """Return the whole page; the internal roles come last."""
    found = [path.parents[1] for path in roles.glob("*/meta/argument_specs.yml")]
    found.sort(key=lambda role: (role.name in INTERNAL, role.name))
    return "\n".join([HEAD, *(section(role) for role in found)]).rstrip() + "\n"


def main() -> int:
    PAGE.write_text(render(), encoding="utf-8")
    print(f"Wrote {PAGE.relative_to(ROOT)}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
