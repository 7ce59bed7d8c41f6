"""devpi's own client on the client hosts, as people use it: with the files that pip_client wrote and no `devpi use`."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import replace

import pytest

from . import tools
from .devpi import BROWSER, put
from .distributions import PREFIX, module_name, sdist, wheel
from .fleet import Client
from .indexes import Devpi
from .kinds import DEVPI, WEB
from .tools import Person
from .web import Request, ask

pytestmark = DEVPI


def written(client: Client, user: str, folder: str, files: dict[str, str]) -> None:
    """Write text files below a folder of that user."""
    script = 'mkdir -p "$(dirname "$1")" && cat > "$1"'
    for path, text in files.items():
        client.machine.check("sh", "-c", script, "sh", f"{folder}/{path}", stdin=text, user=user)


@pytest.fixture
def workplace(uploader: Person) -> Iterator[str]:
    """A folder of the uploader's own."""
    client, user = uploader
    with client.machine.folder(user.name) as folder:
        yield folder


def the_index(client: Client) -> Devpi:
    assert isinstance(client.index, Devpi)
    return client.index


def sphinx_project(name: str, word: str) -> dict[str, str]:
    """The files of a project with documentation."""
    pyproject = f"""\
        [build-system]
        requires = ["setuptools"]
        build-backend = "setuptools.build_meta"
        [project]
        name = "{name}"
        version = "1.0"
        description = "Made by the acceptance suite of pyindex.fleet; may be removed"
        [tool.setuptools]
        py-modules = ["{module_name(name)}"]
        """
    index = f"""\
        The manual of {name}
        ====================

        It says {word}.

        .. toctree::

           usage
        """
    return {
        "pyproject.toml": textwrap.dedent(pyproject),
        f"{module_name(name)}.py": 'VALUE = "1.0"\n',
        "doc/conf.py": f'project = "{name}"\n',
        "doc/index.rst": textwrap.dedent(index),
        "doc/usage.rst": "Usage\n=====\n\nInstall it.\n",
    }


def test_upload_with_documentation(uploader: Person, workplace: str, run_id: str) -> None:
    """`devpi upload --with-docs` in a project: wheel, source distribution and what Sphinx makes of its manual; the
    web pages show it."""
    client, user = uploader
    index = the_index(client)
    name, word = f"{PREFIX}-{run_id}-manual", f"understandable{run_id}"
    written(client, user.name, workplace, sphinx_project(name, word))
    tools.assert_runs(
        tools.devpi(client, user, workplace, "upload", "--no-isolation", "--sdist", "--wheel", "--with-docs")
    )
    stored = index.stored(index.target.name, f"{module_name(name)}*")
    assert {file.rpartition(".")[2] for file in stored} == {"whl", "gz"}
    if "devpi-web" not in index["devpi_plugins"]:
        return
    manual = f"/{index.target.name}/{name}/1.0"
    targets = [f"{manual}/+doc/index.html", f"{manual}/+doc/usage.html", f"{manual}/+d/index.html", f"{manual}/+doc/"]
    requests = [Request(target, user=user.user, headers=BROWSER) for target in targets]
    first, usage, framed, _folder = ask(index.vantages[0], index, requests)
    assert word in first.text, str(first)
    assert "Install it" in usage.text, str(usage)
    assert framed.status == 200, str(framed)
    assert first.headers["content-type"].startswith("text/html")


def test_upload_of_a_folder(uploader: Person, workplace: str, run_id: str) -> None:
    """`devpi upload --from-dir`: all of a folder at once."""
    client, user = uploader
    index = the_index(client)
    names = [f"{PREFIX}-{run_id}-folder-{number}" for number in range(3)]
    files = dict([*(wheel(name, "1.0") for name in names), sdist(names[0], "1.0")])
    for file, content in files.items():
        client.machine.put(f"{workplace}/{file}", content, user.name)
    tools.assert_runs(tools.devpi(client, user, workplace, "upload", "--from-dir", workplace))
    assert set(index.stored(index.target.name, f"{module_name(names[0])[:-1]}*")) == set(files)
    # An application has one field for the URL: both ways to write the index work there
    for number, url in enumerate((index.install_url, f"{index.url}{index['devpi_default_index']}/")):
        target = f"{workplace}/{number}"
        pip = ["pip", "--isolated", "install", *tools.PIP, "--index-url", url, "--target", target, *names]
        tools.assert_runs(client.machine.run(*pip, user=user.name, path=tools.path(client)))
        assert tools.installed_value(client, user, target, module_name(names[2])) == "1.0"


