# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One repository in a person's .pypirc, with everything else in that file kept byte for byte.

The format is that of the Python Packaging User Guide ("The .pypirc file"); twine reads it with configparser.
"""

from __future__ import annotations

import configparser
import re

MARKER = "# Managed by Ansible (pyindex.fleet): changes in this section are overwritten\n"

_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_HEADER = re.compile(r"\[(.+)\]")
_SERVERS = re.compile(r"index-servers\s*[=:]", re.IGNORECASE)
_SECRET = re.compile(r"(?im)^([^\n=:#;\[]*(?:password|token|secret)[^\n=:]*[=:])[^\n]*(?:\n[ \t]+[^\n]*)*")


class PypircError(ValueError):
    """The file is not a .pypirc; the message names the line and never quotes it (it may hold a password)."""


def merge(existing: bytes, repository: str, options: dict[str, str]) -> bytes:
    """Return the file with this section, listed in ``index-servers``, and with every other line as it was.

    Sections that an earlier run wrote under another name go. twine reads ``pypi`` and ``testpypi`` without a list, and
    only what is listed once there is one: a new list therefore names those of them that the file has.
    """
    text = existing.decode("latin-1")
    before = _parse(text)
    file = _File(text)
    gone = [name for name in file.marked() if name != repository]
    for name in gone:
        file.remove(name)
        file.unlist(name)
    file.put(repository, [MARKER, *(f"{key} = {value}\n" for key, value in options.items())])
    if repository not in _listed(before):
        file.enlist(repository, [name for name in ("pypi", "testpypi") if before.has_section(name)])
    merged = file.text()
    _check(before, _parse(merged), repository, options, gone)
    return merged.encode("latin-1")


def unmerge(current: bytes, original: bytes, repositories: list[str]) -> bytes:
    """Return the file without our sections, with the original sections of these names back in it."""
    text, original_text = current.decode("latin-1"), original.decode("latin-1")
    _parse(text)
    before = _parse(original_text)
    file, first = _File(text), _File(original_text)
    for name in repositories:
        if before.has_section(name):
            file.put(name, first.body(name))
        else:
            file.remove(name)
        if name not in _listed(before):
            file.unlist(name)
    if not before.has_option("distutils", "index-servers"):
        file.drop_list()
    return file.text().encode("latin-1")


def redact(text: str) -> str:
    """Return the text with passwords, tokens and logins inside of URLs replaced."""
    return _SECRET.sub(r"\1 ********", text)


def _parse(text: str) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text.replace("\r\n", "\n"))
    except configparser.Error as error:
        lines = [number for number, _line in getattr(error, "errors", [])] or [getattr(error, "lineno", None)]
        where = f"line {lines[0]}: " if lines[0] else ""
        raise PypircError(f"{where}{_REASONS.get(type(error).__name__, 'this is no section and no option')}") from None
    return parser


_REASONS = {
    "MissingSectionHeaderError": "no [section] stands before the first option",
    "DuplicateSectionError": "a [section] stands twice",
    "DuplicateOptionError": "an option stands twice in its section",
}


def _listed(parser: configparser.RawConfigParser) -> list[str]:
    if not parser.has_option("distutils", "index-servers"):
        return []
    return parser.get("distutils", "index-servers").split()


def _check(
    before: configparser.RawConfigParser,
    after: configparser.RawConfigParser,
    repository: str,
    options: dict[str, str],
    gone: list[str],
) -> None:
    """Hold the edited text to what it must say: ours is in it, and nobody else's section has changed."""
    ours = {repository, "distutils", *gone}
    kept = all(
        name in ours or (after.has_section(name) and after.items(name) == before.items(name))
        for name in before.sections()
    )
    listed = set(_listed(after)) >= {*_listed(before), repository} - set(gone)
    written = after.has_section(repository) and all(
        after.get(repository, key, fallback="") == value for key, value in options.items()
    )
    if not (kept and listed and written):
        raise PypircError("its layout is one that this module cannot edit safely; write it in the usual form")


