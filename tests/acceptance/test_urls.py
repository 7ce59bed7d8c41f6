"""The URLs that playbooks/show_urls.yml prints, in the hands of an application that is told nothing else."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from . import tools
from .distributions import Project, module_name
from .fleet import Fleet, ansible
from .indexes import Index
from .shelf import Shelf
from .tools import Person


def shown(fleet: Fleet, index: Index, *arguments: str) -> dict[str, list[str]]:
    """The URLs that are shown of an index host, by what they are for; in a fleet where they all work."""
    extra = ["--limit", index.machine.name, *arguments]
    if all(client.index is not index for client in fleet.clients):
        # The controller may know no name of the fleet
        extra.append(f"--extra-vars=show_urls_from={index.machine.name}")
    done = ansible(fleet.inventory, "ansible-playbook", "playbooks/show_urls.yml", *extra)
    # Not what it said: the URLs may hold passwords
    assert done.returncode == 0, re.sub("//[^/@]*@", "//...@", done.stdout + done.stderr)
    return {use: re.findall(rf"^ +{use} +(\S+)$", done.stdout, re.MULTILINE) for use in ("install", "upload")}


def test_shown_urls_are_those_of_the_clients(fleet: Fleet, index: Index) -> None:
    """Without a login as pip_client writes them; with one, the password is asterisks."""
    urls = shown(fleet, index)
    assert index.install_url in urls["install"]
    assert f"{index.url}{index.upload_path[1:]}" in urls["upload"]
    for url in [*urls["install"], *urls["upload"]]:
        assert urlsplit(url).password in (None, "********"), "a password is shown"


def test_an_application_installs_from_a_shown_url(
    fleet: Fleet, first_uploader: Person, project: Project, shelf: Shelf
) -> None:
    """With nothing but the URL and the system's CA certificates: no file of pip's, no netrc."""
    client, account = first_uploader
    index = client.index
    shelf.publish(index, project)
    urls = shown(fleet, index, "--extra-vars=show_urls_passwords=true")["install"]
    host = index.install_url.removeprefix("https://")
    url = next(url for url in reversed(urls) if url.rpartition("@")[2].removeprefix("https://") == host)
    login = urlsplit(url)
    if login.username:
        user = next(user for user in index.users if user.name == unquote(login.username or ""))
        assert unquote(login.password or "") == user.password
    assert bool(login.username) or not index.users
    # By standard input: arguments can be seen in the process list
    script = "read -r PIP_INDEX_URL; export PIP_INDEX_URL; "
    script += 'export PIP_CONFIG_FILE=/dev/null NETRC=/dev/null PIP_CERT="$1"; shift; exec "$@"'
    bundles = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")
    bundle = next(path for path in bundles if client.machine.run("test", "-e", path).code == 0)
    pip = next(tool for tool in tools.installers(client) if tool.endswith("pip"))
    with client.machine.folder(account.name) as folder:
        command = [pip, "install", *tools.PIP, "--no-deps", "--target", folder, f"{project.name}==1.0"]
        done = client.machine.run(
            "sh", "-c", script, "sh", bundle, *command, stdin=f"{url}\n", user=account.name, path=tools.path(client)
        )
        assert done.code == 0, re.sub("//[^/@]*@", "//...@", str(done))
        assert tools.installed_value(client, account, folder, module_name(project.name)) == "1.0"