def test_list_and_remove(uploader: Person, workplace: str, run_id: str) -> None:
    """`devpi list` shows a release; `devpi remove` takes it away where the index is volatile, and is refused
    elsewhere, with --force as well."""
    client, user = uploader
    index = the_index(client)
    name = f"{PREFIX}-{run_id}-removable"
    put(index, index.target, wheel(name, "1.0"))
    listed = tools.devpi(client, user, workplace, "list", name)
    tools.assert_runs(listed)
    assert f"{module_name(name)}-1.0" in listed.out
    for force in ([], ["--force"]):
        done = tools.devpi(client, user, workplace, "remove", "-y", *force, f"{name}==1.0")
        if index.target.volatile:
            break
        assert "403" in done.out + done.err, str(done)
    left = index.stored(index.target.name, f"{module_name(name)}-*")
    assert (left == {}) == index.target.volatile, str(done)


def test_push_to_a_base(uploader: Person, workplace: str, run_id: str) -> None:
    """`devpi push example==1.0 devuser/staging`: the release is there, from then on for good."""
    client, user = uploader
    index = the_index(client)
    bases = [name for name in index.target.bases if name in index.stages]
    if not bases:
        return
    staging = index.stages[bases[0]]
    name = f"{PREFIX}-{run_id}-pushed"
    file, content = wheel(name, "1.0")
    put(index, index.target, (file, content))
    tools.assert_runs(tools.devpi(client, user, workplace, "push", f"{name}==1.0", staging.name))
    there = index.stored(staging.name, file)
    assert there == index.stored(index.target.name, file)
    if not index.target.volatile or staging.volatile:
        return
    put(index, index.target, wheel(name, "1.0", value="other"))
    again = tools.devpi(client, user, workplace, "push", f"{name}==1.0", staging.name)
    assert again.code != 0
    assert "409" in again.out + again.err, str(again)
    assert index.stored(staging.name, file) == there


TOX = """\
[tox]
env_list = py3
[testenv]
commands = python -c "import {module}; print('{word}')"
"""


@WEB
def test_tox_result_is_shown(uploader: Person, workplace: str, run_id: str) -> None:
    """`devpi test` runs a release's tests with tox, from the index; the web pages show the result."""
    client, user = uploader
    index = the_index(client)
    name, word = f"{PREFIX}-{run_id}-tested", f"passedwell{run_id}"
    file, content = sdist(name, "1.0", {"tox.ini": TOX.format(module=module_name(name), word=word)})
    put(index, index.target, (file, content))
    done = tools.devpi(client, user, workplace, "test", f"{name}==1.0", timeout=300)
    tools.assert_runs(done)
    assert "success" in done.out.partition("posting tox result data")[2], str(done)
    release = Request(f"/{index.target.name}/{name}/1.0", user=user.user, headers=BROWSER)
    page = ask(index.vantages[0], index, [release])[0]
    links = re.findall(
        r'class="passed"[^>]*href="([^"#]+/\+toxresults/[^"#]+)|href="([^"#]+/\+toxresults/[^"#]+)[^>]*class="passed"',
        page.text,
    )
    assert links, str(page)
    path = "/" + next(filter(None, links[0])).removeprefix(index.url)
    shown = ask(index.vantages[0], index, [replace(release, target=path)])[0]
    assert word in shown.text, str(shown)


def test_reader_uploads_nothing(client: Client, run_id: str) -> None:
    """Somebody who may read only is told so, and nothing is published."""
    index = the_index(client)
    reader = next((account for account in client.accounts if account.user and account.user.rights == {"read"}), None)
    if not reader:
        return
    file, content = wheel(f"{PREFIX}-{run_id}-intruder", "1.0")
    with client.machine.folder(reader.name) as folder:
        client.machine.put(f"{folder}/{file}", content, reader.name)
        done = tools.devpi(client, reader, folder, "upload", f"{folder}/{file}")
    assert done.code != 0
    assert "403" in done.out + done.err, str(done)
    assert index.stored(index.target.name, file) == {}


def test_client_says_what_it_uses(uploader: Person, workplace: str) -> None:
    """`devpi use` names the index that the inventory names, by https."""
    client, user = uploader
    index = the_index(client)
    done = tools.devpi(client, user, workplace, "use")
    tools.assert_runs(done)
    assert f"{index.url}{index.target.name}" in done.out
    answer = tools.devpi(client, user, workplace, "getjson", f"{index.url}{index.target.name}?no_projects=")
    tools.assert_runs(answer)
    assert '"indexconfig"' in answer.out
