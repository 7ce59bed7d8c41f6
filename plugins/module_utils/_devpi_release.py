# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Releases on devpi's indexes: uploaded, promoted from one index to another, removed."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ansible_collections.pyindex.fleet.plugins.module_utils import _devpi_files as disk
from ansible_collections.pyindex.fleet.plugins.module_utils._devpi_errors import (
    ConflictError,
    DevpiError,
    NotFoundError,
    PermissionDeniedError,
    RefusedError,
    TooLargeError,
    nearest,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ansible_collections.pyindex.fleet.plugins.module_utils._devpi import Client, Link

RELEASE_FILE, DOCUMENTATION = "releasefile", "doczip"


@dataclass(frozen=True)
class Upload:
    """A file to send; *before* is the SHA-256 of the one that it replaces, or empty."""

    candidate: disk.Candidate
    fields: list[tuple[str, str]]
    sha256: str
    before: str

    @property
    def stored_name(self) -> str:
        """The name under which devpi keeps the file."""
        if self.candidate.action == disk.DOCUMENTATION:
            return f"{self.candidate.project}-{self.candidate.version}.doc.zip"
        return self.candidate.filename


@dataclass
class Uploads:
    """What is to be sent, what the index has already, and what cannot be sent and why, by path."""

    todo: list[Upload] = field(default_factory=list)
    present: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


class Shelf:
    """An index and what it holds, asked for once a project."""

    def __init__(self, client: Client, name: str) -> None:
        """Raise NotFoundError when there is no such index."""
        self.client = client
        self.name = name
        try:
            self.options = client.index(name)
        except NotFoundError:
            names = [f"{user}/{index}" for user, data in client.users().items() for index in data.get("indexes", {})]
            raise NotFoundError(f"devpi has no index {name!r}.{nearest(name, names)}") from None
        self._releases: dict[str, dict[str, list[Link]]] = {}

    @property
    def volatile(self) -> bool:
        return bool(self.options.get("volatile", True))

    def releases(self, project: str) -> dict[str, list[Link]]:
        """Return the files of each version of *project* on this index itself."""
        if project not in self._releases:
            self._releases[project] = self.client.releases(self.name, project)
        return self._releases[project]

    def find(self, project: str, rel: str, basename: str) -> Link | None:
        """Return the file of that name, or None."""
        for links in self.releases(project).values():
            for link in links:
                if (link.rel, link.basename) == (rel, basename):
                    return link
        return None

    def forget(self) -> None:
        """Ask again from now on."""
        self._releases.clear()

    def require_stage(self) -> None:
        """Raise RefusedError for a mirror, which takes no uploads."""
        if self.options.get("type") == "mirror":
            raise RefusedError(f"{self.name} is a mirror: nothing can be uploaded to it. Name a stage")

    @contextmanager
    def permitted(self, what: str) -> Iterator[None]:
        """Say who may do *what* when devpi says that this user may not."""
        try:
            yield
        except PermissionDeniedError as error:
            may = ", ".join(self.options.get("acl_upload", [])) or "nobody"
            raise PermissionDeniedError(f"{error}. {what} on {self.name} is open to: {may} (acl_upload)") from None


# -- upload


def plan_uploads(shelf: Shelf, found: disk.Found) -> Uploads:
    """Compare the files with the index, by SHA-256. Nothing is sent."""
    shelf.require_stage()
    result = Uploads(failed=dict(found.broken))
    hashes: dict[str, str] = {}
    # Documentation last: a file brings the metadata of its release, documentation has none
    for candidate in sorted(found.candidates, key=lambda one: (one.action == disk.DOCUMENTATION, one.path)):
        try:
            upload = _compare(shelf, candidate, hashes)
        except disk.BrokenFileError as error:
            result.failed[candidate.path] = str(error)
            continue
        if upload is None:
            result.present.append(candidate.filename)
        else:
            result.todo.append(upload)
    return result


def _compare(shelf: Shelf, candidate: disk.Candidate, hashes: dict[str, str]) -> Upload | None:
    """Return what to send for *candidate*; None when the index, or a file before, has the very same."""
    rel = DOCUMENTATION if candidate.action == disk.DOCUMENTATION else RELEASE_FILE
    with disk.open_file(candidate.path) as file:
        upload = Upload(candidate, [], disk.sha256_of(file), "")
        name = upload.stored_name
        if hashes.setdefault(name, upload.sha256) != upload.sha256:
            raise disk.BrokenFileError("another file of that name and with other content comes before it")
        link = shelf.find(candidate.project, rel, name)
        if link and link.sha256 == upload.sha256:
            return None
        if link and not shelf.volatile:
            raise disk.BrokenFileError(
                f"{shelf.name} is non-volatile and has other content under that name: give it a new version"
            )
        fields = disk.fields_of(file, candidate)
    return Upload(candidate, fields, upload.sha256, link.sha256 or "(unknown)" if link else "")


def upload(shelf: Shelf, uploads: Uploads, sent: Callable[[Upload, str], None]) -> None:
    """Send all files that can be sent; what fails is added to ``uploads.failed``.

    *sent* is called with each file that has arrived and a warning of the server ("" for none). A DevpiError that
    concerns more than one file, such as a server that goes away, ends it.
    """
    arrived = []
    for one in uploads.todo:
        try:
            with disk.open_file(one.candidate.path) as file, shelf.permitted("Uploading"):
                warning = shelf.client.upload(
                    shelf.name, one.candidate.action, one.fields, file, one.candidate.filename
                )
        except (disk.BrokenFileError, ConflictError, RefusedError, TooLargeError) as error:
            uploads.failed[one.candidate.path] = str(error)
            continue
        arrived.append(one)
        sent(one, warning)
    shelf.forget()
    for one in arrived:
        rel = DOCUMENTATION if one.candidate.action == disk.DOCUMENTATION else RELEASE_FILE
        link = shelf.find(one.candidate.project, rel, one.stored_name)
        if link is None or link.sha256 not in (one.sha256, ""):
            uploads.failed[one.candidate.path] = (
                "what has arrived is not what was read before: the file, or the release, was changed meanwhile"
            )


def upload_failures(failed: dict[str, str], sent: bool) -> str:
    """Return the message that names each file that cannot be uploaded, and why; *sent* says that the others are there."""
    listed = "".join(f"\n- {path}: {reason}" for path, reason in sorted(failed.items()))
    return f"{len(failed)} of the files cannot be uploaded{', all others are on the index' if sent else ''}:{listed}"


# -- promotion


@dataclass(frozen=True)
class Promotion:
    """A release to push: names of its files with their SHA-256, on the target before and from the source after."""

    project: str
    version: str
    before: dict[str, str]
    after: dict[str, str]


def plan_promotion(source: Shelf, target: Shelf, project: str, version: str) -> Promotion | None:
    """Return what is to be pushed, None when the target has it all.

    NotFoundError when the source has no such release, ConflictError when devpi cannot push it to a non-volatile target.
    """
    target.require_stage()
    if source.name == target.name:
        raise RefusedError(f"{source.name} is both: the index to promote from and to")
    version = _spelled(source, project, version)
    wanted = _files(_release(source, project, version))
    there = _files(target.releases(project).get(version, []))
    other = sorted(name for name in wanted if name in there and not _equal(wanted[name], there[name]))
    missing = sorted(set(wanted) - set(there))
    if not other and not missing:
        return None
    release = f"{project} {version}"
    if other and not target.volatile:
        raise ConflictError(
            f"{target.name} is non-volatile and has other content for {release}: {', '.join(other)}. What is released "
            f"there is final: give what {source.name} has a new version, and promote that"
        )
    if missing and there and not target.volatile:
        # devpi refuses a push as soon as one of the files is there, even if it is the same
        raise ConflictError(
            f"{target.name} is non-volatile and has a part of {release} already, without {', '.join(missing)}. devpi "
            f"pushes whole releases only: upload those files to {target.name} (state: present)"
        )
    return Promotion(project, version, {name: there[name] for name in wanted if name in there}, wanted)


def promote(source: Shelf, target: Shelf, promotion: Promotion) -> None:
    """Push the release, and make sure that all of it has arrived."""
    with target.permitted("Promoting a release"):
        source.client.push(source.name, promotion.project, promotion.version, target.name)
    target.forget()
    there = _files(target.releases(promotion.project).get(promotion.version, []))
    lost = sorted(name for name, sha256 in promotion.after.items() if not _equal(sha256, there.get(name)))
    if lost:
        raise DevpiError(f"After the push {target.name} does not have what {source.name} has: {', '.join(lost)}")


def _release(shelf: Shelf, project: str, version: str) -> list[Link]:
    releases = shelf.releases(project)
    links = releases.get(version, [])
    if not any(link.rel in (RELEASE_FILE, DOCUMENTATION) for link in links):
        have = f"It has {', '.join(sorted(releases))}" if releases else "It does not have the project at all"
        raise NotFoundError(f"{shelf.name} has no release {project} {version}. {have}")
    return links


def _files(links: Iterable[Link]) -> dict[str, str]:
    return {link.basename: link.sha256 for link in links if link.rel in (RELEASE_FILE, DOCUMENTATION)}


def _equal(one: str, other: str | None) -> bool:
    """Return whether two hashes say the same content; a mirror may not know one, then the name has to do."""
    return other is not None and (one == other or "" in (one, other))


# -- removal


@dataclass(frozen=True)
class Removal:
    """What goes: the whole release, or one file of it."""

    project: str
    version: str
    names: list[str]
    file: Link | None = None


def plan_removal(shelf: Shelf, project: str, version: str, filename: str, force: bool) -> Removal | None:
    """Return what is to be removed, None when it is not there; ConflictError when devpi would refuse it."""
    version = _spelled(shelf, project, version)
    if version not in shelf.releases(project):
        return None
    links = shelf.releases(project)[version]
    file = next((link for link in links if link.basename == filename), None)
    if filename and not file:
        return None
    if not shelf.volatile and not force:
        raise ConflictError(
            f"{shelf.name} is non-volatile: devpi does not remove {filename or f'{project} {version}'} from it. "
            "Give force: true if it has to go all the same"
        )
    names = [filename] if filename else sorted(link.basename for link in links)
    return Removal(project, version, names, file)


def remove(shelf: Shelf, removal: Removal, force: bool) -> None:
    """Remove it."""
    with shelf.permitted("Removing releases"):
        if removal.file:
            shelf.client.delete_file(removal.file, force)
        else:
            shelf.client.delete_release(shelf.name, removal.project, removal.version, force)


def _spelled(shelf: Shelf, project: str, version: str) -> str:
    """Return *version* as the index spells it: 1.0 and 1.0.0 are the same (PEP 440)."""
    have = shelf.releases(project)
    same = [one for one in have if disk.normalize_version(one) == disk.normalize_version(version)]
    return version if version in have or not same else same[0]
