# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Logins in a person's keyring, with everything else in that file kept.

The file is that of the backend ``keyrings.alt.file.PlaintextKeyring``, the one of the package ``keyring`` that needs neither a
desktop session nor a passphrase: configparser's format, a section for each service, an option for each login, and the
password in base64. No setting encrypts it: what protects it is its mode, 0600.
"""

from __future__ import annotations

import base64
import binascii
import configparser
import io
import string

PATH = ".local/share/python_keyring/keyring_pass.cfg"

_PLAIN = string.ascii_letters + string.digits


class KeyringError(ValueError):
    """The file is not a keyring; the message never quotes it (it may hold a password)."""


def key(service: str, username: str) -> str:
    """Return how a login is remembered among those that are ours: service and login as they stand in the file."""
    return f"{_escape(service)} {_escape(username).lower()}"


def merge(existing: bytes, services: list[str], username: str, password: str) -> bytes:
    """Return the file with this login for these services; as it was where it has them already."""
    keyring = _parse(existing)
    before = _encode(keyring)
    for service in services:
        section, option = key(service, username).split(" ")
        if _password(keyring, section, option) == password:
            continue
        if not keyring.has_section(section):
            keyring.add_section(section)
        # As the backend itself writes it: lines that are indented
        keyring.set(section, option, "\n" + base64.encodebytes(password.encode()).decode())
    after = _encode(keyring)
    return existing if after == before else after


def unmerge(current: bytes, original: bytes, keys: list[str]) -> bytes:
    """Return the file without our logins, with the original passwords of the same logins back in it."""
    keyring, before = _parse(current), _parse(original)
    for section, option in (each.split(" ") for each in keys):
        if before.has_option(section, option):
            if not keyring.has_section(section):
                keyring.add_section(section)
            keyring.set(section, option, before.get(section, option))
        elif keyring.has_section(section):
            keyring.remove_option(section, option)
            if not keyring.options(section):
                keyring.remove_section(section)
    after = _encode(keyring)
    return original if after == _encode(before) else after


def redact(text: str) -> str:
    """Return the text with the passwords replaced; all of it if it cannot be read."""
    try:
        keyring = _parse(text.encode())
    except KeyringError:
        return "(not shown: this is no keyring of keyrings.alt)\n"
    for section in keyring.sections():
        for option in keyring.options(section):
            keyring.set(section, option, "********")
    return _encode(keyring).decode()


def _parse(data: bytes) -> configparser.RawConfigParser:
    keyring = configparser.RawConfigParser()
    try:
        keyring.read_string(data.decode())
    except (configparser.Error, UnicodeDecodeError):
        raise KeyringError("this is no keyring of keyrings.alt") from None
    return keyring


def _encode(keyring: configparser.RawConfigParser) -> bytes:
    text = io.StringIO()
    keyring.write(text)
    return text.getvalue().encode()


def _password(keyring: configparser.RawConfigParser, section: str, option: str) -> str | None:
    if not keyring.has_option(section, option):
        return None
    try:
        return base64.decodebytes(keyring.get(section, option).encode()).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


def _escape(word: str) -> str:
    """Return the word as keyrings.alt writes it: letters and digits, and _XX for each byte of all else (UTF-8)."""
    return "".join(
        letter if letter in _PLAIN else "".join(f"_{byte:02X}" for byte in letter.encode()) for letter in word
    )
