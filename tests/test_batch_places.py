"""Folders and stores behave alike; manifests and leases in them survive what may happen."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from zoo.batch import leases, places
from zoo.batch.folders import Folder, Place
from zoo.batch.manifest import FOLDER, Header, Manifest, Record
from zoo.errors import BatchError

HEADER = Header("abcd", {"model": "grayscale"}, "/scans", "1.0")


@pytest.fixture(params=["folder", "store"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "folder":
        yield places.place(tmp_path / "place")
        return
    memory = fsspec.filesystem("memory")
    yield places.place(f"memory://{tmp_path.name}")
    memory.rm(f"/{tmp_path.name}", recursive=True) if memory.exists(f"/{tmp_path.name}") else None


def record(name: str = "a.jpg", **more: Any) -> Record:
    known = {"status": "done", "size": 3, "stamp": "7", "settings": "abcd", "result": name, "result_size": 4}
    return Record(name, **(known | more))


def test_files_come_and_go(place: Place, tmp_path: Path) -> None:
    assert place.sizes() == {}
    assert place.names("sub") == []
    place.write("sub/a.png", b"old")
    place.write("sub/a.png", b"abc")
    place.write(".colorzoo/b.png", b"hidden")
    place.write("notes.txt", b"text")
    (tmp_path / "new").write_bytes(b"12345")
    place.put(tmp_path / "new", "x/y/c.PNG")
    assert not (tmp_path / "new").exists()
    assert place.sizes() == {"sub/a.png": 3, "notes.txt": 4, "x/y/c.PNG": 5}
    assert [(e.name, e.size) for e in place.entries({".png"})] == [("sub/a.png", 3), ("x/y/c.PNG", 5)]
    assert place.names(".colorzoo") == [".colorzoo/b.png"]
    assert (place.size("sub/a.png"), place.size("sub/b.png")) == (3, None)
    with place.scratch() as scratch, place.fetched("x/y/c.PNG", scratch) as path:
        assert path.read_bytes() == place.read("x/y/c.PNG") == b"12345"
    assert not scratch.exists()
    place.remove("x/y/c.PNG")
    place.remove("x/y/c.PNG")
    assert [e.name for e in place.entries({".png"})] == ["sub/a.png"]
    for name in ("f/1/a.part", "f/1/b.part", "f/2/a.part", "f/3/in/a.part"):
        place.write(name, b"abc")
    place.retain("f", {"f/2"})
    place.retain("none", {"f/2"})
    assert place.sizes() == {"sub/a.png": 3, "notes.txt": 4, "f/2/a.part": 3}


def test_a_change_shows_in_the_stamp(place: Place) -> None:
    place.write("a.png", b"one")
    (before,) = place.entries({".png"})
    time.sleep(0.01)
    place.write("a.png", b"two")
    (after,) = place.entries({".png"})
    assert before.stamp
    assert before.stamp != after.stamp


def test_one_file_is_a_source(place: Place) -> None:
    place.write("sub/a.odd", b"abc")
    found = places.source(f"{place.text}/sub/a.odd")
    assert [(e.name, e.size) for e in found.entries({".png"})] == [("a.odd", 3)]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "empty"),
        ("nothing://x/y", "nothing"),
        ("s3://bucket/x", "pip install s3fs"),
        ("/no/such/folder", "no such"),
    ],
)
def test_a_place_that_cannot_be(name: str, said: str) -> None:
    with pytest.raises(BatchError, match=said):
        places.source(name)


class Twice(MemoryFileSystem):
    """A store of two names, as s3 and s3a, or gs and gcs, are."""

    protocol = ("one", "two")

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        found: str = super()._strip_protocol(path.removeprefix("one://").removeprefix("two://"))
        return found


@pytest.mark.parametrize(
    ("inner", "outer", "expected"),
    [
        ("{}/a/b/c", "{}/a", "b/c"),
        ("{}/ab", "{}/a", None),
        ("{}/link/b", "{}/a", "b"),
        ("local://{}/a/b", "{}/a", "b"),
        ("{}/a/b", "file://{}/x/../a/", "b"),
        ("simplecache::file://{}/a/b", "{}/link", "b"),
        ("{}/a", "memory://{}/a", None),
        ("memory://a/b", "memory:///a/", "b"),
        ("memory://ab", "memory://a", None),
        ("simplecache::memory://a", "memory://a", "."),
        ("one://a/b", "two://a", "b"),
        ("one://a/b", "memory://a", None),
    ],
)
def test_a_place_inside_another(inner: str, outer: str, expected: str | None, tmp_path: Path) -> None:
    for name in Twice.protocol:
        fsspec.register_implementation(name, Twice, clobber=True)
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert places.below(places.place(inner.format(tmp_path)), places.place(outer.format(tmp_path))) == expected


@pytest.mark.parametrize(("found", "same"), [({"host": "b"}, False), ({"host": "a"}, True), ({}, True)])
def test_stores_of_other_hosts_are_others(found: dict[str, str], same: bool) -> None:
    one, other = SimpleNamespace(storage_options={"host": "a", "user": "me"}), SimpleNamespace(storage_options=found)
    assert places._are_one(one, other) is same


def test_a_manifest_is_read_as_it_was_written(place: Place) -> None:
    written = Manifest(place)
    written.begin(HEADER)
    odd = record("b\udcff \u2028.jpg", error="line\nbreak", status="failed", detail={"segments": [{"index": 0}]})
    for each in (record(status="failed"), odd, record(seconds=0.5)):
        written.add(each)
    written.close()
    read = Manifest(place)
    assert read.records == written.records
    assert read.of("a.jpg") == record(seconds=0.5)
    assert read.of(odd.source) == odd
    assert read.headers == {"abcd": HEADER}


def test_segments_are_forgotten_when_their_film_is_whole(place: Place) -> None:
    manifest = Manifest(place)
    manifest.begin(HEADER)
    for part in range(3):
        manifest.add(record("f.mp4", part=part))
    assert len(manifest.records) == 3
    manifest.add(record("f.mp4", detail={"count": 10**9}))  # which earlier versions wrote, and counted up to
    manifest.close()
    assert list(Manifest(place).records) == [("f.mp4", None)]


def test_segments_of_another_film_are_forgotten(place: Place) -> None:
    manifest = Manifest(place)
    manifest.begin(HEADER)
    for part in range(3):
        manifest.add(record("f.mp4", part=part, stamp="7" if part else "8"))
    manifest.add(record("f.mp4", status="failed", size=0, stamp=""))  # as of a disk that is not there
    assert len(manifest.records) == 4
    manifest.add(record("f.mp4", status="planned"))
    manifest.close()
    assert list(Manifest(place).records) == [("f.mp4", 1), ("f.mp4", 2), ("f.mp4", None)]


def test_what_is_damaged_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    place = places.place(tmp_path)
    manifest = Manifest(place)
    manifest.begin(HEADER)
    for name in "abc":
        manifest.add(record(name))
    manifest.close()
    (path,) = (tmp_path / FOLDER).iterdir()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines)[:-5])  # as a kill in the middle of a line leaves it
    assert [key[0] for key in Manifest(place).records] == ["a", "b"]
    assert not caplog.records
    path.write_bytes(b"".join([lines[0], b'\xff\xfe{"half', b"\n", lines[1][:20], b"\n[1]\n", *lines[2:]]))
    assert [key[0] for key in Manifest(place).records] == ["b", "c"]
    assert "3 lines are damaged" in caplog.text


@pytest.mark.parametrize(
    "line",
    [
        "[" * 100_000,
        '["colorzoo_batch"]',
        json.dumps({"colorzoo_batch": 1, "settings": "x", "described": "y", "source": "s", "zoo": "1"}),
        json.dumps({"colorzoo_batch": 1, "settings": "x", "described": {"loading": 1}, "source": "s", "zoo": "1"}),
        json.dumps({"colorzoo_batch": 1, "settings": [], "described": {}, "source": "s", "zoo": "1"}),
        json.dumps({"colorzoo_batch": 1}),
        json.dumps({"begun": "a.jpg"}),
        json.dumps({"source": "x", "status": "gone", "size": 1, "stamp": "", "settings": "abcd"}),
    ],
)
def test_any_line_may_be_damaged(line: str, place: Place, caplog: pytest.LogCaptureFixture) -> None:
    place.write(f"{FOLDER}/000001.jsonl", f"{line}\n".encode())
    found = Manifest(place)
    assert (found.records, found.headers, found.begun) == ({}, {}, set())
    assert "1 lines are damaged" in caplog.text


def test_another_version_is_refused(place: Place) -> None:
    place.write(f"{FOLDER}/000001.jsonl", json.dumps({"colorzoo_batch": 2}).encode() + b"\n")
    with pytest.raises(BatchError, match="of another version; found: 2; expected: 1"):
        Manifest(place)


def test_many_parts_become_one(place: Place) -> None:
    for run in range(23):
        manifest = Manifest(place)
        manifest.begin(HEADER)
        manifest.add(record(f"{run}.jpg"))
        manifest.add(record("again.jpg", tries=run))
        manifest.start(["begun.jpg"] if not run else ["done.jpg"])
        manifest.add(record("done.jpg"))
        manifest.close()
    assert len(place.names(FOLDER)) < 10
    found = Manifest(place)
    assert len(found.records) == 25
    assert found.begun == {"begun.jpg"}
    assert found.of("again.jpg") == record("again.jpg", tries=22)


def test_one_run_at_a_time(place: Place) -> None:
    with leases.held(place), pytest.raises(BatchError, match="another run is at work"), leases.held(place):
        pass
    with leases.held(place):
        pass


@pytest.mark.parametrize("lease", [b"{}", b'{"renewed": "soon"}', b"[" * 100_000, b"\xff"])
def test_a_damaged_lease_holds_nobody_up(lease: bytes) -> None:
    place = places.place("memory://damaged")
    place.write(leases._LEASE, lease)
    with leases.held(place):
        pass


def test_the_lease_of_a_dead_run_ends() -> None:
    place = places.place("memory://leased")
    place.write(leases._LEASE, json.dumps({"id": "x", "host": "h", "pid": 4, "renewed": time.time() - 60}).encode())
    with pytest.raises(BatchError, match=r"process 4 on h; if that is dead, its lease ends in [56]\d s"):
        leases.held(place).__enter__()
    place.write(leases._LEASE, json.dumps({"id": "x", "renewed": time.time() - 600}).encode())
    with leases.held(place):
        pass
    assert place.size(leases._LEASE) is None


def test_what_a_killed_run_left_is_swept_away(tmp_path: Path) -> None:
    place = places.place(tmp_path)
    assert isinstance(place, Folder)
    left = place.scratch()  # held, since a context that nobody holds ends
    scratch = left.__enter__()
    (scratch / "half.png").write_bytes(b"x")
    with leases.held(place):
        assert not scratch.exists()


@pytest.mark.parametrize(("owner", "renewed"), [("own", True), ("other", False)])
def test_a_run_that_slept_leaves_the_lease_to_who_took_over(
    owner: str, renewed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = places.place("memory://slept")
    assert isinstance(place, places.Store)
    place.write(leases._LEASE, json.dumps({"id": owner, "renewed": 0}).encode())
    turns = iter([False, True])
    ended = SimpleNamespace(wait=lambda _: next(turns))
    leases._renew(place, {"id": "own"}, ended)  # type: ignore[arg-type]
    found = leases._other(place)
    assert (found["id"], found["renewed"] > 0) == (owner, renewed)
