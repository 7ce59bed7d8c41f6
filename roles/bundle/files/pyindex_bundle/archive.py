"""The archive: an uncompressed tar file (what it holds is compressed) that begins with its manifest.

The same content always makes the same bytes: members are sorted and have no time and no owner.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from . import digests
from .errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"

# What is said of a set, by its kind
_LISTS: Final = {"wheels": ["made_for"], "seed": ["requirements", "pythons"], "packages": ["packages", "made_for"]}

_HINT: Final = "Copy it again, or make it anew with playbooks/build_bundle.yml."


@dataclass(frozen=True)
class Manifest:
    """What a bundle says of itself: *files* maps names to size and SHA-256, *sets* says what each folder is for."""

    sets: dict[str, dict[str, Any]]
    files: dict[str, dict[str, Any]]

    def text(self) -> str:
        """Return it as JSON, always in the same order, with a checksum of all the rest."""
        content = {"format": FORMAT, "sets": self.sets, "files": self.files}
        checksum = digests.of_text(json.dumps(content, sort_keys=True))
        return json.dumps({**content, "checksum": checksum}, indent=1, sort_keys=True) + "\n"

    def below(self, folders: Collection[str]) -> dict[str, dict[str, Any]]:
        """Return the files in any of *folders*."""
        return {name: entry for name, entry in self.files.items() if str(PurePosixPath(name).parent) in folders}

    def digests_in(self, folder: str) -> dict[str, str]:
        """Return the SHA-256 of each file in *folder* by its name there."""
        return {PurePosixPath(name).name: entry["sha256"] for name, entry in self.below([folder]).items()}


def describe(tree: Path, sets: dict[str, dict[str, Any]]) -> Manifest:
    """Return the manifest of the folders of *tree* that *sets* names."""
    files = {
        f"{folder}/{path.name}": {"sha256": digests.of_file(path), "size": path.stat().st_size}
        for folder in sorted(sets)
        for path in sorted((tree / folder).glob("*"))
    }
    return Manifest(sets, files)


def write(tree: Path, manifest: Manifest, path: Path) -> bool:
    """Make *path* the archive of *manifest* with its files from *tree*; return whether it was another before."""
    if path.exists():
        try:
            if verify(path) == manifest:
                return False
        except BundleError:
            pass  # It is made anew
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.new")
    with tarfile.open(new, "w", format=tarfile.GNU_FORMAT) as archive:
        text = manifest.text().encode()
        archive.addfile(_member(MANIFEST, len(text)), io.BytesIO(text))
        for name in sorted(manifest.files):
            with (tree / name).open("rb") as file:
                archive.addfile(_member(name, manifest.files[name]["size"]), file)
    new.replace(path)
    return True


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = size
    return member


def verify(path: Path) -> Manifest:
    """Return the manifest of the archive *path*, of which each byte is as it was made.

    Raises BundleError, which names each file that is damaged or missing.
    """
    problems: list[str] = []
    try:
        with tarfile.open(path, "r:") as archive:
            manifest = _manifest(archive)
            seen = set()
            for member in archive.getmembers()[1:]:
                entry = manifest.files.get(member.name)
                content = archive.extractfile(member) if member.isreg() else None
                if entry is None or content is None:
                    problems.append(f"{member.name} does not belong to it")
                elif digests.of_stream(content) != entry["sha256"] or not _as_written(archive, member):
                    problems.append(f"{member.name} is damaged")
                seen.add(member.name)
            problems += [f"{name} is missing" for name in sorted(set(manifest.files) - seen)]
            if not problems and _rest(archive).strip(b"\0"):
                problems.append("there is something behind its last file")
    except (OSError, tarfile.TarError, EOFError) as error:
        raise BundleError(f"{path} cannot be read as a bundle: {error}. {_HINT}") from None
    if problems:
        raise BundleError(f"{path} is not as it was made: {'; '.join(problems)}. {_HINT}")
    return manifest


def _manifest(archive: tarfile.TarFile) -> Manifest:
    first = archive.next()
    content = archive.extractfile(first) if first and first.name == MANIFEST else None
    if first is None or content is None or not _as_written(archive, first):
        raise BundleError(f"{archive.name!s} is no bundle: it does not begin with a {MANIFEST}. {_HINT}")
    try:
        text = content.read().decode()
        data = json.loads(text)
        if data["format"] != FORMAT:
            raise BundleError(
                f"{archive.name!s} is a bundle of format {data['format']}, and this version of the collection reads "
                f"{FORMAT}: make it with the version that deploys from it."
            )
        manifest = Manifest(data["sets"], data["files"])
        if manifest.text() == text and all(_sets(manifest)) and all(_files(manifest)):
            return manifest
    except (ValueError, LookupError, TypeError, AttributeError):
        pass  # The same as one that says something else
    raise BundleError(f"{archive.name!s} is not as it was made: {MANIFEST} is damaged. {_HINT}")


def _sets(manifest: Manifest) -> Iterator[bool]:
    """Say of each set whether it is one that `collect` makes."""
    for name, entry in manifest.sets.items():
        yield not {"", ".", ".."} & set(name.split("/"))
        for key in _LISTS[entry["kind"]]:
            yield isinstance(entry[key], list) and all(isinstance(item, str) for item in entry[key])


def _files(manifest: Manifest) -> Iterator[bool]:
    """Say of each file whether it is one of a set, and directly in its folder."""
    for name, entry in manifest.files.items():
        folder, _slash, file = name.rpartition("/")
        yield folder in manifest.sets and file not in {"", ".", ".."}
        yield isinstance(entry["size"], int) and isinstance(entry["sha256"], str)


def _as_written(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bool:
    """Return whether all around the content of *member* is as `write` makes it."""
    file = archive.fileobj
    if file is None:
        return False
    file.seek(member.offset)
    header = file.read(member.offset_data - member.offset)
    file.seek(member.offset_data + member.size)
    padding = file.read(-member.size % tarfile.BLOCKSIZE)
    return header == _member(member.name, member.size).tobuf(tarfile.GNU_FORMAT) and not padding.strip(b"\0")


def _rest(archive: tarfile.TarFile) -> bytes:
    """Return what follows the last member: zeros, where a damaged header has not hidden what comes after it."""
    file = archive.fileobj
    if file is None:
        return b""
    file.seek(archive.offset)
    return bytes(file.read(2**16))


def extract(path: Path, folders: Collection[str], folder: Path) -> bool:
    """Make the files of the archive below *folders* those in *folder*, by their names; return whether any was not there.

    What is there and is no longer in the archive goes.
    """
    with tarfile.open(path, "r:") as archive:
        wanted = {PurePosixPath(name).name: name for name in _manifest(archive).below(folders)}
        folder.mkdir(parents=True, exist_ok=True)
        stale = [path for path in folder.iterdir() if path.name not in wanted]
        missing = {name: member for name, member in wanted.items() if not _same(archive, member, folder / name)}
        for file in stale:
            file.unlink()
        for name, member in missing.items():
            content = archive.extractfile(member)
            if content is not None:
                _copy(content, folder / name)
    return bool(stale or missing)


def _same(archive: tarfile.TarFile, member: str, path: Path) -> bool:
    content = archive.extractfile(member)
    return path.is_file() and content is not None and digests.of_stream(content) == digests.of_file(path)


def _copy(content: Any, path: Path) -> None:
    with path.with_name(f"{path.name}.new").open("wb") as file:
        while chunk := content.read(2**20):
            file.write(chunk)
    path.with_name(f"{path.name}.new").replace(path)


def part(path: Path, folders: Collection[str], output: Path) -> None:
    """Write an archive *output* of all files of the bundle *path* below *folders*, for one host.

    It names their folders too: those would have the mode that the umask on the host leaves them.
    """
    with tarfile.open(path, "r:") as archive, tarfile.open(output, "w", format=tarfile.GNU_FORMAT) as smaller:
        wanted = _manifest(archive).below(folders)
        parents = {str(parent) for name in wanted for parent in PurePosixPath(name).parents[:-1]}
        for name in sorted(parents):
            smaller.addfile(_folder(name))
        for member in (member for member in archive if member.name in wanted):
            smaller.addfile(_member(member.name, member.size), archive.extractfile(member))
    os.chmod(output, 0o600)  # noqa: PTH101 - the same as Path.chmod


def _folder(name: str) -> tarfile.TarInfo:
    folder = tarfile.TarInfo(name)
    folder.type, folder.mode = tarfile.DIRTYPE, 0o755
    return folder
