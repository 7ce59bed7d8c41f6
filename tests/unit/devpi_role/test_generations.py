"""What a commit moves in the file of generations, on a primary and on a replica."""

from __future__ import annotations

from tests.unit.devpi_role.test_plugins import run

# A database of devpi-server's own, with the keys of users, indexes and projects
BEGIN = """
import json, pathlib, tempfile
from devpi_server.keyfs import KeyFS, Transaction
from devpi_server.keyfs_sqlite_fs import Storage
from pyindex_devpi import generations as module

folder = pathlib.Path(tempfile.mkdtemp())
path = folder / "generations"
file = module.Generations(path)
Transaction.commit = module.told(file, Transaction.commit)
KeyFS.import_changes = module.told_of_import(file, KeyFS.import_changes)

class Files:
    def __init__(self, connection): pass
    def is_dirty(self): return False
    def get_rel_renames(self): return []
    def commit(self): pass
    def rollback(self): pass
    def __enter__(self): return self
    def __exit__(self, *unused): pass

def database(name):
    keyfs = KeyFS(folder / name, lambda base, notify_on_commit, cache_size: Storage(
        base, notify_on_commit=notify_on_commit, cache_size=cache_size), io_file_factory=Files)
    keyfs.add_key("USER", "{user}/.config", dict)
    keyfs.add_key("PROJNAMES", "{user}/{index}/.projects", set)
    keyfs.add_key("PROJSIMPLELINKS", "{user}/{index}/{project}/.simple", dict)
    keyfs.add_key("STAGEFILE", "{user}/{index}/+f/{hashdir_a}/{hashdir_b}/{filename}", dict)
    return keyfs

seen = path.read_bytes()
def moved():
    global seen
    now, slots = path.read_bytes(), []
    for slot in range(module.SLOTS):
        place = slice(slot * 8, slot * 8 + 8)
        if now[place] != seen[place]:
            slots.append({module.EVERYTHING: "all", module.NAMES: "names", module.slot_of("a"): "a",
                          module.slot_of("b"): "b"}.get(slot, slot))
    seen = now
    return slots

index = {"user": "u", "index": "i"}
keyfs = database("primary")
found = []
def write(change):
    with keyfs.write_transaction():
        change()
    found.append(moved())

write(lambda: keyfs.USER(user="u").set({"indexes": {}}))
write(lambda: (keyfs.PROJSIMPLELINKS(project="a", **index).set({"links": []}), keyfs.PROJNAMES(**index).set({"a"})))
write(lambda: keyfs.PROJNAMES(**index).set({"b"}))
entry = {"hashdir_a": "0", "hashdir_b": "1", "filename": "f.whl", **index}
write(lambda: keyfs.STAGEFILE(**entry).set({"project": "b"}))
write(lambda: keyfs.STAGEFILE(**entry).delete())
write(lambda: keyfs.USER(user="u").set({"indexes": {"i": {}}}))
"""
EXPECTED = [["all"], ["names", "a"], ["names", "a", "b"], ["b"], ["b"], ["all"]]


def normal(slots: list[list[str]]) -> list[set[str]]:
    return [set(each) for each in slots]


def test_a_commit_moves_what_it_changes() -> None:
    assert normal(run(BEGIN + "print(json.dumps(found))")) == normal(EXPECTED)


def test_reads_and_what_is_taken_back_move_nothing() -> None:
    program = """
found.clear()
with keyfs.read_transaction():
    keyfs.USER(user="u").get()
found.append(moved())
write(lambda: None)
try:
    with keyfs.write_transaction():
        keyfs.USER(user="u").set({"indexes": {"j": {}}})
        raise ValueError
except ValueError:
    found.append(moved())
print(json.dumps(found))
"""
    assert run(BEGIN + program) == [[], [], []]


def test_what_a_replica_takes_over_moves_the_same() -> None:
    program = """
replica, found = database("replica"), []
with keyfs.get_connection() as connection:
    changes = [connection.get_changes(serial) for serial in range(connection.last_changelog_serial + 1)]
for serial, change in enumerate(changes):
    replica.import_changes(serial, change)
    found.append(moved())
print(json.dumps(found))
"""
    assert normal(run(BEGIN + program)) == normal(EXPECTED)


def test_the_word_comes_after_readers_can_see_the_change() -> None:
    program = """
order = []
class Watched:
    def move(self, slots):
        with keyfs.get_connection() as connection:
            order.append(connection.last_changelog_serial)
Transaction.commit = module.told(Watched(), Transaction.commit.__wrapped__)
with keyfs.get_connection() as connection:
    before = connection.last_changelog_serial
with keyfs.write_transaction():
    keyfs.USER(user="v").set({"indexes": {}})
print(json.dumps([serial - before for serial in order]))
"""
    assert run(BEGIN + program) == [1]


def test_a_new_file_has_nothing_of_the_old_one() -> None:
    program = """
first = path.read_bytes()
module.Generations(path)
second = path.read_bytes()
same = [slot for slot in range(0, len(first), 8) if first[slot:slot + 8] == second[slot:slot + 8]]
print(json.dumps([len(first), len(second), same, oct(path.stat().st_mode & 0o777)]))
"""
    assert run(BEGIN + program) == [32768, 32768, [], "0o644"]
