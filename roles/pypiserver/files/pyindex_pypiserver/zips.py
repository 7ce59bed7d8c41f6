"""Reads zip archives that every reader takes for the same: wheels, and source distributions as zip.

A zip archive says everything twice, before each member and in a table of contents at its end, and
programs differ in what they believe. Installers are such programs, so only an archive that leaves
nothing to believe is accepted: both say the same, member follows member without a gap, and nothing
stands before, between or behind them. The public index asks for the same. (APPNOTE.TXT of PKWARE.)
"""

from __future__ import annotations

import io
import struct
import zlib
from operator import attrgetter
from typing import IO, TYPE_CHECKING, Final, NamedTuple

from .archives import CHUNK, MAX_MEMBERS, ArchiveError, check_member, expanded_limit, shorten

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_DIRECTORY_BYTES: Final = 16 * 2**20

_STORED: Final = 0
_DEFLATED: Final = 8
# The bytes that nothing takes when it is deflated
_DEFLATED_NOTHING: Final = 2
_ENCRYPTED: Final = 0x1
# How hard it was compressed, and that the name is UTF-8: nothing that changes how it is read
_HINTS: Final = 0x6
_UTF_8: Final = 0x800
_STREAMED: Final = 0x8

# Signature, versions, flags, method, time and date, checksum, sizes, lengths of name and extra fields
_LOCAL: Final = struct.Struct("<4s2xHH4xLLLHH")
_LOCAL_MAGIC: Final = b"PK\x03\x04"
# The same, then length of the comment, number of the disk, attributes, offset
_CENTRAL: Final = struct.Struct("<4s4xHH4xLLLHHHH6xL")
_CENTRAL_MAGIC: Final = b"PK\x01\x02"
# Numbers of two disks, number of members on this one and of all, length and offset of the table, length of the comment
_END: Final = struct.Struct("<4sHHHHLLH")
_END_MAGIC: Final = b"PK\x05\x06"
_END_64: Final = struct.Struct("<4sQ4xLLQQQQ")
_LOCATOR_64: Final = struct.Struct("<4sLQL")
_EXTRA: Final = struct.Struct("<HH")
_ZIP_64: Final = 0x0001
_OTHER_NAME: Final = 0x7075
_MANY: Final = 0xFFFF
_LARGE: Final = 0xFFFFFFFF


