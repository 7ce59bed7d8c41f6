"""What is wrong with an answer: a server that is quick to say something else has no speed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from .clients import JSON, Answer, json_files, links, targets_of
from .dataset import Dataset

Check = Callable[[Answer], str]
"""Returns what is wrong with an answer of status 200; '' = nothing."""


def page(data: Dataset, url: str, accept: str) -> Check:
    """Expect the page of a project of the data (PEP 503, 691), with all its files and no wrong hash."""
    project = url.rstrip("/").rpartition("/")[2]

    def check(answer: Answer) -> str:
        if answer.media_type != accept:
            return f"it answers {answer.media_type} to who asks for {accept}"
        wanted = {path.name: path for path in (data.files / project).iterdir()}
        found = json_files(answer.content) if accept == JSON else _hashes_of_html(answer.content, url)
        if missing := sorted(wanted.keys() - found.keys()):
            return f"the page lacks {len(missing)} of {len(wanted)} files"
        wrong = [name for name, path in wanted.items() if found[name] not in ("", digest(path))]
        return f"the page has a wrong hash of {wrong[0]}" if wrong else ""

    return check


def project_list(data: Dataset, url: str) -> Check:
    """Expect all projects of the data (PEP 503)."""

    def check(answer: Answer) -> str:
        found = {target.rstrip("/").rpartition("/")[2] for target in targets_of(answer.content, url)}
        missing = [number for number in range(data.projects) if data.project(number) not in found]
        return f"the list lacks {len(missing)} of {data.projects} projects" if missing else ""

    return check


def file(path: Path) -> Check:
    """Expect the content of a file."""
    return lambda answer: (
        "" if hashlib.sha256(answer.content).hexdigest() == digest(path) else f"it is not the content of {path.name}"
    )


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _hashes_of_html(content: bytes, url: str) -> dict[str, str]:
    return {name: target.partition("#sha256=")[2].partition("&")[0] for name, target in links(content, url).items()}
