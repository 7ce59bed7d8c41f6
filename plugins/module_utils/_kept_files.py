# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A set of managed files of which the originals are kept: look, plan, apply."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pwd
import re
import stat
import time
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

from ansible_collections.pyindex.fleet.plugins.module_utils import (
    _auth_json,
    _current_json,
    _keyring,
    _netrc,
    _pypirc,
)
from ansible_collections.pyindex.fleet.plugins.module_utils._accounts import (
    Account,
    ClientFilesError,
    account_by_id,
    account_from,
    acting,
)

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE_LIMIT = 1024 * 1024  # bytes; a configuration file that is larger is none
_TEMPORARY = ".pyindex-new"
_URL_LOGIN = re.compile(r"(://)[^/@\s]+@")
# Files of which only a part is ours, by kind. A 'text' file is ours as a whole
_MERGED = {
    "netrc": _netrc,
    "pypirc": _pypirc,
    "current_json": _current_json,
    "auth_json": _auth_json,
    "keyring": _keyring,
}


@dataclass(frozen=True)
class Found:
    """What stands at a path. ``kind`` is absent, file or link; ``data`` of a link is what it leads to."""

    kind: str = "absent"
    data: bytes = b""
    mode: int = 0
    uid: int = -1
    gid: int = -1
    target: str = ""


@dataclass(frozen=True)
class Wanted:
    """One managed file.

    ``merge`` gives the new contents from the present ones ('text' files ignore them); ``keys`` are what it merges
    (machines of a netrc, sections of a .pypirc, logins of a keyring, keys and logins of devpi's files); ``command`` is run
    after the file has changed; ``gid`` is the file's group (None = that of the account).
    """

    path: str
    account: Account
    mode: int
    merge: Callable[[bytes], bytes]
    kind: str = "text"
    keys: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    parent_mode: int = 0o755
    gid: int | None = None


@dataclass(frozen=True)
class Original:
    """What stood at a path before us. Contents are in the store under the name ``blob``."""

    kind: str = "absent"
    mode: int = 0
    uid: int = -1
    gid: int = -1
    target: str = ""
    blob: str = ""


@dataclass(frozen=True)
class Record:
    """What is remembered of a file that we changed. ``ours`` are digests of contents that we wrote."""

    account: str
    uid: int
    gid: int
    kind: str
    ours: list[str]
    keys: list[str]
    original: Original = field(default_factory=Original)
    made: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    pending: bool = False


@dataclass(frozen=True)
class Change:
    """One step. ``after`` is what shall stand at the path; ``record`` None: nothing is remembered of it any more."""

    path: str
    action: str
    kind: str
    account: Account
    before: Found
    after: Found
    record: Record | None
    keep: bool = False
    parent_mode: int = 0o755


@dataclass
class Plan:
    """All that a run does, found out before anything is changed."""

    changes: list[Change] = field(default_factory=list)
    dropped: dict[str, Account | None] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    commands: list[tuple[str, ...]] = field(default_factory=list)

    def diff(self) -> list[dict[str, str]]:
        """Return what changes, for Ansible's diff mode; without secrets."""
        return [_diff(change) for change in self.changes]


@dataclass
class Outcome:
    """What was done: the copies of files that a person had edited, by path, and commands that this host lacks."""

    kept: dict[str, str] = field(default_factory=dict)
    missing_commands: list[str] = field(default_factory=list)


# -- one file


def look(path: str, account: Account) -> Found:
    """Return what stands at a path; ClientFilesError if that can be no configuration file."""
    try:
        with acting(account):
            return _look(path)
    except FileNotFoundError:
        return Found()
    except NotADirectoryError:
        raise ClientFilesError(f"{path}: a part of this path is a file, not a directory; move it away") from None
    except OSError as error:
        raise ClientFilesError(
            f"{path}: {account.name} cannot read it ({error.strerror}); give it to {account.name} or move it away"
        ) from None


def _look(path: str) -> Found:
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        found = Found("link", b"", 0, status.st_uid, status.st_gid, os.readlink(path))
        try:
            return replace(found, data=_read(path, 0)[0])
        except FileNotFoundError:
            return found
    data, status = _read(path, os.O_NOFOLLOW)
    return Found("file", data, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)


def _read(path: str, flags: int) -> tuple[bytes, os.stat_result]:
    if os.path.isdir(path):
        raise ClientFilesError(f"{path}: this is a directory, where a file belongs; move it away")
    # A pipe would block
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | flags)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ClientFilesError(f"{path}: this is no regular file (a pipe, socket or device); move it away")
        data = file.read(SIZE_LIMIT + 1)
    if len(data) > SIZE_LIMIT:
        raise ClientFilesError(f"{path}: this is larger than {SIZE_LIMIT} bytes, so no such file; move it away")
    return data, status


