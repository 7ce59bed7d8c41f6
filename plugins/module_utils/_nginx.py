# Copyright: The pyindex team
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files of an nginx host: what differs, and a private copy of the tree in which to try it.

Pure logic of the module ``nginx_configuration``: reads files, never changes one of the host.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
from dataclasses import dataclass, field

#: Stands in the first lines of every file this collection writes. What lacks it is somebody's work.
MARKER = "Managed by Ansible (pyindex.fleet"

RELOAD = "reload"
RESTART = "restart"


@dataclass(frozen=True)
class ManagedFile:
    """A file as it should be: absolute path, text, and what makes nginx use it (reload or restart)."""

    path: str
    content: str
    apply: str = RELOAD


@dataclass
class Plan:
    """What has to happen: files to write and paths to remove, with the texts they have now ('' = none)."""

    write: list[ManagedFile] = field(default_factory=list)
    remove: list[str] = field(default_factory=list)
    before: dict[str, str] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        return bool(self.write or self.remove)

    @property
    def paths(self) -> list[str]:
        """Every path that changes, sorted."""
        return sorted([file.path for file in self.write] + self.remove)


def read_text(path: str) -> str | None:
    """Return the text of a file, or None when there is no such file. Undecodable bytes survive a round trip."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            return stream.read()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None


def make_plan(files: list[ManagedFile], absent: list[str]) -> Plan:
    """Compare the files and the glob patterns that must match nothing else with the host."""
    plan = Plan()
    for file in files:
        now = read_text(file.path)
        # A link in place of one of our files would have us write into another file
        if now != file.content or os.path.islink(file.path):
            plan.write.append(file)
            plan.before[file.path] = now or ""
    wanted = {file.path for file in files}
    for pattern in absent:
        folder, name = os.path.split(pattern)
        for entry in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
            path = os.path.join(folder, entry)
            # A link counts although its target may be gone; folders are nobody's configuration
            if path in wanted or path in plan.before:
                continue
            if fnmatch.fnmatch(entry, name) and (os.path.islink(path) or os.path.isfile(path)):
                plan.remove.append(path)
                plan.before[path] = read_text(path) or ""
    return plan


def somebodys_work(plan: Plan) -> list[str]:
    """Paths of the plan whose present content was not written by this collection (links: nothing is lost)."""
    return [
        path
        for path in plan.paths
        if os.path.isfile(path) and not os.path.islink(path) and MARKER not in plan.before[path][:1000]
    ]


def build_tree(source: str, target: str, files: list[ManagedFile], removed: list[str]) -> None:
    """Make `target` look like the folder `source` after the change.

    Folders in which nothing changes and files are links to the originals, so that nothing (no
    credentials, for one) is copied. Files outside `source` are left out.
    """
    inside = {os.path.relpath(file.path, source): file for file in files if is_below(file.path, source)}
    gone = {os.path.relpath(path, source) for path in removed if is_below(path, source)}
    _build_folder(source, target, "", inside, gone)


def _build_folder(source: str, target: str, folder: str, files: dict[str, ManagedFile], gone: set[str]) -> None:
    os.makedirs(os.path.join(target, folder), mode=0o700, exist_ok=True)
    present = os.path.join(source, folder)
    names = set(os.listdir(present)) if os.path.isdir(present) else set()
    prefix = os.path.join(folder, "") if folder else ""
    for path in [*files, *gone]:
        if path.startswith(prefix):
            names.add(path[len(prefix) :].split(os.sep)[0])
    for name in sorted(names):
        path = prefix + name
        destination = os.path.join(target, path)
        if path in files:
            with open(destination, "w", encoding="utf-8", errors="surrogateescape") as stream:
                stream.write(files[path].content)
        elif path in gone:
            continue
        elif any(changed.startswith(path + os.sep) for changed in [*files, *gone]):
            _build_folder(source, target, path, files, gone)
        else:
            os.symlink(os.path.join(source, path), destination)


def is_below(path: str, folder: str) -> bool:
    """Whether an absolute path lies below a folder."""
    return os.path.normpath(path).startswith(os.path.join(os.path.normpath(folder), ""))


def digests(files: list[ManagedFile], watched: list[str]) -> dict[str, str]:
    """SHA-256 of what nginx should have loaded (key reload) and been started with (key restart).

    The watched files (certificates: not written by us, but loaded by nginx) count as loaded.
    """
    result = {}
    for kind in (RELOAD, RESTART):
        sha = hashlib.sha256()
        for file in sorted(files, key=lambda file: file.path):
            if file.apply == kind:
                sha.update(f"{file.path}\0{file.content}\0".encode("utf-8", "surrogateescape"))
        if kind == RELOAD:
            for path in sorted(set(watched)):
                sha.update(f"{path}\0{read_text(path) or ''}\0".encode("utf-8", "surrogateescape"))
        result[kind] = sha.hexdigest()
    return result


def needed_action(wanted: dict[str, str], applied: dict[str, str], plan: Plan) -> str:
    """Return what makes nginx run what is on disk: 'restart', 'reload' or 'none'."""
    still = still_applied(applied, plan)
    if wanted[RESTART] != still.get(RESTART):
        return RESTART
    if wanted[RELOAD] != still.get(RELOAD):
        return RELOAD
    return "none"


def still_applied(applied: dict[str, str], plan: Plan) -> dict[str, str]:
    """Return the part of the recorded state that stays true while the plan is carried out."""
    affected = {file.apply for file in plan.write} | ({RELOAD} if plan.remove else set())
    return {kind: digest for kind, digest in applied.items() if kind not in affected}
