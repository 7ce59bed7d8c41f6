"""A devpi server of a site without internet: it has no way out, and clients need none."""

from __future__ import annotations

from . import tools
from .distributions import PREFIX, module_name, wheel
from .indexes import Devpi
from .kinds import OFFLINE
from .tools import Person

pytestmark = OFFLINE

# A server process that is broken into: how far does it get? Port and addresses are arguments
PROBE = """\
import socket, sys
for address in sys.argv[2:]:
    try:
        socket.create_connection((address, int(sys.argv[1])), 2).close()
        print(address)
    except OSError:
        pass
"""


def test_server_has_no_way_out(index: Devpi) -> None:
    """From where the server runs, neither another host of the fleet, nor the host itself, nor any interface but its
    own loopback is there."""
    pid = index.machine.check("systemctl", "show", "--property=MainPID", "--value", index.units[0]).strip()
    inside = ("nsenter", "--target", pid, "--net", "--")
    links = index.machine.check(*inside, "ip", "-brief", "link").splitlines()
    assert [line.split()[0] for line in links] == ["lo"]
    assert index.machine.check(*inside, "ip", "route").strip() == ""
    port = str(index.https_port)
    reached = index.machine.check(*inside, "python3", "-c", PROBE, port, "127.0.0.1", index.address)
    assert reached == ""
    # The same from the host itself gets there: it is the server that is shut in
    assert index.address in index.machine.check("python3", "-c", PROBE, port, index.address)


def test_there_is_no_mirror(index: Devpi) -> None:
    """Nothing on the server would ask a public index."""
    ((status, users),) = index.rest(("GET", "/", None))
    assert status == 200
    kinds = {f"{user}/{name}": data["type"] for user, found in users.items() for name, data in found["indexes"].items()}
    assert "mirror" not in kinds.values(), kinds
    assert set(index.stages) <= set(kinds)


def test_an_application_needs_one_url(first_uploader: Person, run_id: str) -> None:
    """A folder of wheels that was carried over goes up in one command; an application that is given nothing but the
    URL installs from it, with what it depends on, and asks nobody else."""
    client, user = first_uploader
    index = client.index
    assert isinstance(index, Devpi)
    library, application = f"{PREFIX}-{run_id}-library", f"{PREFIX}-{run_id}-application"
    with client.machine.folder(user.name) as folder:
        for file, content in (wheel(library, "1.0"), wheel(application, "1.0", needs=library)):
            client.machine.put(f"{folder}/{file}", content, user.name)
        tools.assert_runs(tools.upload(client, user, f"{folder}/{module_name(library)}-1.0-py3-none-any.whl"))
        tools.assert_runs(tools.devpi(client, user, folder, "upload", "--from-dir", folder))
    # As root, who has no login in a netrc unless the inventory gives one; nothing but the URL is said
    with client.machine.folder("root") as folder:
        for number, url in enumerate((index.install_url, f"{index.url}{index['devpi_default_index']}/")):
            pip = ["pip", "--isolated", "install", *tools.PIP, "--index-url", url, "--target", f"{folder}/{number}"]
            environment = ("env", "-i", f"PATH={tools.path(client)}", f"HOME={folder}", "NETRC=/dev/null")
            done = client.machine.run(*environment, *pip, application, timeout=120)
            assert done.code == 0, str(done)
            client.machine.check("test", "-f", f"{folder}/{number}/{module_name(library)}.py")
