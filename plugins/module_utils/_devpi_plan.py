# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Users and indexes as they are declared: what differs from the server, in which order it is done.

Everything is checked before the first change, so that a plan with a mistake in it changes nothing.
"""

from __future__ import annotations

import contextlib
import graphlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ansible_collections.pyindex.fleet.plugins.module_utils import _devpi_index as ix
from ansible_collections.pyindex.fleet.plugins.module_utils._devpi_errors import (
    InvalidPlanError,
    PermissionDeniedError,
    nearest,
    without_login,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ansible_collections.pyindex.fleet.plugins.module_utils._devpi import Client

# devpi makes them itself; only a declaration by name touches them
ROOT, ROOT_PYPI = "root", "root/pypi"

Options = dict[str, Any]


@dataclass(frozen=True)
class User:
    """A declared user. *fields* are title, email and description as far as they are declared."""

    name: str
    fields: Options = field(default_factory=dict)
    password: str | None = None
    present: bool = True


@dataclass(frozen=True)
class Index:
    """A declared index ``user/index`` with the options that are declared."""

    name: str
    type: str = "stage"
    options: Options = field(default_factory=dict)
    present: bool = True

    @property
    def owner(self) -> str:
        return self.name.partition("/")[0]


@dataclass(frozen=True)
class Declared:
    """What shall hold. *complete* says that these are all users and indexes that there shall be.

    *prune* removes the others; *new_passwords* sets a declared password where another one holds; *force* removes
    non-volatile indexes with their releases.
    """

    users: tuple[User, ...] = ()
    indexes: tuple[Index, ...] = ()
    complete: bool = False
    prune: bool = False
    new_passwords: bool = True
    force: bool = False


@dataclass(frozen=True)
class Change:
    """One thing to do. *action* is what people read, *before* and *after* are the difference."""

    action: str
    subject: str
    before: Options
    after: Options
    do: Callable[[Client], None]

    @property
    def diff(self) -> dict[str, Any]:
        before, after = _shown(self.before), _shown(self.after)
        for name, value in after.items():
            if name in before and before[name] == value and self.before[name] != self.after[name]:
                after[name] = f"{value} (with another login)"
        return {"before_header": self.subject, "after_header": self.subject, "before": before, "after": after}


@dataclass
class Todo:
    """All there is to do, in order, and what the server has that is not declared and stays."""

    changes: list[Change] = field(default_factory=list)
    undeclared_users: list[str] = field(default_factory=list)
    undeclared_indexes: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class _Server:
    """Users, indexes and plugins of the server as they are before anything is changed."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.users = client.users()
        self.indexes: dict[str, Options] = {
            f"{user}/{index}": options
            for user, data in self.users.items()
            for index, options in (data.get("indexes") or {}).items()
        }
        self._plugins: list[str] | None = None
        self._asked = False

    def known(self, index_type: str, names: Iterable[str]) -> tuple[dict[str, str], bool]:
        """Return the options that such an index can have, and whether there may be others."""
        known = ix.OPTIONS[index_type]
        if all(name in known for name in names):
            return known, False
        return ix.known_options(index_type, self.plugins, self.indexes.values()), ix.may_have_others(self.plugins)

    @property
    def plugins(self) -> list[str] | None:
        """The distributions that the server has loaded; None if it does not say."""
        if not self._asked:
            self._asked = True
            with contextlib.suppress(PermissionDeniedError):
                self._plugins = list(self._client.status().get("versioninfo", {})) or None
        return self._plugins


def plan(declared: Declared, client: Client) -> Todo:
    """Return what is to be done; InvalidPlanError, with all problems, if what is declared cannot be."""
    _raise(_problems_in_themselves(declared))
    server = _Server(client)
    removed = _removed(declared, server)
    _raise(_problems_on_server(declared, server, removed))
    result = Todo()
    _plan_users(declared, server, client, result)
    _plan_indexes(declared, server, result)
    _plan_removals(server, removed, result)
    if declared.complete:
        users, indexes = _undeclared(declared, server)
        result.undeclared_users = [] if declared.prune else users
        result.undeclared_indexes = [name for name in indexes if name not in removed[1]]
    return result


def apply(todo: Todo, client: Client | None, result: dict[str, Any]) -> None:
    """Do it all, or without a *client* only say so; *result* is kept up to date on the way (changed, actions, diff)."""
    result["diff"] = [change.diff for change in todo.changes]
    for change in todo.changes:
        if client:
            change.do(client)
        result["actions"].append(change.action)
        result["changed"] = True


# -- what cannot be


def _raise(problems: list[str]) -> None:
    if problems:
        listed = f" {problems[0]}" if len(problems) == 1 else "".join(f"\n- {problem}" for problem in problems)
        raise InvalidPlanError(f"Nothing was changed, as this cannot be:{listed}")


