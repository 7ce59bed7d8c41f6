"""The files that every server is given, and the finished pages of the limit. Made once, used in all later runs.

ROOT/N/files/PROJECT/FILE     N tiny wheels, 20 a project, and the same few extras in each set
ROOT/N/simple/...             pages as nginx serves them: index.html, index.json
ROOT/N/metadata/PROJECT/...   the metadata of the extras (PEP 658)
"""

from __future__ import annotations

import hashlib
import html
import json
import os
import re
import shutil
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from . import wheels

FILES_A_PROJECT = 20
SMALL, SMALL_BYTES = "bench-small", 20_000
LARGE, LARGE_BYTES = "bench-large", 5_000_000
STAMP = "complete"
# Of so many projects at most pages are asked for in one series
SAMPLE = 1000


@dataclass(frozen=True)
class File:
    """A distribution file, as a page tells of it (PEP 503, 658, 691, 700)."""

    name: str
    sha256: str
    size: int
    metadata_sha256: str
    requires_python: str
    uploaded: str

    @classmethod
    def of(cls, name: str, content: bytes, metadata: bytes) -> File:
        found = re.search(rb"^Requires-Python: *(.*?)\r?$", metadata.partition(b"\n\n")[0], re.MULTILINE)
        return cls(
            name=name,
            sha256=hashlib.sha256(content).hexdigest(),
            size=len(content),
            metadata_sha256=hashlib.sha256(metadata).hexdigest(),
            requires_python=found[1].decode() if found else "",
            uploaded=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        )


@dataclass(frozen=True)
class Dataset:
    """A folder with `count` tiny wheels and the extras."""

    root: Path
    count: int

    @property
    def folder(self) -> Path:
        return self.root / str(self.count)

    @property
    def files(self) -> Path:
        return self.folder / "files"

    @property
    def simple(self) -> Path:
        return self.folder / "simple"

    @property
    def metadata(self) -> Path:
        return self.folder / "metadata"

    @property
    def projects(self) -> int:
        return self.count // FILES_A_PROJECT

    def project(self, number: int) -> str:
        return f"bench-{number:05}"

    def sample(self) -> list[str]:
        """Return the normalised names of at most SAMPLE projects, spread over all of them."""
        step = max(1, self.projects // SAMPLE)
        return [self.project(number) for number in range(0, self.projects, step)][:SAMPLE]

    def last(self) -> str:
        return self.project(self.projects - 1)

    def distributions(self) -> Iterator[Path]:
        """Yield the path of each file."""
        for folder in sorted(self.files.iterdir()):
            yield from sorted(folder.iterdir())

    def make(self, extras: Path) -> None:
        """Make the files and pages; `extras` holds the real packages. Does nothing when they are there."""
        known = ",".join(sorted(path.name for path in extras.iterdir()))
        stamp = self.folder / STAMP
        if stamp.exists() and stamp.read_text() == known:
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        self.files.mkdir(parents=True)
        with ProcessPoolExecutor() as pool:
            projects = list(pool.map(self._make_tiny, map(self.project, range(self.projects)), chunksize=50))
        for project, size in ((SMALL, SMALL_BYTES), (LARGE, LARGE_BYTES)):
            folder = self._folder(project)
            (folder / wheels.filename(project, "1.0")).write_bytes(wheels.padded(project, "1.0", size))
            projects.append(self._describe(folder))
        for path in sorted(extras.iterdir()):
            folder = self._folder(normalise(path.name.split("-")[0]))
            shutil.copyfile(path, folder / path.name)
            projects.append(self._describe(folder))
        self._publish("", list_html(projects), list_json(projects))
        stamp.write_text(known)
        # What is still to be written would be written while something is measured
        os.sync()

    def _folder(self, project: str) -> Path:
        folder = self.files / project
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _make_tiny(self, project: str) -> str:
        folder = self._folder(project)
        files = []
        for release in range(FILES_A_PROJECT):
            # Two digits each: all wheels come from one template
            version = f"1.{10 + release}"
            path = folder / wheels.filename(project, version)
            content = wheels.tiny(project, version)
            path.write_bytes(content)
            files.append(File.of(path.name, content, wheels.metadata(project, version)))
        self._publish(project, html_page(project, files), json_page(project, files))
        return project

    def _describe(self, folder: Path) -> str:
        """Write the pages of a project, and beside them the metadata of its wheels (PEP 658)."""
        files = []
        for path in sorted(folder.iterdir()):
            with zipfile.ZipFile(path) as archive:
                [name] = [name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name)]
                metadata = archive.read(name)
            files.append(File.of(path.name, path.read_bytes(), metadata))
            target = self.metadata / folder.name / f"{path.name}.metadata"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(metadata)
        self._publish(folder.name, html_page(folder.name, files), json_page(folder.name, files))
        return folder.name

    def _publish(self, project: str, as_html: str, as_json: str) -> None:
        folder = self.simple / project
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "index.html").write_text(as_html)
        (folder / "index.json").write_text(as_json)


def normalise(name: str) -> str:
    """Return a project's name as PEP 503 writes it in URLs."""
    return re.sub(r"[-_.]+", "-", name).lower()


def html_page(project: str, files: list[File]) -> str:
    """Render a project's page (PEP 503, with the attributes of PEP 658 and 714): it says what those of ours say."""
    lines = []
    for file in files:
        python = f' data-requires-python="{html.escape(file.requires_python)}"' if file.requires_python else ""
        lines.append(
            f'    <a href="../../files/{project}/{file.name}#sha256={file.sha256}"{python} '
            f'data-core-metadata="sha256={file.metadata_sha256}" '
            f'data-dist-info-metadata="sha256={file.metadata_sha256}">{file.name}</a><br>'
        )
    body = "\n".join(lines)
    return (
        '<!DOCTYPE html>\n<html>\n  <head>\n    <meta name="pypi:repository-version" content="1.1">\n'
        f"    <title>Links for {project}</title>\n  </head>\n  <body>\n    <h1>Links for {project}</h1>\n"
        f"{body}\n  </body>\n</html>\n"
    )


def json_page(project: str, files: list[File]) -> str:
    """Render a project's page (PEP 691, with the keys of PEP 700 and 714)."""
    entries = [
        {
            "filename": file.name,
            "url": f"../../files/{project}/{file.name}",
            "hashes": {"sha256": file.sha256},
            "size": file.size,
            "upload-time": file.uploaded,
            "core-metadata": {"sha256": file.metadata_sha256},
            "data-dist-info-metadata": {"sha256": file.metadata_sha256},
        }
        | ({"requires-python": file.requires_python} if file.requires_python else {})
        for file in files
    ]
    versions = sorted({file.name.split("-")[1] for file in files})
    page = {"meta": {"api-version": "1.1"}, "name": project, "versions": versions, "files": entries}
    return json.dumps(page, separators=(",", ":"))


def list_html(projects: list[str]) -> str:
    """Render the project list (PEP 503)."""
    links = "\n".join(f'    <a href="{project}/">{project}</a><br>' for project in projects)
    return f"<!DOCTYPE html>\n<html>\n  <body>\n{links}\n  </body>\n</html>\n"


def list_json(projects: list[str]) -> str:
    """Render the project list (PEP 691)."""
    listed = {"meta": {"api-version": "1.1"}, "projects": [{"name": project} for project in projects]}
    return json.dumps(listed, separators=(",", ":"))
