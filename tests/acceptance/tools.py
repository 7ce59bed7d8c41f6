"""pip, uv and twine on a client, used as its users use them: with the files that pip_client wrote and no option more."""

from __future__ import annotations

import pytest

from .fleet import Account, Client
from .machines import PATH, Result

Person = tuple[Client, Account]
"""A user of a client host."""

# Nothing from a cache: it would hide what the index answers
PIP = ["--no-cache-dir", "--disable-pip-version-check", "--no-input"]
UV = ["--no-cache", "--no-progress"]


def path(client: Client) -> str:
    """Where programs are looked for: in the folder that the inventory names (acceptance_tools), then as usual."""
    return f"{client['acceptance_tools']}:{PATH}" if client["acceptance_tools"] else PATH


def need(client: Client, account: Account, tool: str) -> None:
    """Skip the test where the client has not the tool."""
    if client.machine.run("sh", "-c", f"command -v {tool}", user=account.name, path=path(client)).code:
        pytest.skip(f"{account.name} on {client} has no {tool} (acceptance_tools names the folder where it is)")


def installers(client: Client) -> list[str]:
    """What installs packages there: pip and uv where they are configured for users, and the pip of each virtual
    environment that is configured."""
    found = []
    if client.levels - {"virtualenv"}:
        found = [tool for tool in ("pip", "uv") if tool in client["pip_client_tools"]]
    if "virtualenv" in client.levels:
        found += [f"{folder}/bin/pip" for folder in client.virtualenvs]
    return found


def install(
    client: Client, account: Account, tool: str, folder: str, *requirements: str, timeout: float = 180
) -> Result:
    """Install into a folder, so that nothing else on the host changes."""
    need(client, account, tool)
    if tool == "uv":
        command = ["uv", "pip", "install", *UV, "--target", folder, *requirements]
    else:
        command = [tool, "install", *PIP, "--target", folder, *requirements]
    return client.machine.run(*command, user=account.name, path=path(client), timeout=timeout)


def download(client: Client, account: Account, folder: str, requirement: str) -> Result:
    """Fetch a distribution by the first installer that is a pip, and nothing that it depends on."""
    pip = next(tool for tool in installers(client) if tool.endswith("pip"))
    need(client, account, pip)
    command = [pip, "download", *PIP, "--no-deps", "--dest", folder, requirement]
    return client.machine.run(*command, user=account.name, path=path(client), timeout=400)


def installed_value(client: Client, account: Account, folder: str, module: str) -> str:
    """What an installed module of ours says."""
    program = f"import sys; sys.path.insert(0, {folder!r}); import {module}; print({module}.VALUE)"
    return client.machine.check("python3", "-c", program, user=account.name).strip()


def upload(client: Client, account: Account, *files: str, timeout: float = 180) -> Result:
    """Upload by twine, with what stands in ~/.pypirc."""
    need(client, account, "twine")
    command = ["twine", "upload", "--non-interactive", "--disable-progress-bar"]
    command += ["--repository", str(client["pip_client_repository"]), *files]
    return client.machine.run(*command, user=account.name, path=path(client), timeout=timeout)


def uv_publish(client: Client, account: Account, *files: str) -> Result:
    """Upload by uv, to the URL of its configuration. uv takes a login from its environment or arguments only."""
    need(client, account, "uv")
    assert account.user
    script = "read -r UV_PUBLISH_USERNAME; read -r UV_PUBLISH_PASSWORD; export UV_PUBLISH_USERNAME UV_PUBLISH_PASSWORD"
    script += '; exec uv publish --no-cache --no-progress "$@"'
    # `sh -c`, not `sh -s`: standard input is where the login comes from
    command = ["sh", "-c", script, "sh", *files]
    login = f"{account.user.name}\n{account.user.password}\n"
    return client.machine.run(*command, stdin=login, user=account.name, path=path(client))


def devpi(client: Client, account: Account, folder: str, *arguments: str, timeout: float = 180) -> Result:
    """Run devpi's client in a folder, from a shell at login: the CA is in its environment."""
    need(client, account, "devpi")
    script = 'PATH=$1; cd "$2" && shift 2 && exec devpi "$@"'
    command = ["bash", "-lc", script, "bash", path(client), folder, *arguments]
    return client.machine.run(*command, user=account.name, timeout=timeout)


def may_read(client: Client, account: Account) -> bool:
    """Whether that user may install from the index."""
    if not client.index.protected & {"list", "download"}:
        return True
    return account.user is not None and "read" in account.user.rights


def assert_runs(result: Result) -> None:
    """Fail with what the tool said."""
    assert result.code == 0, f"{result}"