class Member(NamedTuple):
    """One member as the table of contents has it; ``data`` is where its content begins."""

    name: str
    raw_name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int
    data: int

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder: its name says so."""
        return self.name.endswith("/")


class Zip:
    """The archive in the seekable *file*. Raises ArchiveError for one that can be read in two ways."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        size = file.seek(0, io.SEEK_END)
        listed, start = self._read_table(size)
        self.members: dict[str, Member] = {}
        position = expanded = 0
        for found in sorted(listed, key=attrgetter("offset")):
            member = self._placed(found, position)
            position = member.data + member.packed
            expanded += member.size
            if position > start:
                raise ArchiveError(f"is damaged or truncated: {shorten(member.name)} reaches beyond its place")
            # Where a path is written with the other slash too
            name = member.name.replace("\\", "/")
            if name in self.members:
                raise ArchiveError(f"has the member {shorten(name)} twice")
            self.members[name] = member
        if position != start:
            raise ArchiveError("has something between its members and its table of contents")
        if expanded > expanded_limit(size):
            raise ArchiveError(f"grows beyond what it may when unpacked: to {expanded} bytes, from {size}")

    def read(self, member: Member, limit: int) -> bytes:
        """Return the content of *member*; raise ArchiveError if it is over *limit* bytes."""
        if member.size > limit:
            raise ArchiveError(f"has a {shorten(member.name)} of over {limit} bytes")
        pieces: list[bytes] = []
        self.stream(member, pieces.append)
        return b"".join(pieces)

    def stream(self, member: Member, take: Callable[[bytes], object]) -> None:
        """Give the content of *member* to *take*, piece by piece; raise ArchiveError if it is not as it should be."""
        file, left, size, crc = self._file, member.packed, 0, 0
        file.seek(member.data)
        inflate = zlib.decompressobj(-zlib.MAX_WBITS) if member.method == _DEFLATED else None
        packed = b""
        while left or packed:
            if not packed:
                packed = file.read(min(left, CHUNK))
                left -= len(packed)
                if not packed:
                    raise EOFError("the archive ends early")
            if inflate is None:
                data, packed = packed, b""
            else:
                data = inflate.decompress(packed, CHUNK)
                packed = inflate.unconsumed_tail
                if inflate.eof and (packed or left or inflate.unused_data):
                    raise ArchiveError(f"is damaged: {shorten(member.name)} has something behind its end")
            size += len(data)
            if size > member.size:
                break
            crc = zlib.crc32(data, crc)
            take(data)
        if inflate is not None and size < member.size:
            # What it holds back when the last input came with much output
            data = inflate.decompress(b"", member.size - size + 1)
            size += len(data)
            crc = zlib.crc32(data, crc)
            take(data)
        if size != member.size or (inflate is not None and not inflate.eof):
            raise ArchiveError(f"is damaged: {shorten(member.name)} has another size than it should")
        if crc != member.crc:
            raise ArchiveError(f"is damaged: {shorten(member.name)} has another checksum (CRC-32) than it should")

    def _read_table(self, size: int) -> tuple[list[Member], int]:
        """Return what the table of contents lists, and where it starts."""
        tail_start = max(0, size - _END.size - _LOCATOR_64.size - _END_64.size)
        self._file.seek(tail_start)
        tail = self._file.read()
        end = len(tail) - _END.size
        if end < 0 or tail[end:][:4] != _END_MAGIC:
            if self._ends_with_comment(size):
                raise ArchiveError("has a comment, which can hide something from some readers")
            raise ArchiveError("is damaged or truncated: it does not end with its table of contents")
        _magic, disk, first_disk, here, count, length, start, comment = _END.unpack_from(tail, end)
        claimed = (disk, first_disk, here, count, length, start)
        stop = size - _END.size
        locator = tail[max(0, end - _LOCATOR_64.size) : end]
        if locator[:4] == b"PK\x06\x07":
            stop -= _LOCATOR_64.size + _END_64.size
            real = _end_64(tail, locator, stop)
            if any(old not in (new, limit) for old, new, limit in zip(claimed, real, _LIMITS, strict=True)):
                raise ArchiveError("is damaged: its two ends say different things")
            disk, first_disk, here, count, length, start = real
        if (disk, first_disk, here, comment) != (0, 0, count, 0) or start + length != stop:
            raise ArchiveError("is damaged or truncated: its table of contents is not where it should be")
        if length > MAX_DIRECTORY_BYTES or count > MAX_MEMBERS:
            raise ArchiveError(f"has more than {MAX_MEMBERS} members or too large a table of contents")
        self._file.seek(start)
        return _members(self._file.read(length), count), start

    def _ends_with_comment(self, size: int) -> bool:
        self._file.seek(max(0, size - _END.size - _MANY))
        tail = self._file.read()
        place = tail.rfind(_END_MAGIC, 0, len(tail) - _END.size + len(_END_MAGIC))
        return place >= 0 and place + _END.size + _END.unpack_from(tail, place)[-1] == len(tail)

    def _placed(self, member: Member, position: int) -> Member:
        """Return *member* with the place of its content; what stands there has to say the same of it."""
        if member.offset != position:
            raise ArchiveError(f"has something before {shorten(member.name)} that is in no table of contents")
        self._file.seek(position)
        header = self._file.read(_LOCAL.size)
        if len(header) < _LOCAL.size or header[:4] != _LOCAL_MAGIC:
            raise ArchiveError(f"is damaged or truncated: {shorten(member.name)} is not where it should be")
        _magic, flags, method, crc, packed, size, name_length, extra_length = _LOCAL.unpack(header)
        rest = self._file.read(name_length + extra_length)
        if extra_length:
            real = _extra(rest[name_length:], 16 if _LARGE in (size, packed) else None)
            if (size, packed) == (_LARGE, _LARGE):
                size, packed = real
            elif real and real != [size, packed]:
                raise ArchiveError(f"is damaged: {shorten(member.name)} has several sizes")
        said = (rest[:name_length], flags, method, crc, packed, size)
        if said != (member.raw_name, member.flags, member.method, member.crc, member.packed, member.size):
            raise ArchiveError(
                f"is damaged: before {shorten(member.name)} stands something else than in the table of contents"
            )
        return member._replace(data=position + _LOCAL.size + name_length + extra_length)


_LIMITS: Final = (_MANY, _MANY, _MANY, _MANY, _LARGE, _LARGE)


