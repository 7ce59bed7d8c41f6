"""Each role's defaults and argument specification say the same."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.unit.repository import ROLE_IDS, ROLES, ROOT, load

TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "path": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "list": (list,),
    "dict": (dict,),
    "raw": (object,),
}

every_role = pytest.mark.parametrize("role", ROLES, ids=ROLE_IDS)


def entry_points(role: Path) -> Mapping[str, Any]:
    specs: Mapping[str, Any] = load(role / "meta" / "argument_specs.yml").get("argument_specs", {})
    return specs


def main_options(role: Path) -> Mapping[str, Any]:
    options: Mapping[str, Any] = entry_points(role).get("main", {}).get("options", {})
    return options


def all_options(options: Mapping[str, Any], where: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Return every option with its full name, those inside others included."""
    for name, option in options.items():
        yield where + name, option
        yield from all_options(option.get("options", {}), f"{where}{name}.")


def defaults(role: Path) -> Mapping[str, Any]:
    values: Mapping[str, Any] = load(role / "defaults" / "main.yml")
    return values


def is_expression(value: Any) -> bool:
    if isinstance(value, list):
        return any(is_expression(element) for element in value)
    return isinstance(value, str) and ("{{" in value or "{%" in value)


@every_role
def test_every_default_is_documented(role: Path) -> None:
    assert not set(defaults(role)) - set(main_options(role))


@every_role
def test_every_option_has_a_default_or_says_why_not(role: Path) -> None:
    """Secrets and names have none: they are required, always or in a case that the description states."""
    silent = [
        name
        for name, option in main_options(role).items()
        if name not in defaults(role)
        and not option.get("required")
        and not re.search(r"[Rr]equired", " ".join(as_list(option["description"])))
    ]
    assert not silent


def as_list(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


@every_role
def test_required_options_have_no_default(role: Path) -> None:
    required = {name for name, option in main_options(role).items() if option.get("required")}
    assert not required & set(defaults(role))


@every_role
def test_defaults_have_the_documented_type(role: Path) -> None:
    wrong = []
    for name, value in defaults(role).items():
        kind = main_options(role)[name].get("type", "str")
        fits = isinstance(value, TYPES[kind]) and not (isinstance(value, bool) and kind in {"int", "float"})
        if not fits and not is_expression(value):
            wrong.append(f"{name}: {value!r} is no {kind}")
    assert not wrong


@every_role
def test_elements_of_defaults_have_the_documented_type(role: Path) -> None:
    wrong = [
        f"{name}: {element!r}"
        for name, value in defaults(role).items()
        if isinstance(value, list)
        for element in value
        if not is_expression(element)
        if not isinstance(element, TYPES[main_options(role)[name]["elements"]])
    ]
    assert not wrong


@every_role
def test_documented_default_is_the_default(role: Path) -> None:
    differing = {
        name: (option["default"], defaults(role).get(name))
        for name, option in main_options(role).items()
        if "default" in option and option["default"] != defaults(role).get(name)
        # What an expression comes to is for the description to say
        if not is_expression(defaults(role).get(name))
    }
    assert not differing


@every_role
def test_default_is_one_of_the_choices(role: Path) -> None:
    wrong = []
    for name, option in main_options(role).items():
        value = defaults(role).get(name)
        if "choices" in option and value is not None and not is_expression(value):
            wrong += [f"{name}: {item}" for item in as_list(value) if item not in option["choices"]]
    assert not wrong


@every_role
def test_options_are_typed_and_described(role: Path) -> None:
    wrong = []
    for entry, spec in entry_points(role).items():
        if not spec.get("short_description"):
            wrong.append(f"{entry}: no short_description")
        for name, option in all_options(spec.get("options", {})):
            if option.get("type") not in TYPES:
                wrong.append(f"{entry}: {name} has no type, or one that Ansible does not know")
            if option.get("type") == "list" and option.get("elements") not in TYPES:
                wrong.append(f"{entry}: {name} has no elements")
            exported = "Exported" in " ".join(as_list(option.get("description", "")))
            if option.get("elements") == "dict" and not option.get("options") and not exported:
                wrong.append(f"{entry}: {name} does not say what its elements look like")
            if not "".join(as_list(option.get("description", ""))).strip():
                wrong.append(f"{entry}: {name} has no description")
    assert not wrong


@every_role
def test_entry_points_are_tasks_files(role: Path) -> None:
    assert "main" in entry_points(role)
    assert [name for name in entry_points(role) if not (role / "tasks" / f"{name}.yml").is_file()] == []


@every_role
def test_names_begin_with_the_name_of_the_role(role: Path) -> None:
    names = {name for spec in entry_points(role).values() for name in spec.get("options", {})} | set(defaults(role))
    assert not {name for name in names if not name.startswith(f"{role.name}_")}
    internal = {name for path in role.glob("vars/*.yml") for name in load(path)}
    assert not {name for name in internal if not name.startswith(f"__{role.name}_")}


@every_role
def test_defaults_are_commented(role: Path) -> None:
    """A comment stands above each default, or above the few lines that belong together."""
    text = (role / "defaults" / "main.yml").read_text(encoding="utf-8").removeprefix("---\n")
    bare = [block.split(":")[0] for block in re.split(r"\n\s*\n", text) if block and not block.startswith("#")]
    assert not bare


@every_role
def test_every_option_is_used(role: Path) -> None:
    """An option that nothing reads is a promise that nobody keeps. What a role exports is read by playbooks."""
    paths = [*role.rglob("*.j2"), *(path for path in role.rglob("*.yml") if path.parent.name != "meta")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in [*paths, *ROOT.glob("playbooks/**/*.yml")])
    # In the defaults, `name:` is no use of it; another default's expression is
    unused = [name for name in main_options(role) if not re.search(rf"\b{name}\b(?!:)", text)]
    assert not unused
