# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a client of a package index shall have: its files, its users' logins, the CA that it trusts."""

from __future__ import annotations

import grp
import os
import ssl
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

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
    account_for,
    account_of,
    acting,
)
from ansible_collections.pyindex.fleet.plugins.module_utils._kept_files import Wanted

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class User:
    """A system user, and who they are to the index ('' = an index that asks nobody)."""

    name: str
    username: str = ""
    password: str = field(default="", repr=False)
    upload: bool = False


@dataclass(frozen=True)
class Login:
    """Who asks the index where that is no single user."""

    username: str
    password: str = field(repr=False)


class Credentials(Protocol):
    """A login at the index ('' = none)."""

    @property
    def username(self) -> str:
        """Name at the index."""

    @property
    def password(self) -> str:
        """Password at the index."""


@dataclass(frozen=True)
class TextFile:
    """A file that is ours as a whole. A path that begins with ~/ stands for one file of each user.

    ``beside`` names a file that must be in the same directory. ``login`` says what ``{login}`` in the content becomes:
    none, username or password (of the user, or the shared one). ``group`` can read the file ('' = that of the owner).
    """

    path: str
    content: str
    mode: int = 0o644
    beside: str = ""
    login: str = "none"
    group: str = ""


@dataclass(frozen=True)
class Repository:
    """The section of .pypirc for uploads."""

    name: str
    url: str
    ca_cert: str = ""


@dataclass(frozen=True)
class TrustAnchor:
    """A CA certificate (PEM) for the system's trust store, and the command that rebuilds the store."""

    path: str
    certificate: str
    command: tuple[str, ...]


@dataclass(frozen=True)
class Request:
    """All that a host shall have.

    ``machines`` are the hosts in each user's netrc, ``services`` those (HOST or HOST:PORT) in their keyring;
    ``devpi_index`` is the URL of the index that devpi's client uses ('' = none).
    """

    files: list[TextFile] = field(default_factory=list)
    users: list[User] = field(default_factory=list)
    shared: Login | None = None
    machines: list[str] = field(default_factory=list)
    services: list[str] = field(default_factory=list)
    repository: Repository | None = None
    devpi_index: str = ""
    anchor: TrustAnchor | None = None


def resolve(request: Request, lenient: bool = False) -> tuple[list[Wanted], list[str]]:
    """Return the files of a request, and notes. ClientFilesError names all that is wrong with it, a line each.

    With ``lenient`` (check mode) a user or directory that does not exist is a note: an earlier task that was only
    checked may be going to make it.
    """
    faults = [*check_users(request.users), *(check_shared(request.shared) if request.shared else [])]
    faults += check_anchor(request.anchor) if request.anchor else []
    wanted: list[Wanted] = []
    missing: list[str] = []
    accounts: list[tuple[User, Account]] = []
    for user in request.users:
        try:
            accounts.append((user, account_of(user.name)))
        except ClientFilesError as error:
            missing.append(str(error))
    for file in request.files:
        try:
            wanted.extend(_text_files(file, accounts, request.shared))
        except _MissingError as error:
            missing.append(str(error))
        except ClientFilesError as error:
            faults.append(str(error))
    for user, account in accounts:
        wanted.extend(_logins(user, account, request))
        if request.devpi_index:
            wanted.extend(_devpi(user, account, request.devpi_index))
    if request.anchor:
        data = request.anchor.certificate.strip().encode() + b"\n"
        path = request.anchor.path
        wanted.append(Wanted(path, account_for(path), 0o644, _whole(data), command=request.anchor.command))
    if faults or (missing and not lenient):
        raise ClientFilesError("\n".join([*faults, *missing]))
    return wanted, missing


def check_users(users: list[User]) -> list[str]:
    """Return what is wrong with the users of a request, without quoting a password."""
    faults: list[str] = []
    names = [user.name for user in users]
    faults.extend(
        f"the system user {name!r} stands twice in the list of users (pip_client_users): a netrc holds one login for "
        f"the index, so give the one with the wider rights"
        for name in sorted({name for name in names if names.count(name) > 1})
    )
    for user in users:
        who = f"of the system user {user.name!r} (pip_client_users)"
        if bool(user.username) != bool(user.password):
            faults.append(f"username and password {who} go together: give both, or none for an index open to all")
        if user.upload and not user.username:
            faults.append(f"upload {who} needs a username and a password")
        faults.extend(_check_words(user, who))
    return faults


def check_shared(login: Login) -> list[str]:
    """Return what is wrong with the login of files that no single user has, without quoting its password."""
    where = "of the shared login (pip_client_shared_login)"
    return [
        *(f"the {what} {where} is empty" for what, word in _words(login) if not word),
        *_check_words(login, where),
    ]


def _check_words(login: Credentials, where: str) -> list[str]:
    faults = [
        f"the {what} {where} {reason}, which pip, uv and curl do not read alike in a netrc file: use printable ASCII "
        f"without white space or backslash, not beginning with a double quote or #"
        for what, word in _words(login)
        if word and (reason := _netrc.unsafe(word))
    ]
    if ":" in login.username:
        faults.append(f"the username {where} contains a colon, which HTTP Basic authentication does not allow")
    return faults