def _problems_in_themselves(declared: Declared) -> list[str]:
    """Return what is wrong whatever the server has."""
    problems = []
    for what, names in (
        ("user", [user.name for user in declared.users]),
        ("index", [index.name for index in declared.indexes]),
    ):
        problems += [
            f"{what} {name!r} is declared {count} times" for name, count in Counter(names).items() if count > 1
        ]
    for user in declared.users:
        why = ix.forbidden_name(user.name)
        if why:
            problems.append(f"devpi forbids the user name {user.name!r}: {why}")
        if user.password == "":
            problems.append(f"the password of user {user.name!r} is empty: leave it out, or anybody could log in")
        if user.name == ROOT and not user.present:
            problems.append("the user root cannot be removed: devpi needs it")
    for index in declared.indexes:
        owner, slash, name = index.name.partition("/")
        why = "it is not of the form user/index" if not slash else ix.forbidden_name(owner) or ix.forbidden_name(name)
        if why:
            problems.append(f"devpi forbids the index name {index.name!r}: {why}")
        if index.type not in ix.OPTIONS:
            problems.append(f"index {index.name!r}: there is no type {index.type!r}.{nearest(index.type, ix.OPTIONS)}")
    return problems


def _problems_on_server(declared: Declared, server: _Server, removed: tuple[list[str], list[str]]) -> list[str]:
    """Return what cannot be done, given what the server has."""
    final = _final_bases(declared, server, removed[1])
    problems = []
    for index in declared.indexes:
        if index.present:
            problems += [f"index {index.name!r}: {problem}" for problem in _index_problems(index, declared, server)]
            problems += [f"index {index.name!r}: {problem}" for problem in _base_problems(index, final, removed[1])]
    for name in removed[1]:
        users = [other for other, bases in final.items() if name in bases]
        if users and not set(users) <= {index.name for index in declared.indexes if index.present}:
            problems.append(f"index {name!r} would be removed, but is a base of {', '.join(users)}")
        options = server.indexes[name]
        if options.get("type") != "mirror" and not options.get("volatile", True) and not declared.force:
            problems.append(
                f"index {name!r} would be removed with its releases, but is non-volatile. "
                "Make it volatile first (volatile: true), or keep it"
            )
    return problems


def _index_problems(index: Index, declared: Declared, server: _Server) -> list[str]:
    current = server.indexes.get(index.name, {})
    problems = []
    users = {user.name for user in declared.users if user.present} | {ROOT}
    if not declared.complete:
        users |= set(server.users)
    if index.owner not in users:
        there = "is not declared" if declared.complete else "does not exist"
        problems.append(f"its user {index.owner!r} {there}.{nearest(index.owner, users)}")
    if current and current.get("type") != index.type:
        problems.append(f"it is a {current.get('type')}, and the type of an index cannot be changed: remove it first")
        return problems
    known, others = server.known(index.type, index.options)
    problems += ix.option_problems(index.type, index.options, known, others)
    if index.type == "mirror" and not {**current, **index.options}.get("mirror_url"):
        problems.append("a mirror needs a mirror_url")
    return problems


def _base_problems(index: Index, final: Mapping[str, list[str]], removed: list[str]) -> list[str]:
    problems = []
    for base in final[index.name]:
        if base == index.name:
            problems.append("it is its own base")
        elif base in removed:
            problems.append(f"its base {base!r} is not declared and would be removed")
        elif base not in final:
            problems.append(f"its base {base!r} does not exist.{nearest(base, final)}")
    circle = _circle(index.name, final)
    if len(circle) > 2:
        problems.append(f"its bases lead back to it: {' -> '.join(circle)}")
    return problems


def _circle(name: str, bases: Mapping[str, list[str]]) -> list[str]:
    """Return a way from *name* over bases back to it, or an empty list."""
    ways = [[name, base] for base in bases.get(name, [])]
    seen = set()
    while ways:
        way = ways.pop()
        if way[-1] == name:
            return way
        if way[-1] not in seen:
            seen.add(way[-1])
            ways += [[*way, base] for base in bases.get(way[-1], [])]
    return []


def _final_bases(declared: Declared, server: _Server, removed: Iterable[str]) -> dict[str, list[str]]:
    """Return the bases of each index that there will be."""
    final = {
        name: list(options.get("bases", [])) for name, options in server.indexes.items() if name not in set(removed)
    }
    for index in declared.indexes:
        if index.present:
            bases = index.options.get("bases")
            final[index.name] = final.get(index.name, []) if bases is None else ix.normalize(ix.LIST, bases)
    return final


# -- what is to be done


def _undeclared(declared: Declared, server: _Server) -> tuple[list[str], list[str]]:
    users = set(server.users) - {user.name for user in declared.users} - {ROOT}
    indexes = set(server.indexes) - {index.name for index in declared.indexes} - {ROOT_PYPI}
    return sorted(users), sorted(indexes)


