"""The pages of an index as people see them: in a real browser, over verified TLS."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from .browser import started, window
from .devpi import documentation, put
from .distributions import PREFIX, Project, wheel
from .fleet import Fleet
from .indexes import Devpi, Pypiserver, User
from .kinds import PYPISERVER, WEB
from .shelf import publisher
from .web import Request, ask, form


@pytest.fixture(scope="session")
def browser(fleet: Fleet) -> Iterator[Browser]:
    """A browser that knows the fleet."""
    with started(fleet.indexes) as running:
        yield running


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A window without any history."""
    with window(browser) as fresh:
        yield fresh


@PYPISERVER
def test_welcome_page(index: Pypiserver, page: Page, published: Project) -> None:
    """pypiserver's page says how to use the index, with its real URL, without an error, and names no project."""
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    answer = page.goto(index.url)
    assert answer
    assert answer.status == 200
    assert page.url == index.url
    security = answer.security_details()
    assert security
    assert security.get("protocol") in {"TLS 1.2", "TLS 1.3"}
    expect(page.locator("body")).to_contain_text(index.install_url)
    assert published.name not in page.content()
    # A browser asks for an icon by itself; that there is none is no problem of the page
    assert [problem for problem in problems if "404" not in problem] == []


def log_in(page: Page, name: str, password: str) -> None:
    """Fill in the login page."""
    page.locator("input[name=username]").fill(name)
    page.locator("input[name=password]").fill(password)
    page.locator("form[name=login] button[name=submit]").click()


@pytest.fixture(scope="session")
def library() -> dict[str, tuple[str, str]]:
    return {}


@pytest.fixture
def book(index: Devpi, run_id: str, library: dict[str, tuple[str, str]]) -> tuple[str, str]:
    """A project with documentation on the index that clients upload to, and a word in that documentation."""
    if index.machine.name not in library:
        name, word = f"{PREFIX}-{run_id}-book", f"chapter{run_id}"
        put(index, index.target, wheel(name, "1.0"))
        fields = {":action": "doc_upload", "name": name, "version": "1.0"}
        filled = form(fields, f"{name}-1.0.doc.zip", documentation(word))
        upload = Request(index.upload_path, "POST", publisher(index), filled.body, filled.headers)
        answer = ask(index.vantages[0], index, [upload])[0]
        assert answer.status == 200, str(answer)
        library[index.machine.name] = (name, word)
    return library[index.machine.name]


def someone(index: Devpi) -> User:
    """Somebody who may read, and no more where the inventory has such a user."""
    return index.reader or index.root


@WEB
def test_reading_under_lockdown(index: Devpi, page: Page, book: tuple[str, str]) -> None:
    """Any page leads to the login page; a wrong password is refused there; a reader gets to the page that was asked
    for, finds the project by searching, reads its page and its documentation, and is out again after logging out."""
    if not index.locked:
        return
    (name, word), user = book, someone(index)
    target = f"{index.url}{index.target.name}/{name}/1.0"
    page.goto(target)
    assert page.url.startswith(f"{index.url}+login")
    assert name not in page.inner_text("body")

    log_in(page, user.name, "wrong-password")
    expect(page.locator("#content")).to_contain_text("Invalid credentials")
    page.goto(target)
    assert page.url.startswith(f"{index.url}+login")

    log_in(page, user.name, user.password)
    page.wait_for_url(re.compile(re.escape(target) + "/?$"))
    expect(page.locator("body")).to_contain_text(name)
    browse(index, page, name, word)

    page.goto(f"{index.url}+logout")
    page.locator("form[name=logout] button[name=submit]").click()
    page.wait_for_load_state()
    page.goto(target)
    assert page.url.startswith(f"{index.url}+login")


@WEB
def test_reading_without_a_login(index: Devpi, page: Page, book: tuple[str, str]) -> None:
    """Where reading is open, all pages are there at once."""
    if index.locked:
        return
    browse(index, page, *book)


def browse(index: Devpi, page: Page, name: str, word: str) -> None:
    """Look at everything there is to see of a project, as a person would."""
    page.goto(index.url)
    expect(page.locator("body")).to_contain_text(index.target.name)
    if index["devpi_search_index"]:
        search(index, page, name)
    else:
        page.goto(f"{index.url}{index.target.name}/{name}")
    expect(page.locator("body")).to_contain_text("1.0")

    page.goto(f"{index.url}{index.target.name}/{name}/1.0")
    expect(page.locator("body")).to_contain_text(".whl")
    page.get_by_role("link", name=re.compile("documentation", re.IGNORECASE)).first.click()
    page.wait_for_url(re.compile(r"/\+d/"))
    # devpi shows it in a frame, below its own navigation
    expect(page.frame_locator("iframe").locator("body")).to_contain_text(word)
    page.goto(f"{index.url}{index.target.name}/{name}/1.0/+doc/index.html")
    expect(page.locator("h1")).to_have_text(word)


def search(index: Devpi, page: Page, name: str) -> None:
    """Find a project by the search field. The server indexes it a moment after its upload."""
    end = time.monotonic() + 60
    link = page.locator(".searchresults a", has_text=name).first
    while True:
        page.goto(index.url)
        field = page.locator("input[name=query]").first
        field.fill(name)
        field.press("Enter")
        page.wait_for_load_state()
        if link.count():
            break
        assert time.monotonic() < end, f"{index} did not find {name} by searching"
        time.sleep(1)
    link.click()
    page.wait_for_url(re.compile(re.escape(f"/{index.target.name}/{name}")))
