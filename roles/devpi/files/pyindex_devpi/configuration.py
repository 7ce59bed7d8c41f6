"""Says what is wrong with the options of devpi-server's file.

devpi-server itself only warns of an option that it does not know, and runs without it.
"""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterator, Mapping

from devpi_server.config import get_parser, get_pluginmanager, strtobool

# Options that make the program do something else than serve
COMMANDS = {"configfile", "help", "passwd", "version"}


def known_options() -> dict[str, argparse.Action]:
    """Return the options that the installed devpi-server has with its plugins, by their names in the file."""
    actions = get_parser(get_pluginmanager())._actions
    named = {
        option.removeprefix("--"): action
        for action in actions
        for option in action.option_strings
        if option.startswith("--")
    }
    return {name: action for name, action in named.items() if name not in COMMANDS}


def problems(options: Mapping[str, object], known: Mapping[str, argparse.Action] | None = None) -> list[str]:
    """Return one sentence for each of *options* that devpi-server would not take; none when all are right."""
    return list(_problems(options, known_options() if known is None else known))


def _problems(options: Mapping[str, object], known: Mapping[str, argparse.Action]) -> Iterator[str]:
    for name, value in options.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it knows {', '.join(sorted(known))}"
            yield f"devpi-server has no option {name}: {hint}"
        elif wanted := _wanted(known[name], value):
            yield f"the option {name} of devpi-server is {value!r}: it has to be {wanted}"


def _wanted(action: argparse.Action, value: object) -> str | None:
    """Return what *value* has to be, None when it is."""
    if isinstance(action, argparse._StoreTrueAction | argparse._StoreFalseAction):
        return None if _is_true_or_false(value) else "true or false"
    if isinstance(action, argparse._AppendAction):
        return None if isinstance(value, list) and all(isinstance(part, str) for part in value) else "a list"
    if action.dest == "storage" and isinstance(value, dict):
        return None
    if isinstance(value, bool | dict | list) or value in (None, ""):
        return "a number" if action.type is int else "a text"
    if action.choices is not None and value not in action.choices:
        return f"one of {', '.join(action.choices)}"
    if callable(action.type):
        try:
            action.type(str(value))
        except ValueError:
            return "a number"
    return None


def _is_true_or_false(value: object) -> bool:
    try:
        strtobool(str(value))
    except ValueError:
        return False
    return True
