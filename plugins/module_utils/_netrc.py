# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One login in a person's netrc file, with everything else in that file kept byte for byte.

The file is read by pip and twine (Python's netrc module), by uv and by curl, and these do not agree on quoting. What
all of them read alike, tried with Python 3.11, curl 7.88 and uv 0.13 and read in the source of Python 3.9: an unquoted
word of printable ASCII without a backslash that begins with neither ``"`` nor ``#``. Nothing else is written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

BEGIN = "# BEGIN pyindex.fleet: managed by Ansible, changes between these two lines are overwritten\n"
END = "# END pyindex.fleet\n"

_BLOCK = re.compile(r"^# BEGIN pyindex\.fleet[^\n]*\n.*?^# END pyindex\.fleet[^\n]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_STRAY_MARKER = re.compile(r"^# (?:BEGIN|END) pyindex\.fleet[^\n]*(?:\n|\Z)", re.MULTILINE)
_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"?|(?:\\.|[^\s\\])+|\\', re.DOTALL)
_SPACE = re.compile(r"[ \t\r\n]*")
_REST_OF_LINE = re.compile(r"[^\n]*\n?")


class NetrcError(ValueError):
    """The file is not a netrc; the message names the line and never quotes it (it may hold a password)."""


@dataclass(frozen=True)
class Entry:
    """One login: the machine ('' for ``default``), where its text begins and ends, and where its secrets stand."""

    machine: str
    start: int
    end: int
    secrets: tuple[tuple[int, int], ...]


def unsafe(word: str) -> str:
    """Say why a login or a password cannot be written so that every tool reads it alike ('' if it can)."""
    if not word:
        return "is empty"
    if any(character.isspace() for character in word):
        return "contains white space"
    if not all("!" <= character <= "~" for character in word):
        return "contains a character that is not printable ASCII"
    if "\\" in word:
        return "contains a backslash"
    if word[0] in '"#':
        return "begins with " + word[0]
    return ""


def entries(text: str) -> list[Entry]:
    """Return the logins of a netrc file in their order; NetrcError if it is none."""
    return _Reader(text).read()


def merge(existing: bytes, machines: list[str], login: str, password: str) -> bytes:
    """Return the file with this login for these machines, and with every other line as it was.

    The block stands first: curl stops at ``default``, so nothing after that word would ever be found. Entries of the
    same machines elsewhere in the file are taken out, since the tools differ in which of two they take.
    """
    rest = _without_machines(_without_block(existing.decode("latin-1")), machines)
    block = "".join(f"machine {machine}\n  login {login}\n  password {password}\n" for machine in machines)
    return (BEGIN + block + END + rest).encode("latin-1")


def unmerge(current: bytes, original: bytes, machines: list[str]) -> bytes:
    """Return the file without our block, with the original entries of these machines back in it."""
    before = original.decode("latin-1")
    back = "".join(before[entry.start : entry.end] + "\n" for entry in entries(before) if entry.machine in machines)
    return (back + _without_block(current.decode("latin-1"))).encode("latin-1")


def redact(text: str) -> str:
    """Return the text with passwords and accounts replaced; all of it if it cannot be read."""
    try:
        found = entries(text)
    except NetrcError:
        return "(not shown: this is not a netrc file)\n"
    for start, end in sorted((span for entry in found for span in entry.secrets), reverse=True):
        text = text[:start] + "********" + text[end:]
    return text


def _without_block(text: str) -> str:
    return _STRAY_MARKER.sub("", _BLOCK.sub("", text))


def _without_machines(text: str, machines: list[str]) -> str:
    for entry in reversed(entries(text)):
        if entry.machine in machines:
            start, end = entry.start, entry.end
            line_start = text.rfind("\n", 0, start) + 1
            rest = _REST_OF_LINE.match(text, end)
            if not text[line_start:start].strip() and rest and not rest.group().strip():
                start, end = line_start, rest.end()
            text = text[:start] + text[end:]
    return text


class _Reader:
    """Reads the words of a netrc as Python's netrc module does, and remembers where they stood."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    def read(self) -> list[Entry]:
        found: list[Entry] = []
        while True:
            start, end = self._word()
            word = self.text[start:end]
            if not word:
                return found
            if word == "machine":
                name_start, name_end = self._value(start, "machine")
                found.append(self._entry(self.text[name_start:name_end].strip('"'), start, name_end))
            elif word == "default":
                found.append(self._entry("", start, end))
            elif word == "macdef":
                self._skip_macro()
            else:
                raise NetrcError(f"line {self._line(start)}: only machine, default or macdef may stand here")

    def _entry(self, machine: str, start: int, end: int) -> Entry:
        secrets: list[tuple[int, int]] = []
        while True:
            before = self.position
            word_start, word_end = self._word()
            word = self.text[word_start:word_end]
            if word in ("", "machine", "default", "macdef"):
                self.position = before
                return Entry(machine, start, end, tuple(secrets))
            if word not in ("login", "user", "account", "password"):
                line = self._line(word_start)
                raise NetrcError(f"line {line}: only login, password, account or the next machine may stand here")
            value_start, end = self._value(word_start, word)
            if word in ("account", "password"):
                secrets.append((value_start, end))

    def _word(self) -> tuple[int, int]:
        """Move over white space and comments and then over one word; return where it begins and ends."""
        while True:
            start, end = self._raw()
            if start == end or self.text[start] != "#":
                return start, end
            line = _REST_OF_LINE.match(self.text, start)
            self.position = line.end() if line else len(self.text)

    def _value(self, keyword: int, name: str) -> tuple[int, int]:
        start, end = self._raw()
        if start == end:
            raise NetrcError(f"line {self._line(keyword)}: nothing follows the word {name}")
        return start, end

    def _raw(self) -> tuple[int, int]:
        space = _SPACE.match(self.text, self.position)
        start = space.end() if space else self.position
        token = _TOKEN.match(self.text, start)
        self.position = token.end() if token else start
        return start, self.position

    def _skip_macro(self) -> None:
        """A macro lasts until the first empty line."""
        line = _REST_OF_LINE.match(self.text, self.position)
        while line and line.group():
            self.position = line.end()
            line = _REST_OF_LINE.match(self.text, self.position)
            if line and line.group() in ("\n", "\r\n"):
                return

    def _line(self, position: int) -> int:
        return self.text.count("\n", 0, position) + 1
