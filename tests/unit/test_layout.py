"""The rooms of the house: what a role has, what its tasks files look like, how things are named."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.unit.repository import ROLE_IDS, ROLES, ROOT, files, load, tasks_of, texts

every_role = pytest.mark.parametrize("role", ROLES, ids=ROLE_IDS)

INCLUDES = {
    "ansible.builtin.import_role",
    "ansible.builtin.import_tasks",
    "ansible.builtin.include_role",
    "ansible.builtin.include_tasks",
    "ansible.builtin.include_vars",
}
LONGEST_TASKS_FILE = 70
# Other roles include these and fill in their variables
INTERNAL = {"container", "python_service"}


def tasks_files(role: Path) -> list[Path]:
    return sorted([*role.glob("tasks/**/*.yml"), *role.glob("handlers/*.yml")])


def all_tasks_files() -> list[Path]:
    return [path for role in ROLES for path in tasks_files(role)] + sorted(ROOT.glob("playbooks/**/*.yml"))


@every_role
def test_role_is_complete(role: Path) -> None:
    wanted = ["README.md", "defaults/main.yml", "meta/argument_specs.yml", "meta/main.yml", "tasks/main.yml"]
    assert [name for name in wanted if not (role / name).is_file()] == []


@every_role
def test_role_describes_itself(role: Path) -> None:
    meta = load(role / "meta" / "main.yml")
    info = meta["galaxy_info"]
    assert info["description"]
    assert info["author"]
    assert info["license"] == "GPL-3.0-or-later"
    assert info["min_ansible_version"] == "2.19"
    assert {"Debian", "EL"} <= {platform["name"] for platform in info["platforms"]}
    assert meta.get("dependencies", []) == [], "a role knows nothing of its siblings"


@every_role
def test_main_tasks_are_a_table_of_contents(role: Path) -> None:
    others = [task.get("name") for task in tasks_of(load(role / "tasks" / "main.yml")) if not INCLUDES & set(task)]
    assert not others


@every_role
def test_tasks_files_are_short(role: Path) -> None:
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in role.glob("tasks/**/*.yml")}
    assert not {name: length for name, length in lengths.items() if length > LONGEST_TASKS_FILE}


@every_role
def test_task_names_in_included_files_say_which_file(role: Path) -> None:
    wrong = [
        f"{path.name}: {task.get('name')}"
        for path in role.glob("tasks/**/*.yml")
        if path.name != "main.yml"
        for task in tasks_of(load(path))
        if not re.match(r"[\w /]+ \| [A-Z]", str(task.get("name")))
    ]
    assert not wrong


@every_role
def test_roles_leave_the_wiring_to_playbooks(role: Path) -> None:
    """No groups, no other host's or role's variables, no privileges, no facts of their own."""
    wrong = []
    siblings = "|".join(name for name in ROLE_IDS if name not in {role.name, *INTERNAL})
    for path in [*tasks_files(role), *role.rglob("*.j2"), *role.glob("defaults/*.yml"), *role.glob("vars/*.yml")]:
        text = re.sub(r"^\s*#.*$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        where = path.relative_to(role)
        if re.search(r"\bhostvars\b|\bgroups\[|\bgroup_names\b|\bbecome: true\b", text):
            wrong.append(f"{where}: hostvars, groups or become")
        if re.search(r"ansible\.builtin\.(setup|gather_facts|package_facts|service_facts):", text):
            wrong.append(f"{where}: gathers facts")
        expressions = " ".join(re.findall(r"\{[{%].*?[%}]\}", text, flags=re.DOTALL))
        wrong += [f"{where}: {name}" for name in re.findall(rf"\b(?:{siblings})_\w+", expressions)]
    assert not wrong


@pytest.mark.parametrize("path", all_tasks_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_roles_are_named_in_full(path: Path) -> None:
    content = load(path)
    names = [
        role["role"] if isinstance(role, dict) else role for play in plays(content) for role in play.get("roles", [])
    ]
    for task in tasks_of(content):
        for module in ("ansible.builtin.include_role", "ansible.builtin.import_role"):
            if module in task:
                names.append(task[module]["name"])
        modules = [key for key in task if "." in key]
        assert len(modules) == 1 or "import_playbook" in task, f"{task.get('name')}: one module, named in full"
    assert not [name for name in names if not name.startswith("pyindex.fleet.")]


def plays(content: Any) -> list[dict[str, Any]]:
    return [item for item in content if "hosts" in item] if isinstance(content, list) else []


def test_public_variables_are_not_overwritten() -> None:
    wrong = []
    for path in all_tasks_files():
        for task in tasks_of(load(path)):
            public = [name for name in task.get("ansible.builtin.set_fact", {}) if not name.startswith("__")]
            wrong += [f"{path.relative_to(ROOT)}: {name}" for name in public if name != "cacheable"]
    assert not wrong


def test_playbook_names_work_in_an_installed_collection() -> None:
    """Ansible cannot run a playbook with a hyphen as pyindex.fleet.NAME."""
    assert not [
        path.name
        for path in ROOT.glob("playbooks/*")
        if path.is_file() and not re.fullmatch(r"[a-z0-9_]+\.yml", path.name)
    ]


# Put together, so that this file itself does not hold them
REGISTRIES = [
    ".".join(parts)
    for parts in [
        ("pypi", "org"),
        ("files", "pythonhosted", "org"),
        ("pypi", "python", "org"),
        ("deb", "debian", "org"),
        ("security", "debian", "org"),
        ("ftp", "debian", "org"),
        ("archive", "ubuntu", "com"),
        ("registry-1", "docker", "io"),
        ("index", "docker", "io"),
        ("download", "docker", "com"),
        ("ghcr", "io"),
        ("quay", "io"),
        ("galaxy", "ansible", "com"),
        ("bootstrap", "pypa", "io"),
    ]
]


def test_no_registry_is_named() -> None:
    """Where packages come from is the machine's business: its settings are inherited."""
    pattern = re.compile(rf"(?<![\w.-])(?:{'|'.join(map(re.escape, REGISTRIES))})\b")
    found = [f"{path}: {match[0]}" for path, text in texts() for match in pattern.finditer(text)]
    assert not found


def test_no_path_of_this_machine_is_named() -> None:
    found = [str(path) for path, text in texts() if re.search(rf"{re.escape(str(ROOT))}\b", text)]
    assert not found


def test_no_secret_is_in_the_repository() -> None:
    wrong = [
        str(path.relative_to(ROOT)) for path in files() if path.suffix in {".key", ".pem"} or path.name == "vault.yml"
    ]
    wrong += [
        str(path) for path, text in texts() if re.search(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----\n[\w+/=]{20}", text)
    ]
    assert not wrong


def test_programs_can_be_run() -> None:
    wrong = []
    for path in files():
        first = path.read_bytes()[:2]
        executable = bool(path.stat().st_mode & 0o111)
        # A module begins with #! for Ansible, which runs it; a template may make a program
        elsewhere = path.parent == ROOT / "plugins" / "modules" or path.suffix == ".j2"
        if (first == b"#!") != executable and not elsewhere:
            wrong.append(
                f"{path.relative_to(ROOT)}: {'executable without #!' if executable else '#! but not executable'}"
            )
    assert not wrong
