#!/usr/bin/python3
"""Publish the distributions of a folder as a static simple index.

    publish-upstream [FOLDER]

FOLDER/files holds the distributions; FOLDER/simple gets a page for each project, in HTML (PEP 503) and in
JSON (PEP 691, 700), with hashes, the Python that is wanted, and the metadata of wheels beside them (PEP 658,
714). A test that wants one more project puts a file there and runs this again. Needs nothing but Python 3.11.
"""

from __future__ import annotations

import email.parser
import hashlib
import html
import json
import re
import shutil
import sys
import tarfile
import zipfile
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Distribution:
    """One file of FOLDER/files: a wheel or a source distribution (.tar.gz)."""

    path: Path

    @property
    def is_wheel(self) -> bool:
        return self.path.suffix == ".whl"

    @property
    def name_and_version(self) -> tuple[str, str]:
        """Project, normalized as PEP 503 says, and version."""
        if self.is_wheel:
            name, version, *_tags = self.path.stem.split("-")
        else:
            name, version = self.path.name.removesuffix(".tar.gz").rsplit("-", 1)
        return re.sub(r"[-_.]+", "-", name).lower(), version

    def metadata(self) -> bytes:
        """The core metadata that is inside."""
        if self.is_wheel:
            with zipfile.ZipFile(self.path) as wheel:
                [name] = (name for name in wheel.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
                return wheel.read(name)
        with tarfile.open(self.path) as archive:
            name = f"{self.path.name.removesuffix('.tar.gz')}/PKG-INFO"
            found = archive.extractfile(name)
            return found.read() if found else b""

    def describe(self) -> dict[str, Any]:
        """Return what PEP 691 says of a file. Writes the metadata of a wheel beside it."""
        metadata = self.metadata()
        wanted = email.parser.BytesHeaderParser().parsebytes(metadata)["Requires-Python"]
        status = self.path.stat()
        described: dict[str, Any] = {
            "filename": self.path.name,
            "url": f"../../files/{self.path.name}",
            "hashes": {"sha256": hashlib.sha256(self.path.read_bytes()).hexdigest()},
            "size": status.st_size,
            "upload-time": datetime.fromtimestamp(status.st_mtime, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        if wanted:
            described["requires-python"] = wanted
        if self.is_wheel:
            self.path.with_name(f"{self.path.name}.metadata").write_bytes(metadata)
            described["core-metadata"] = {"sha256": hashlib.sha256(metadata).hexdigest()}
        return described


def anchor(file: dict[str, Any]) -> str:
    """Return the link to a file as PEP 503 has it."""
    attributes = {"href": f"{file['url']}#sha256={file['hashes']['sha256']}"}
    if "requires-python" in file:
        attributes["data-requires-python"] = file["requires-python"]
    if "core-metadata" in file:
        attributes["data-core-metadata"] = f"sha256={file['core-metadata']['sha256']}"
    return link(file["filename"], attributes)


def link(text: str, attributes: dict[str, str]) -> str:
    listed = " ".join(f'{name}="{html.escape(value)}"' for name, value in attributes.items())
    return f"<a {listed}>{html.escape(text)}</a><br>"


def write_page(folder: Path, title: str, links: list[str], content: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["<!DOCTYPE html>", '<meta name="pypi:repository-version" content="1.1">', f"<title>{title}</title>"]
    (folder / "index.html").write_text("\n".join([*lines, *links, ""]), encoding="utf-8")
    content = {"meta": {"api-version": "1.1"}, **content}
    (folder / "index.json").write_text(json.dumps(content), encoding="utf-8")


def publish(folder: Path) -> None:
    """Write FOLDER/simple anew, beside the old one, and put it in its place."""
    projects: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for path in sorted((folder / "files").iterdir()):
        if path.name.endswith((".whl", ".tar.gz")):
            name, version = Distribution(path).name_and_version
            projects[name][version].append(Distribution(path).describe())

    made = folder / "simple.new"
    shutil.rmtree(made, ignore_errors=True)
    write_page(
        made,
        "Simple index",
        [link(name, {"href": f"{name}/"}) for name in projects],
        {"projects": [{"name": name} for name in projects]},
    )
    for name, versions in projects.items():
        files = [file for version in versions.values() for file in version]
        links = [anchor(file) for file in files]
        write_page(made / name, name, links, {"name": name, "versions": list(versions), "files": files})

    old = folder / "simple.old"
    if (folder / "simple").exists():
        (folder / "simple").rename(old)
    made.rename(folder / "simple")
    shutil.rmtree(old, ignore_errors=True)


if __name__ == "__main__":
    publish(Path(sys.argv[1] if len(sys.argv) > 1 else "/srv/upstream"))