def _words(login: Credentials) -> list[tuple[str, str]]:
    return [("username", login.username), ("password", login.password)]


def check_anchor(anchor: TrustAnchor) -> list[str]:
    """Return what is wrong with a CA certificate."""
    text, what = anchor.certificate, "the CA certificate (pip_client_ca_certificate)"
    if "PRIVATE KEY-----" in text:
        return [f"{what} comes with a private key: give the certificate only, and replace that key if it was shown"]
    count = text.count("-----BEGIN CERTIFICATE-----")
    if count != 1:
        return [f"{what} must be one certificate in PEM form (-----BEGIN CERTIFICATE-----); this text has {count}"]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError):
        return [f"{what} cannot be read: it is damaged or cut short"]
    authorities = context.get_ca_certs()
    if not authorities:
        return [f"{what} is the certificate of a server, not of a CA; uv refuses to trust such: give that of its CA"]
    expires = str(authorities[0]["notAfter"])
    if ssl.cert_time_to_seconds(expires) < time.time():
        return [f"{what} expired on {expires}: give the CA's present certificate"]
    return []


class _MissingError(ClientFilesError):
    """Something that must be there first is not."""


def _text_files(file: TextFile, accounts: list[tuple[User, Account]], shared: Login | None) -> list[Wanted]:
    if file.path.startswith("~/"):
        if file.group:
            raise ClientFilesError(f"{file.path}: a file in a home is for its user only; leave its group out")
        return [
            Wanted(
                os.path.join(account.home, file.path[2:]), account, _mode(file), _content(file, user), parent_mode=0o700
            )
            for user, account in accounts
        ]
    gid = _group(file) if file.group else None
    account = account_for(file.path)
    beside = os.path.join(os.path.dirname(file.path), file.beside)
    with acting(account):
        if file.beside and not os.path.exists(beside):
            raise _MissingError(
                f"{beside} does not exist, so {file.path} does not belong there: name the directory of a virtual "
                f"environment, and make it first (pip_client_virtualenvs)"
            )
    return [Wanted(file.path, account, _mode(file), _content(file, shared), gid=gid)]


def _content(file: TextFile, login: Credentials | None) -> Callable[[bytes], bytes]:
    if file.login == "none":
        return _whole(file.content.encode())
    words = [quote(word, safe="") for _what, word in _words(login) if word] if login else []
    kept = words[: 2 if file.login == "password" else 1]
    return _whole(file.content.replace("{login}", ":".join(kept) + "@" if kept else "").encode())


def _mode(file: TextFile) -> int:
    if file.login == "password":
        return 0o640 if file.group else 0o600
    return file.mode


def _group(file: TextFile) -> int:
    try:
        return grp.getgrnam(file.group).gr_gid
    except KeyError:
        raise _MissingError(
            f"the group {file.group!r}, which is to read {file.path}, does not exist on this host: create it first, or "
            f"name another one (pip_client_shared_login)"
        ) from None


def _logins(user: User, account: Account, request: Request) -> list[Wanted]:
    found: list[Wanted] = []
    if not user.username:
        return found
    if request.machines:

        def into_netrc(existing: bytes) -> bytes:
            return _netrc.merge(existing, request.machines, user.username, user.password)

        path = os.path.join(account.home, ".netrc")
        found.append(Wanted(path, account, 0o600, into_netrc, "netrc", tuple(request.machines)))
    if request.services:

        def into_keyring(existing: bytes) -> bytes:
            return _keyring.merge(existing, request.services, user.username, user.password)

        path = os.path.join(account.home, _keyring.PATH)
        keys = tuple(_keyring.key(service, user.username) for service in request.services)
        found.append(Wanted(path, account, 0o600, into_keyring, "keyring", keys, parent_mode=0o700))
    repository = request.repository
    if repository and user.upload:
        options = {"repository": repository.url, "username": user.username, "password": user.password}
        if repository.ca_cert:
            options["ca_cert"] = repository.ca_cert
        name = repository.name

        def into_pypirc(existing: bytes) -> bytes:
            return _pypirc.merge(existing, name, options)

        found.append(Wanted(os.path.join(account.home, ".pypirc"), account, 0o600, into_pypirc, "pypirc", (name,)))
    return found


def _devpi(user: User, account: Account, index_url: str) -> list[Wanted]:
    folder = os.path.join(account.home, ".devpi/client")

    def into_current(existing: bytes) -> bytes:
        return _current_json.merge(existing, index_url)

    def into_auth(existing: bytes) -> bytes:
        return _auth_json.merge(existing, index_url, user.username, user.password)

    def file(name: str, merge: Callable[[bytes], bytes], kind: str, keys: tuple[str, ...]) -> Wanted:
        return Wanted(os.path.join(folder, name), account, 0o600, merge, kind, keys, parent_mode=0o700)

    found = [file("current.json", into_current, "current_json", _current_json.KEYS)]
    if user.username:
        found.append(file("auth.json", into_auth, "auth_json", (_auth_json.key(index_url),)))
    return found


def _whole(data: bytes) -> Callable[[bytes], bytes]:
    return lambda _existing: data