def _end_64(tail: bytes, locator: bytes, place: int) -> tuple[int, int, int, int, int, int]:
    """Return what the end of a large archive says, which has to stand at *place*."""
    end = len(tail) - _END.size - _LOCATOR_64.size
    record = tail[max(0, end - _END_64.size) : end]
    if len(record) < _END_64.size:
        raise ArchiveError("is damaged or truncated: its end is missing")
    _magic, disk, offset, disks = _LOCATOR_64.unpack(locator)
    magic, size, own_disk, first_disk, here, count, length, start = _END_64.unpack(record)
    if (disk, offset, disks, magic, size) != (0, place, 1, b"PK\x06\x06", _END_64.size - 12):
        raise ArchiveError("is damaged: its end is not where it should be")
    return own_disk, first_disk, here, count, length, start


def _members(table: bytes, count: int) -> list[Member]:
    """Return the *count* members that the *table* lists; raise ArchiveError for what no distribution needs."""
    found = []
    position, end = 0, len(table)
    for _unused in range(count):
        if end - position < _CENTRAL.size or table[position : position + 4] != _CENTRAL_MAGIC:
            raise ArchiveError("is damaged: its table of contents is none")
        (_magic, flags, method, crc, packed, size, name_length, extra_length, comment_length, disk, offset) = (
            _CENTRAL.unpack_from(table, position)
        )
        position += _CENTRAL.size
        raw_name = table[position : position + name_length]
        extra = table[position + name_length : position + name_length + extra_length]
        position += name_length + extra_length
        name = _name(raw_name, flags)
        if comment_length or disk:
            raise ArchiveError(f"has a comment on {shorten(name)}, or several volumes")
        if extra:
            size, packed, offset = _wide(extra, (size, packed, offset))
        member = Member(name, raw_name, flags, method, crc, packed, size, offset, 0)
        _check(member)
        found.append(member)
    if position != end:
        raise ArchiveError("is damaged: its table of contents has another length than its entries")
    return found


def _name(raw: bytes, flags: int) -> str:
    try:
        # Without the flag, each system has its own idea of what is not ASCII
        name = raw.decode("utf-8" if flags & _UTF_8 else "ascii")
    except UnicodeDecodeError:
        raise ArchiveError(f"has a member whose name is no UTF-8: {shorten(raw.decode('latin-1'))}") from None
    check_member(name)
    return name


def _check(member: Member) -> None:
    if member.flags & _ENCRYPTED:
        raise ArchiveError(f"cannot be read: {shorten(member.name)} is encrypted")
    if member.flags & _STREAMED:
        raise ArchiveError(
            f"was written as a stream ({shorten(member.name)} has a data descriptor), which the public index refuses too"
        )
    if member.flags & ~(_HINTS | _UTF_8) or member.method not in (_STORED, _DEFLATED):
        raise ArchiveError(f"cannot be read: {shorten(member.name)} is neither stored nor deflated")
    if member.method == _STORED and member.packed != member.size:
        raise ArchiveError(f"is damaged: {shorten(member.name)} has two sizes")
    if member.is_folder and (member.size or member.packed > _DEFLATED_NOTHING):
        raise ArchiveError(f"is damaged: {shorten(member.name)} is a folder with content")


def _wide(extra: bytes, values: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return *values* of the table of contents, those that had no room taken from the *extra* fields."""
    missing = [index for index, value in enumerate(values) if value == _LARGE]
    real = _extra(extra, len(missing) * 8 or None)
    if not missing:
        # Some programs say both sizes there in any case
        if real and real != list(values[:2]):
            raise ArchiveError("is damaged: a member has several sizes")
        return values
    found = list(values)
    for index, value in zip(missing, real, strict=True):
        found[index] = value
    return found[0], found[1], found[2]


def _extra(extra: bytes, length: int | None) -> list[int]:
    """Return the numbers that the *extra* fields hold for want of room: *length* bytes, or none or 16 (None)."""
    numbers: list[int] | None = None
    while extra:
        if len(extra) < _EXTRA.size:
            raise ArchiveError("is damaged: an extra field breaks off")
        kind, size = _EXTRA.unpack_from(extra)
        content, extra = extra[_EXTRA.size : _EXTRA.size + size], extra[_EXTRA.size + size :]
        if len(content) < size:
            raise ArchiveError("is damaged: an extra field breaks off")
        if kind == _OTHER_NAME:
            raise ArchiveError("has a member with two names")
        if kind == _ZIP_64:
            if numbers is not None or size not in ((0, 16) if length is None else (length,)):
                raise ArchiveError("is damaged: a member has several sizes")
            numbers = list(struct.unpack(f"<{size // 8}Q", content))
    if length and numbers is None:
        raise ArchiveError("is damaged: a member has no size")
    return numbers or []
