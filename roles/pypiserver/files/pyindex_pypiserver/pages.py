"""Makes the pages that installers read: release files in, bytes out. Nothing else happens here.

Standards: project pages and project list as HTML (PEP 503, 592, 629, 658, 714) and as JSON (PEP 691,
700, 592, 714). A page links to its files relatively, so it is right below every host and path. All
that came from a distribution or a person is escaped: a page holds no character that could end it.
"""

from __future__ import annotations

import gzip
import html
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from packaging.version import Version

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

API_VERSION: Final = "1.1"
METADATA_SUFFIX: Final = ".metadata"
# What is smaller gains nothing from compression
MIN_COMPRESSED_BYTES: Final = 1000

_HEAD: Final = (
    '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    f'<meta name="pypi:repository-version" content="{API_VERSION}">\n'
    "<title>{title}</title>\n</head>\n<body>\n<h1>{title}</h1>\n"
)
_FOOT: Final = "</body>\n</html>\n"
_LAST_TIME: Final = 253_402_300_799
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class ReleaseFile:
    """One file as a project page shows it.

    ``uploaded_ns`` are nanoseconds since 1970, ``metadata_sha256`` is given where the metadata is
    served beside the file, and ``yanked`` is the reason, '' for none given, None for not yanked.
    """

    name: str
    version: str
    size: int
    sha256: str
    uploaded_ns: int
    requires_python: str | None = None
    metadata_sha256: str | None = None
    yanked: str | None = None


def project_html(project: str, files: Iterable[ReleaseFile]) -> bytes:
    """Return the page of *project* (a normalised name) as HTML."""
    lines = [_HEAD.format(title=f"Links for {html.escape(project)}")]
    for file in files:
        attributes = f'href="../../packages/{quote(file.name)}#sha256={html.escape(file.sha256)}"'
        if file.requires_python is not None:
            attributes += f' data-requires-python="{_escape(file.requires_python)}"'
        if file.metadata_sha256 is not None:
            digest = f"sha256={html.escape(file.metadata_sha256)}"
            attributes += f' data-core-metadata="{digest}" data-dist-info-metadata="{digest}"'
        if file.yanked is not None:
            attributes += f' data-yanked="{_escape(file.yanked)}"'
        lines.append(f"<a {attributes}>{html.escape(file.name)}</a><br>\n")
    lines.append(_FOOT)
    return "".join(lines).encode("utf-8", "replace")


def project_json(project: str, files: Iterable[ReleaseFile]) -> bytes:
    """Return the page of *project* (a normalised name) as JSON."""
    entries = []
    versions: dict[str, None] = {}
    for file in files:
        versions[file.version] = None
        entry: dict[str, Any] = {
            "filename": file.name,
            "url": f"../../packages/{quote(file.name)}",
            "hashes": {"sha256": file.sha256},
            "size": file.size,
            "upload-time": upload_time(file.uploaded_ns),
        }
        if file.requires_python is not None:
            entry["requires-python"] = file.requires_python
        if file.metadata_sha256 is not None:
            # The second name is the one that the first servers and clients used
            entry["core-metadata"] = entry["data-dist-info-metadata"] = {"sha256": file.metadata_sha256}
        if file.yanked is not None:
            entry["yanked"] = file.yanked or True
        entries.append(entry)
    page = {"meta": {"api-version": API_VERSION}, "name": project, "versions": list(versions), "files": entries}
    return json.dumps(page, separators=(",", ":")).encode()


def list_html(projects: str) -> bytes:
    """Return the project list as HTML; *projects* are normalised names, one a line."""
    links = "".join([f'<a href="{name}/">{name}</a><br>\n' for name in html.escape(projects).split("\n") if name])
    return f"{_HEAD.format(title='Simple index')}{links}{_FOOT}".encode()


def list_json(projects: str) -> bytes:
    """Return the project list as JSON; *projects* are normalised names, one a line."""
    # One replacement in place of a mapping for each of many thousand projects
    entries = json.dumps(projects)[1:-1].replace("\\n", '"},{"name":"')
    listed = f'{{"name":"{entries}"}}' if projects else ""
    return f'{{"meta":{{"api-version":"{API_VERSION}"}},"projects":[{listed}]}}'.encode()


def in_order(files: Iterable[ReleaseFile]) -> list[ReleaseFile]:
    """Return *files* as a page shows them: by version, then by name."""
    keyed = [((_version(file.version), file.name), file) for file in files]
    return [file for _unused, file in sorted(keyed, key=itemgetter(0))]


def compressed(page: bytes) -> bytes | None:
    """Return *page* as gzip, always the same bytes for the same page; None where it is not worth it."""
    if len(page) < MIN_COMPRESSED_BYTES:
        return None
    # The list of a large index is long, and the last per cent take most of the time
    return gzip.compress(page, compresslevel=6 if len(page) < 2**18 else 1, mtime=0)


def upload_time(nanoseconds: int) -> str:
    """Return the time as PEP 700 wants it: ``yyyy-mm-ddThh:mm:ss.ffffffZ``."""
    seconds, rest = divmod(nanoseconds, 10**9)
    moment = datetime.fromtimestamp(min(max(seconds, 0), _LAST_TIME), UTC).replace(tzinfo=None)
    return f"{moment.isoformat()}.{rest // 1000:06}Z"


def negotiate(accept: str) -> str:
    """Return the form that the header *Accept* asks for: ``html`` or ``json`` (RFC 9110, PEP 691).

    HTML stands for everything that names neither, since it is what a page was before there was JSON.
    """
    best = {"html": 0.0, "json": 0.0}
    for part in accept.lower().split(","):
        kind, *parameters = (text.strip() for text in part.split(";"))
        if kind in _FORMS:
            form = _FORMS[kind]
            best[form] = max(best[form], _quality(parameters))
    return "json" if best["json"] > best["html"] else "html"


_FORMS: Final = {
    "application/vnd.pypi.simple.v1+json": "json",
    "application/vnd.pypi.simple.latest+json": "json",
    "application/vnd.pypi.simple.v1+html": "html",
    "application/vnd.pypi.simple.latest+html": "html",
    "text/html": "html",
    "text/*": "html",
    "*/*": "html",
}
CONTENT_TYPES: Final = {"html": "text/html; charset=utf-8", "json": "application/vnd.pypi.simple.v1+json"}


def _quality(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        name, _unused, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return min(max(float(value), 0.0), 1.0)
            except ValueError:
                return 0.0
    return 1.0


@lru_cache(maxsize=4096)
def _escape(text: str) -> str:
    # Line ends become blanks: an attribute is one line. No escape stands for a control character
    return html.escape(_CONTROLS.sub("\ufffd", " ".join(text.split())))


@lru_cache(maxsize=16384)
def _version(text: str) -> Version:
    return Version(text)