def put(path: str, found: Found, account: Account) -> None:
    """Make this stand at the path, in one step: readers see the old file or the new one, never a part."""
    directory, name = os.path.split(path)
    temporary = f".{name.lstrip('.')}{_TEMPORARY}"
    with acting(account):
        folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with contextlib.suppress(FileNotFoundError):  # of a run that was interrupted
                os.unlink(temporary, dir_fd=folder)
            if found.kind == "absent":
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=folder)
                return
            if found.kind == "link":
                os.symlink(found.target, temporary, dir_fd=folder)
            else:
                # Nobody else can read it from the first byte on; the mode that was asked for comes when it is whole
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                with os.fdopen(os.open(temporary, flags, 0o600, dir_fd=folder), "wb") as file:
                    file.write(found.data)
                    file.flush()
                    _give(file.fileno(), found, account)
                    os.fsync(file.fileno())
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=folder)
            raise
        finally:
            os.close(folder)


def _give(descriptor: int, found: Found, account: Account) -> None:
    """Set owner and mode by the open file, so that no name can be swapped meanwhile."""
    if (found.uid, found.gid) == (account.uid, account.gid):
        os.fchmod(descriptor, found.mode & 0o777)
        return
    user = os.geteuid()  # an original that belonged to somebody else
    os.seteuid(os.getuid())
    try:
        os.fchown(descriptor, found.uid, found.gid)
        os.fchmod(descriptor, found.mode & 0o777)
    finally:
        os.seteuid(user)


def missing_parents(path: str, account: Account) -> list[str]:
    """Return the directories that the path lacks, the outermost first."""
    missing: list[str] = []
    directory = os.path.dirname(path)
    with acting(account):
        while not os.path.lexists(directory):
            missing.insert(0, directory)
            directory = os.path.dirname(directory)
    return missing


# -- what is remembered


