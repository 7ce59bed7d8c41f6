"""What a store shows to the world, read from disk as a web server would, and whether it is right."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from pyindex_pypiserver.distributions import parse_name
from pyindex_pypiserver.storage import PackageStore


def publish(store: PackageStore, text: str, data: bytes, *, overwrite: bool = False) -> Path:
    """Publish *data* as an upload does."""
    with store.receive() as incoming:
        incoming.write(data)
        return store.publish(incoming, parse_name(text), overwrite=overwrite)


def projects(store: PackageStore) -> list[str]:
    """Return the names of the project list."""
    page = store.publisher.simple / "_list.json"
    return [project["name"] for project in json.loads(page.read_bytes())["projects"]] if page.exists() else []


def page(store: PackageStore, project: str) -> dict[str, dict[str, Any]]:
    """Return what the page of *project* says of each file."""
    content = json.loads((store.publisher.simple / f"{project}.json").read_bytes())
    return {file["filename"]: file for file in content["files"]}


def shown(store: PackageStore) -> dict[str, str]:
    """Return the digest of every file that is shown; fail where anything shown is not as it is said to be."""
    found: dict[str, str] = {}
    for project in projects(store):
        html = (store.publisher.simple / f"{project}.html").read_text()
        for name, file in page(store, project).items():
            data = (store.root / name).read_bytes()
            assert hashlib.sha256(data).hexdigest() == file["hashes"]["sha256"]
            assert len(data) == file["size"]
            assert f"#sha256={file['hashes']['sha256']}" in html
            if name.endswith(".whl"):
                metadata = (store.publisher.metadata / f"{name}.metadata").read_bytes()
                assert hashlib.sha256(metadata).hexdigest() == file["core-metadata"]["sha256"]
            found[name] = file["hashes"]["sha256"]
        assert html.count("<a ") == len(page(store, project))
    for copy in store.publisher.simple.rglob("*.gz"):
        assert gzip.decompress(copy.read_bytes()) == copy.with_suffix("").read_bytes()
    if found:
        assert {path.name.partition(".")[0] for path in store.publisher.simple.iterdir()} == {*projects(store), "_list"}
    return found


def served(store: PackageStore) -> dict[str, str]:
    """Return the digest of every file that all four forms of the pages show, while forms may differ; fail as shown()."""
    digests: dict[str, str] = {}
    forms: dict[str, list[dict[str, str]]] = {}
    for path in store.publisher.simple.glob("[!._]*.*"):
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        if ".json" in path.name:
            found = {file["filename"]: file["hashes"]["sha256"] for file in json.loads(data)["files"]}
        else:
            assert data.endswith(b"</html>\n")
            found = dict(re.findall(r"packages/([^#]+)#sha256=([0-9a-f]{64})", data.decode()))
        forms.setdefault(path.name.partition(".")[0], []).append(found)
        for name, digest in found.items():
            if name not in digests:
                digests[name] = hashlib.sha256((store.root / name).read_bytes()).hexdigest()
            assert digests[name] == digest
    listed = set(projects(store))
    return {
        name: digest
        for project, pages in forms.items()
        if project in listed
        for name, digest in pages[0].items()
        if all(name in found for found in pages)
    }


def leftovers(store: PackageStore) -> list[str]:
    """Return temporary files of all kinds."""
    hidden = [path for path in store.publisher.pages.rglob(".*") if path.name != ".state"]
    return [path.name for path in (*store.incoming.glob("*.part"), *hidden)]