class _File:
    """The lines of the file by section; the first section ('') is what stands before any header."""

    def __init__(self, text: str) -> None:
        self.sections: list[tuple[str, list[str]]] = [("", [])]
        for line in _LINE.findall(text):
            header = _HEADER.match(line)
            if header:
                self.sections.append((header.group(1), [line]))
            else:
                self.sections[-1][1].append(line)

    def text(self) -> str:
        return "".join(line for _name, lines in self.sections for line in lines)

    def marked(self) -> list[str]:
        return [name for name, lines in self.sections if name and MARKER in lines]

    def body(self, name: str) -> list[str]:
        """Return the lines below a header without the comments and empty lines at their end."""
        lines = self._lines(name) or []
        return [line if line.endswith("\n") else line + "\n" for line in lines[1 : _end(lines)]]

    def put(self, name: str, body: list[str]) -> None:
        lines = self._lines(name)
        if lines is not None:
            lines[1 : _end(lines)] = body
            _close(lines, 0)
            return
        last = self.sections[-1][1] or (self.sections[-2][1] if len(self.sections) > 1 else [])
        if last:
            _close(last, -1)
            if last[-1].strip():
                last.append("\n")
        self.sections.append((name, [f"[{name}]\n", *body]))

    def remove(self, name: str) -> None:
        """Take a section out; comments and empty lines that follow it stay, they belong to the next one."""
        for index, (found, lines) in enumerate(self.sections):
            if found == name and name:
                self.sections[index - 1][1].extend(lines[_end(lines) :])
                del self.sections[index]
                return

    def enlist(self, name: str, beside: list[str]) -> None:
        lines = self._lines("distutils")
        if lines is None:
            where = next(index for index, (found, _lines) in enumerate(self.sections) if found == name)
            names = "".join(f"    {each}\n" for each in [*beside, name])
            self.sections.insert(where, ("distutils", ["[distutils]\n", "index-servers =\n" + names, "\n"]))
            return
        span = _servers(lines)
        if span is None:
            _close(lines, 0)
            lines[1:1] = ["index-servers =\n", *(f"    {each}\n" for each in [*beside, name])]
            return
        _close(lines, span[1] - 1)
        lines.insert(span[1], f"    {name}\n")

    def unlist(self, name: str) -> None:
        lines = self._lines("distutils") or []
        span = _servers(lines)
        if span is None:
            return
        for index in reversed(range(*span)):
            words = re.split(r"(\s+)", lines[index])
            if name in words:
                line = "".join(word for word in words if word != name)
                lines[index] = line
                if not line.strip():
                    del lines[index]

    def drop_list(self) -> None:
        """Remove the list of servers if it says no more than what holds without one."""
        lines = self._lines("distutils")
        span = _servers(lines or [])
        if lines is None or span is None:
            return
        if set(_SERVERS.sub("", "".join(lines[slice(*span)]), count=1).split()) - {"pypi", "testpypi"}:
            return
        del lines[slice(*span)]
        if not "".join(lines[1:]).strip():
            self.sections = [section for section in self.sections if section[0] != "distutils"]

    def _lines(self, name: str) -> list[str] | None:
        return next((lines for found, lines in self.sections if found == name and name), None)


def _end(lines: list[str]) -> int:
    """Return the index after the last line that says something."""
    end = len(lines)
    while end > 1 and (not lines[end - 1].strip() or lines[end - 1].lstrip()[0] in "#;"):
        end -= 1
    return end


def _close(lines: list[str], index: int) -> None:
    if not lines[index].endswith("\n"):
        lines[index] += "\n"


def _servers(lines: list[str]) -> tuple[int, int] | None:
    """Return where the list of servers begins and ends among the lines of a section."""
    for start, line in enumerate(lines):
        if _SERVERS.match(line):
            end = start + 1
            for index in range(start + 1, len(lines)):
                if lines[index].strip() and not lines[index][0].isspace():
                    break
                if lines[index].strip():
                    end = index + 1
            return start, end
    return None