def _removed(declared: Declared, server: _Server) -> tuple[list[str], list[str]]:
    """Return the users and indexes that go: by name, by prune, and indexes with their user."""
    users = {user.name for user in declared.users if not user.present} & set(server.users)
    indexes = {index.name for index in declared.indexes if not index.present} & set(server.indexes)
    if declared.prune:
        other_users, other_indexes = _undeclared(declared, server)
        users.update(other_users)
        indexes.update(other_indexes)
    kept = {index.name for index in declared.indexes if index.present}
    indexes |= {name for name in server.indexes if name.partition("/")[0] in users and name not in kept}
    return sorted(users), sorted(indexes)


def _plan_users(declared: Declared, server: _Server, client: Client, result: Todo) -> None:
    compared = [
        (user.name, user.password)
        for user in declared.users
        if user.present and user.name in server.users and user.password is not None and declared.new_passwords
    ]
    wrong = {login[0] for login, right in zip(compared, client.passwords_are(compared)) if not right}  # noqa: B905 - Python 3.9
    for user in declared.users:
        if not user.present:
            continue
        current = server.users.get(user.name)
        if current is None:
            if user.password is None:
                result.notes.append(f"user {user.name!r} is made without a password: only a plugin can let it log in")
            fields = {name: value for name, value in user.fields.items() if value}
            after = {**fields, "password": "(set)"} if user.password is not None else fields
            fields = {**fields, "password": user.password}
            result.changes.append(_change("create", "user", user.name, {}, after, _create_user(user.name, fields)))
            continue
        changed = {name: value for name, value in user.fields.items() if value != (current.get(name) or "")}
        before = {name: current.get(name) or "" for name in changed}
        after = dict(changed)
        if user.name in wrong:
            before["password"], after["password"] = "(another)", "(as declared)"
            changed["password"] = user.password
        if changed:
            result.changes.append(_change("modify", "user", user.name, before, after, _modify_user(user.name, changed)))


def _plan_indexes(declared: Declared, server: _Server, result: Todo) -> None:
    wanted = {index.name: index for index in declared.indexes if index.present}
    final = _final_bases(declared, server, ())
    graph = {name: [base for base in final[name] if base in wanted] for name in wanted}
    for name in graphlib.TopologicalSorter(graph).static_order():
        index = wanted[name]
        known, _others = server.known(index.type, index.options)
        current = server.indexes.get(name, {})
        options = ix.closed(index.owner, index.type, index.options, current)
        if not current:
            options = {key: ix.normalize(known.get(key, ""), value) for key, value in options.items()}
            after = {"type": index.type, **options}
            result.changes.append(_change("create", "index", name, {}, after, _create_index(name, after)))
            continue
        changed = ix.difference(known, options, current)
        if changed:
            before = {key: current.get(key) for key in changed}
            own = set(current) <= {"type", *ix.OPTIONS[index.type]}
            sent = changed if own else {**ix.resent(current, server.plugins), **changed}
            result.changes.append(_change("modify", "index", name, before, changed, _modify_index(name, sent)))


def _plan_removals(server: _Server, removed: tuple[list[str], list[str]], result: Todo) -> None:
    users, indexes = removed
    graph = {name: [base for base in server.indexes[name].get("bases", []) if base in indexes] for name in indexes}
    try:
        order = list(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError:  # made by hand; there is no right order, and devpi minds none
        order = indexes
    for name in reversed(order):
        options = server.indexes[name]
        result.changes.append(_change("remove", "index", name, options, {}, _delete_index(name, options)))
    for name in users:
        fields = {key: value for key, value in server.users[name].items() if key in ("title", "email", "description")}
        result.changes.append(_change("remove", "user", name, fields, {}, _delete_user(name)))


def _change(action: str, kind: str, name: str, before: Options, after: Options, do: Callable[[Client], None]) -> Change:
    return Change(f"{action} {kind} {name}", f"{kind} {name}", before, after, do)


def _create_user(name: str, fields: Options) -> Callable[[Client], None]:
    return lambda client: client.create_user(name, fields)


def _modify_user(name: str, fields: Options) -> Callable[[Client], None]:
    return lambda client: client.modify_user(name, fields)


def _delete_user(name: str) -> Callable[[Client], None]:
    return lambda client: client.delete_user(name)


def _create_index(name: str, options: Options) -> Callable[[Client], None]:
    return lambda client: client.create_index(name, options)


def _modify_index(name: str, options: Options) -> Callable[[Client], None]:
    return lambda client: client.modify_index(name, options)


def _delete_index(name: str, options: Options) -> Callable[[Client], None]:
    def do(client: Client) -> None:
        if not options.get("volatile", True):
            client.modify_index(name, {"volatile": True})
        client.delete_index(name)

    return do


def _shown(options: Options) -> Options:
    return {name: without_login(value) if isinstance(value, str) else value for name, value in options.items()}
