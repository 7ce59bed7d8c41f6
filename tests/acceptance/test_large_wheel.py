"""A large wheel there and back: no limit on the way but the one that the inventory sets."""

from __future__ import annotations

from pathlib import Path

from . import tools
from .distributions import PREFIX, module_name
from .fleet import Fleet
from .test_clients import others

PROGRAM = Path(__file__).parent / "remote" / "large_wheel.py"
MEGABYTES = 200


def test_large_wheel_arrives_as_it_was_sent(fleet: Fleet, first_uploader: tools.Person, run_id: str) -> None:
    """200 MB of random bytes (less where the limit is lower), up by twine, down by pip: the same SHA-256 at the
    client that made it, on the index's disk, and at the client that fetched it."""
    client, user = first_uploader
    megabytes = min(MEGABYTES, client.index.max_upload_mb - 1)
    name = f"{PREFIX}-{run_id}-large-{client.machine.name}-{user.name}".lower()
    with client.machine.folder(user.name) as folder:
        job = {"folder": folder, "module": module_name(name), "version": "1.0", "megabytes": megabytes}
        made = client.machine.program(PROGRAM, job)
        tools.assert_runs(tools.upload(client, user, made["path"], timeout=400))
    file = Path(made["path"]).name
    assert client.index.published(file) == {file: made["sha256"]}
    other, reader = others(fleet, client, user)[0]
    with other.machine.folder(reader.name) as folder:
        tools.assert_runs(tools.download(other, reader, folder, name))
        assert other.machine.check("sha256sum", f"{folder}/{file}").split()[0] == made["sha256"]
    # Room for the rest of the suite
    client.index.discard(name)
