"""Is a wheel what it says of itself? Its RECORD names each file with its digest and size (PEP 376, PEP 427).

Installers are to refuse a wheel with a file that is not in RECORD or is not as RECORD says; few do.
So what is published here is looked at once, for all of them.
"""

from __future__ import annotations

import base64
import bisect
import csv
import hashlib
import io
from typing import TYPE_CHECKING, Final, NamedTuple

from .archives import MAX_METADATA_BYTES, ArchiveError, shorten
from .zips import Zip

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import IO

    from .zips import Member

MAX_RECORD_BYTES: Final = 16 * 2**20
# "sha256 or better": what hashlib has everywhere
_DIGESTS: Final = {
    name: getattr(hashlib, name)
    for name in ("sha256", "sha384", "sha512", "sha3_256", "sha3_384", "sha3_512", "blake2b", "blake2s")
}
# They sign RECORD, so it cannot name them
_SIGNATURES: Final = ("RECORD.jws", "RECORD.p7s")


class Wheel(NamedTuple):
    """The folder ``.dist-info`` of a wheel, and the METADATA in it."""

    folder: str
    metadata: bytes


class _Claim(NamedTuple):
    """What RECORD says of a file; '' where it says nothing."""

    digest: str
    size: str


def read_wheel(file: IO[bytes]) -> Wheel:
    """Read all of the wheel *file* and return its metadata; raise ArchiveError where it is not what RECORD says."""
    archive = Zip(file)
    folder, found = _dist_info(archive.members)
    for needed in ("METADATA", "WHEEL", "RECORD"):
        if needed not in found:
            raise ArchiveError(f"has no file {needed} in {shorten(folder)}")
    metadata = archive.read(found["METADATA"], MAX_METADATA_BYTES)
    claims = _claims(archive.read(found["RECORD"], MAX_RECORD_BYTES))
    exempt = {f"{folder}/{name}" for name in ("RECORD", *_SIGNATURES)}
    lacking = claims.keys() - archive.members.keys() - exempt
    if lacking:
        # Some programs name folders too
        lacking = _without_folders(lacking, archive.members)
    if lacking:
        raise ArchiveError(f"lacks {shorten(min(lacking))}, which its RECORD names")
    for path, member in archive.members.items():
        if path in exempt:
            archive.stream(member, _nothing)
        elif path in claims:
            _compare(archive, member, claims[path])
        elif not member.is_folder:
            raise ArchiveError(f"has {shorten(path)}, which its RECORD does not name")
    return Wheel(folder, metadata)


def _without_folders(paths: Iterable[str], members: Iterable[str]) -> set[str]:
    """Return *paths* without those of folders that *members* are in."""
    in_order = [*sorted(members), ""]
    found = set()
    for path in paths:
        prefix = f"{path.removesuffix('/')}/"
        if not in_order[bisect.bisect_left(in_order, prefix, hi=len(in_order) - 1)].startswith(prefix):
            found.add(path)
    return found


def _dist_info(members: Mapping[str, Member]) -> tuple[str, dict[str, Member]]:
    """Return the folder ``.dist-info`` among *members*, and the files in it by their names."""
    folders = {folder for path in members if (folder := path.partition("/")[0]).endswith(".dist-info")}
    if len(folders) != 1:
        raise ArchiveError(f"has {len(folders)} folders .dist-info, not one")
    folder = folders.pop()
    prefix = f"{folder}/"
    return folder, {path.removeprefix(prefix): member for path, member in members.items() if path.startswith(prefix)}


def _claims(record: bytes) -> dict[str, _Claim]:
    """Return what the file *record* says of each path."""
    claims: dict[str, _Claim] = {}
    try:
        # With a byte order mark, or without
        for row in csv.reader(io.StringIO(record.decode("utf-8-sig"), newline=""), strict=True):
            if not row:
                continue
            path, digest, size = row
            # As Windows wrote them
            path, claim = path.replace("\\", "/"), _Claim(digest, size)
            if claims.setdefault(path, claim) != claim:
                raise ArchiveError(f"has a RECORD that says two things of {shorten(path)}")
    except ArchiveError:
        raise
    except (ValueError, csv.Error):
        raise ArchiveError("has a RECORD that is no list of path, digest and size (CSV in UTF-8)") from None
    return claims


def _compare(archive: Zip, member: Member, claim: _Claim) -> None:
    """Read *member*, and compare it with what RECORD says of it."""
    if claim.size and claim.size != str(member.size):
        raise ArchiveError(
            f"has a RECORD that says {shorten(claim.size)} bytes of {shorten(member.name)}, which has {member.size}"
        )
    if not claim.digest:
        archive.stream(member, _nothing)
        return
    algorithm, _unused, claimed = claim.digest.partition("=")
    if algorithm not in _DIGESTS:
        raise ArchiveError(f"has a RECORD whose digest of {shorten(member.name)} is no sha256 or better")
    digest = _DIGESTS[algorithm]()
    archive.stream(member, digest.update)
    found = digest.digest()
    # In hexadecimal, as some widely used builders wrote it
    if claimed.rstrip("=") != base64.urlsafe_b64encode(found).decode().rstrip("=") and claimed.lower() != found.hex():
        raise ArchiveError(f"has a RECORD whose digest of {shorten(member.name)} is not that of the file")


def _nothing(_unused: bytes) -> None:
    """Take what is read only to find damage."""