class Store:
    """What was there before us, on disk, readable by root only."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.records: dict[str, Record] = {}

    def load(self) -> None:
        try:
            with open(self._path("state.json"), encoding="utf-8") as file:
                content = json.load(file)
            self.records = {
                path: Record(**{**record, "original": Original(**record["original"])})
                for path, record in content["files"].items()
            }
        except FileNotFoundError:
            return
        except (ValueError, TypeError, KeyError, AttributeError, OSError) as error:
            raise ClientFilesError(
                f"{self._path('state.json')} cannot be read ({type(error).__name__}), so it is not known which "
                f"originals belong where: restore it from a backup, or move {self.directory} away to start anew"
            ) from None

    def save(self) -> None:
        files = {path: asdict(record) for path, record in sorted(self.records.items())}
        self._write("state.json", json.dumps({"version": 1, "files": files}, indent=1).encode() + b"\n")

    def remember(self, path: str, record: Record, found: Found) -> None:
        """Enter a record; the first one of a path comes with what stands there now."""
        if path in self.records:
            original = self.records[path].original
        else:
            original = Original(found.kind, found.mode, found.uid, found.gid, found.target)
            if found.kind != "absent":
                original = replace(original, blob=self._keep(path, found.data))
        self.records[path] = replace(record, original=original)

    def keep_edited(self, path: str, found: Found) -> str:
        """Keep a copy of a file that a person has edited; return where."""
        name = f"edited/{path.strip('/').replace('/', '_')}.{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
        count = 0
        while os.path.exists(self._path(unique := f"{name}.{count}" if count else name)):
            count += 1
        self._write(unique, found.data)
        return self._path(unique)

    def original(self, record: Record) -> Found:
        kept = record.original
        data = b""
        if kept.blob:
            try:
                with open(self._path(kept.blob), "rb") as file:
                    data = file.read()
            except OSError as error:
                raise ClientFilesError(f"{self._path(kept.blob)}: the original is gone ({error.strerror})") from None
        return Found(kept.kind, data, kept.mode, kept.uid, kept.gid, kept.target)

    def tidy(self) -> None:
        """Remove what no record needs any more, and the store itself when nothing is left in it."""
        needed = {record.original.blob for record in self.records.values()}
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(self._path("originals")):
                if f"originals/{name}" not in needed:
                    os.unlink(self._path(f"originals/{name}"))
        if self.records:
            return
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path("state.json"))
        for name in ("originals", "edited", "", ".."):
            with contextlib.suppress(OSError):
                os.rmdir(os.path.normpath(self._path(name)))

    def _keep(self, path: str, data: bytes) -> str:
        name = f"originals/{os.path.basename(path).lstrip('.')}-{digest(path.encode())[:16]}"
        self._write(name, data)
        return name

    def _path(self, name: str) -> str:
        return os.path.join(self.directory, name)

    def _write(self, name: str, data: bytes) -> None:
        path = self._path(name)
        os.makedirs(os.path.dirname(self.directory), 0o755, exist_ok=True)
        for directory in (self.directory, os.path.dirname(path)):
            with contextlib.suppress(FileExistsError):
                os.mkdir(directory, 0o700)
        put(path, Found("file", data, 0o600, os.geteuid(), os.getegid()), Account("root", os.geteuid(), os.getegid()))


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# -- the plan


def plan(wanted: list[Wanted], store: Store) -> Plan:
    """Find out all that has to be done. ClientFilesError names everything that is in the way, a line each."""
    result = Plan()
    faults: list[str] = []
    for item in wanted:
        try:
            _plan_wanted(item, store, result)
        except ClientFilesError as error:
            faults.append(str(error))
    declared = {item.path for item in wanted}
    for path, record in sorted(store.records.items()):
        if path in declared:
            continue
        try:
            _plan_return(path, record, store, result)
        except ClientFilesError as error:
            faults.append(str(error))
    if faults:
        raise ClientFilesError("\n".join(faults))
    return result


def _plan_wanted(item: Wanted, store: Store, result: Plan) -> None:
    before = look(item.path, item.account)
    known = store.records.get(item.path)
    # What an earlier run put there and is not declared any more, such as the login at an index that was moved
    gone = sorted({*known.keys} - {*item.keys}) if known else []
    try:
        rest = (
            _MERGED[item.kind].unmerge(before.data, store.original(known).data, gone) if known and gone else before.data
        )
        data = item.merge(rest)
    except (_netrc.NetrcError, _pypirc.PypircError, _current_json.CurrentError, _keyring.KeyringError) as error:
        raise ClientFilesError(
            f"{item.path}: {error}. The tools cannot read this file either: correct it or move it away"
        ) from None
    if item.kind != "text" and not _is_utf8(before.data):
        result.notes.append(f"{item.path} is not UTF-8; it is kept as it is, but some tools will refuse to read it")
    after = Found("file", data, item.mode, item.account.uid, item.account.gid if item.gid is None else item.gid)
    # A group is looked at only where one is asked for: others may have been chosen by the file's owner
    if before == (after if item.gid is not None else replace(after, gid=before.gid)):
        if known and known.pending:
            _add_command(tuple(known.command), result)
        return
    ours = known is None or _is_ours(before, known, store)
    edited = item.kind == "text" and not ours
    if edited:
        result.notes.append(f"{item.path} had been edited by hand; that version is kept")
    if before.kind == "link":
        result.notes.append(f"{item.path} was a symbolic link to {before.target}; it is now a file of its own")
    record = Record(
        account=item.account.name,
        uid=item.account.uid,
        gid=item.account.gid,
        kind=item.kind,
        # What people have added to a merged file is theirs: taking our part out is then the only way back
        ours=[digest(data), *(known.ours[:1] if known else [])] if ours or item.kind == "text" else [],
        keys=sorted(item.keys),
        made=list(dict.fromkeys([*(known.made if known else []), *missing_parents(item.path, item.account)])),
        command=list(item.command),
        pending=bool(item.command),
    )
    _hold_writable(item.path, item.account)
    action = "created" if before.kind == "absent" else "updated"
    result.changes.append(
        Change(
            item.path, action, item.kind, item.account, before, after, record, keep=edited, parent_mode=item.parent_mode
        )
    )
    _add_command(item.command, result)


def _plan_return(path: str, record: Record, store: Store, result: Plan) -> None:
    """Plan that what was there before comes back."""
    account = _remembered(record)
    if not _parent_exists(path, account):
        result.dropped[path] = None
        _add_command(tuple(record.command), result)
        if record.original.kind != "absent":
            result.notes.append(f"{path}: its directory is gone, so the original cannot be put back")
        return
    before, after = look(path, account), store.original(record)
    keep = False
    if not _is_ours(before, record, store):
        keep = True
        note = f"{path} had been edited by hand since it was written; that version is kept"
        if record.kind != "text":
            after = _unmerged(path, before, after, record, account)
            note += ", and only what this collection had put there is taken out"
        result.notes.append(note)
    _add_command(tuple(record.command), result)
    if _same(before, after):
        result.dropped[path] = account
        return
    _hold_writable(path, account)
    action = "removed" if after.kind == "absent" else "restored"
    result.changes.append(Change(path, action, record.kind, account, before, after, None, keep=keep))


def _hold_writable(path: str, account: Account) -> None:
    """Refuse before anything is changed what would fail in the middle of it."""
    directory = os.path.dirname((missing_parents(path, account) or [path])[0])
    with acting(account):
        if not os.access(directory, os.W_OK | os.X_OK, effective_ids=True):
            raise ClientFilesError(_unwritable(path, account, f"no right to write to {directory}"))


def _unwritable(path: str, account: Account, reason: str) -> str:
    return (
        f"{path}: {account.name} cannot write it ({reason}): free the file or its directory for {account.name} and "
        f"run again"
    )


def _unmerged(path: str, before: Found, original: Found, record: Record, account: Account) -> Found:
    try:
        data = _MERGED[record.kind].unmerge(before.data, original.data, record.keys)
    except ValueError as error:
        raise ClientFilesError(f"{path}: {error}. Correct it or move it away") from None
    if data == original.data or not data.strip():
        return original
    mode = original.mode if original.kind == "file" else before.mode
    return Found("file", data, mode, account.uid, account.gid)


def _is_ours(found: Found, record: Record, store: Store) -> bool:
    """Whether nobody has put anything of their own there: our contents, none, or what was there at first."""
    if found.kind == "absent":
        return True
    if found.kind == "file" and digest(found.data) in record.ours:
        return True
    return _same(found, store.original(record))


def _same(one: Found, other: Found) -> bool:
    if one.kind == "link" or other.kind == "link":
        return (one.kind, one.target) == (other.kind, other.target)
    return one == other


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _add_command(command: tuple[str, ...], result: Plan) -> None:
    if command and command not in result.commands:
        result.commands.append(command)


def _remembered(record: Record) -> Account:
    """Return the account that a record names; a user who is gone keeps the numbers they had."""
    try:
        return account_from(pwd.getpwnam(record.account))
    except KeyError:
        return account_by_id(record.uid, record.gid)


def _parent_exists(path: str, account: Account) -> bool:
    with acting(account):
        return os.path.isdir(os.path.dirname(path))


# -- the work


def apply(todo: Plan, store: Store, run: Callable[[tuple[str, ...]], bool]) -> Outcome:
    """Do what was planned. ``run`` runs a command and returns False if this host has no such program.

    What was there before is safe on disk before the first file changes, and a record goes after its file and command
    are done: a run that is interrupted anywhere is finished by the next one.
    """
    outcome = Outcome()
    if not (todo.changes or todo.dropped or todo.commands):
        return outcome
    known = dict(store.records)
    for change in todo.changes:
        if change.keep:
            outcome.kept[change.path] = store.keep_edited(change.path, change.before)
        if change.record:
            store.remember(change.path, change.record, change.before)
    store.save()
    try:
        for change in todo.changes:
            _do(change)
    except BaseException:
        _take_back(todo.changes, known, store)
        raise
    outcome.missing_commands = [command[0] for command in todo.commands if not run(command)]
    _settle(todo, outcome, store)
    return outcome


def _settle(todo: Plan, outcome: Outcome, store: Store) -> None:
    """Bring the records to what now holds."""
    gone = {**todo.dropped, **{change.path: change.account for change in todo.changes if change.record is None}}
    for path, account in gone.items():
        made = store.records.pop(path).made
        if account:
            _remove_empty(made, account)
    for path, record in store.records.items():
        if tuple(record.command) in todo.commands:
            store.records[path] = replace(record, pending=record.command[0] in outcome.missing_commands)
    store.save()
    store.tidy()


def _do(change: Change) -> None:
    account = change.account
    missing = missing_parents(change.path, account) if change.after.kind != "absent" else []
    try:
        with acting(account):
            for directory in missing:
                os.mkdir(directory, change.parent_mode)
        put(change.path, change.after, account)
    except OSError as error:
        _remove_empty(missing, account)
        raise ClientFilesError(_unwritable(change.path, account, str(error.strerror))) from None


def _take_back(changes: list[Change], known: dict[str, Record], store: Store) -> None:
    """Forget what was about to be done and was not, so that a later run sees those files as they are then."""
    for change in changes:
        with contextlib.suppress(ClientFilesError):
            if change.before != change.after and look(change.path, change.account) == change.before:
                store.records.pop(change.path, None)
                if change.path in known:
                    store.records[change.path] = known[change.path]
    store.save()
    store.tidy()


def _remove_empty(directories: list[str], account: Account) -> None:
    with acting(account):
        for directory in reversed(directories):
            with contextlib.suppress(OSError):  # it holds something, or is not there
                os.rmdir(directory)


# -- what Ansible shows


def _diff(change: Change) -> dict[str, str]:
    before, after = _shown(change, change.before), _shown(change, change.after)
    if before == after and change.before.data != change.after.data:
        after += "(a password has changed)\n"
    return {
        "before_header": f"{change.path}{_described(change.before)}",
        "after_header": f"{change.path}{_described(change.after)}",
        "before": before,
        "after": after,
    }


def _described(found: Found) -> str:
    if found.kind == "file":
        return f" (mode {found.mode:04o})"
    return f" (link to {found.target})" if found.kind == "link" else " (absent)"


def _shown(change: Change, found: Found) -> str:
    text = found.data.decode("utf-8", "backslashreplace")
    if change.kind in _MERGED:
        text = _MERGED[change.kind].redact(text)
    return _URL_LOGIN.sub(r"\1********@", text)
