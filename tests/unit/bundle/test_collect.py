"""Gathering wheels and seeds, with the real pip and a folder in place of an index."""

from __future__ import annotations

import pytest

from pyindex_bundle.collect import Wanted, Work
from pyindex_bundle.description import Host, host
from pyindex_bundle.errors import BundleError
from tests.unit.bundle.made import BACKEND, BOOKWORM, OLD, TRIXIE, Index


def names(work: Work, name: str) -> list[str]:
    return sorted(path.name for path in (work.tree / name).iterdir())


def seeded(*requirements: str) -> Host:
    data = {"name": "index1", "server": "pypiserver", "python": "3.11.2", "glibc": "2.36", "machine": "x86_64"}
    return host({**data, "seed": {"requirements": list(requirements), "pythons": ["3.13"]}})


def test_takes_the_wheel_of_each_target(index: Index, work: Work) -> None:
    for tag in ("cp311-cp311-manylinux_2_17_x86_64", "cp313-cp313-manylinux_2_17_x86_64", "cp312-cp312-win_amd64"):
        index.wheel("a", tag=tag)
    index.wheel("b")
    lock = index.lock("a==1.0", "b==1.0")
    content = work.wheels("wheels/x", [Wanted((lock,), BOOKWORM), Wanted((lock,), TRIXIE)])
    assert names(work, "wheels/x") == [
        "a-1.0-cp311-cp311-manylinux_2_17_x86_64.whl",
        "a-1.0-cp313-cp313-manylinux_2_17_x86_64.whl",
        "b-1.0-py3-none-any.whl",
    ]
    assert content["made_for"] == [str(BOOKWORM), str(TRIXIE)]


def test_names_what_has_no_wheel_for_the_target(index: Index, work: Work) -> None:
    index.wheel("good")
    index.wheel("newer", tag="cp311-cp311-manylinux_2_39_x86_64")
    lock = index.lock("good==1.0", "newer==1.0")
    with pytest.raises(BundleError, match=r"newer==1\.0.*Python 3\.11\.2 on x86_64 with glibc 2\.36"):
        work.wheels("wheels/x", [Wanted((lock,), BOOKWORM)])


def test_refuses_a_file_with_another_hash(index: Index, work: Work) -> None:
    path = index.wheel("a")
    lock = index.lock("a==1.0")
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(BundleError, match=r"a==1\.0"):
        work.wheels("wheels/x", [Wanted((lock,), BOOKWORM)])
    assert names(work, "wheels/x") == []


def test_fetches_only_what_changed(index: Index, work: Work) -> None:
    """What is there is not asked for again: the index may even have lost it. What is not wanted any more goes."""
    same, old = index.wheel("same"), index.wheel("other")
    first = index.lock("same==1.0", "other==1.0")
    index.wheel("other", "2.0")
    second = index.lock("same==1.0", "other==2.0")
    work.wheels("wheels/x", [Wanted((first,), BOOKWORM)])
    same.unlink()
    old.unlink()
    work.wheels("wheels/x", [Wanted((first,), BOOKWORM)])
    work.wheels("wheels/x", [Wanted((second,), BOOKWORM)])
    assert names(work, "wheels/x") == ["other-2.0-py3-none-any.whl", "same-1.0-py3-none-any.whl"]


def test_puts_a_damaged_file_right(index: Index, work: Work) -> None:
    index.wheel("a")
    lock = index.lock("a==1.0")
    work.wheels("wheels/x", [Wanted((lock,), BOOKWORM)])
    kept = work.tree / "wheels/x/a-1.0-py3-none-any.whl"
    kept.write_bytes(b"damaged")
    work.wheels("wheels/x", [Wanted((lock,), BOOKWORM)])
    assert kept.read_bytes() == (index.folder / kept.name).read_bytes()


def test_takes_sources_with_the_backend_of_the_lock(index: Index, work: Work) -> None:
    """A project without a wheel comes as its source; its metadata is made by the locked build backend."""
    index.wheel("setuptools", "80.0", more=BACKEND)
    index.source()
    lock = index.lock("setuptools==80.0", "source==1.0")
    work.wheels("wheels/x", [Wanted((lock,), TRIXIE, ("source",))])
    assert names(work, "wheels/x") == ["setuptools-80.0-py3-none-any.whl", "source-1.0.tar.gz"]
    with pytest.raises(BundleError, match=r"source==1\.0"):
        work.wheels("wheels/y", [Wanted((lock,), TRIXIE)])


def test_seed_has_all_that_each_python_needs(index: Index, work: Work) -> None:
    """Dependencies are judged by the Python that installs, not by the controller's."""
    index.wheel(
        "app", requires=["old ; python_version < '3.13'", "new ; python_version >= '3.13'", "win ; os_name == 'nt'"]
    )
    index.wheel("old")
    index.wheel("new", requires=["deep"])
    index.wheel("deep")
    content = work.seed(seeded("app"), refresh=False)
    assert [name.partition("-")[0] for name in names(work, "seed/index1")] == ["app", "deep", "new", "old"]
    assert content["requirements"] == ["app"]


def test_seed_stays_what_it_was_until_asked(index: Index, work: Work) -> None:
    """The same input gives the same bundle, also when the index has something newer."""
    index.wheel("app")
    work.seed(seeded("app"), refresh=False)
    index.wheel("app", "2.0")
    work.seed(seeded("app"), refresh=False)
    assert names(work, "seed/index1") == ["app-1.0-py3-none-any.whl"]
    work.seed(seeded("app"), refresh=True)
    assert names(work, "seed/index1") == ["app-2.0-py3-none-any.whl"]


def test_seed_names_what_cannot_be_had(index: Index, work: Work) -> None:
    index.wheel("app", requires=["absent>=1"])
    with pytest.raises(BundleError, match=r"absent>=1"):
        work.seed(seeded("app"), refresh=False)


def test_wheels_for_an_old_python_are_refused_by_name(index: Index, work: Work) -> None:
    index.wheel("a", tag="cp311-cp311-manylinux_2_17_x86_64")
    with pytest.raises(BundleError, match=r"a==1\.0.*Python 3\.9\.2"):
        work.wheels("wheels/x", [Wanted((index.lock("a==1.0"),), OLD)])


def test_forgets_sets_that_are_not_asked_for_any_more(index: Index, work: Work) -> None:
    index.wheel("a")
    lock = index.lock("a==1.0")
    for name in ("wheels/x", "wheels/y", "controller"):
        work.wheels(name, [Wanted((lock,), BOOKWORM)])
    work.forget(["wheels/x", "controller"])
    assert sorted(str(path.relative_to(work.tree)) for path in work.tree.rglob("*.whl")) == [
        "controller/a-1.0-py3-none-any.whl",
        "wheels/x/a-1.0-py3-none-any.whl",
    ]
