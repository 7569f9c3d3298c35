"""A Ray cluster of two workers makes what one process makes, whatever dies."""

import importlib
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import archives
import fsspec
import pytest

from zoo import batch
from zoo.batch import cluster
from zoo.batch.folders import Folder
from zoo.batch.settings import Settings
from zoo.batch.work import Job
from zoo.errors import BatchError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cluster of two cores; its processes find the model that kills and the store of objects."""
    import ray

    site = archives.install(tmp_path_factory.mktemp("site"))
    patch = pytest.MonkeyPatch()
    patch.syspath_prepend(str(site))
    mark = site / "mark"
    more = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}  # a nice worker starves beside other work
    for key, value in archives.environment(site, mark, **more).items():
        if os.environ.get(key) != value:
            patch.setenv(key, value)
    fsspec.register_implementation("shelf", "shelf_store.Shelf", clobber=True)  # likewise for stores
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield mark
    ray.shutdown()
    patch.undo()


def run(src: object, dst: object, **options: object) -> batch.Summary:
    return batch.run(str(src), str(dst), **options)  # type: ignore[arg-type]


def test_nothing_is_lost_or_doubled_when_actors_die(ray: Path, registry_sandbox: None, tmp_path: Path) -> None:
    sys.modules.pop("deadly", None)  # registered by another test, and forgotten with its registry
    importlib.import_module("deadly")  # this process may have looked for plug-ins before
    src = archives.pictures(tmp_path / "in", 8)
    archives.flat(src / "0-once.png", archives.WHITE)
    archives.flat(src / "always.png", archives.BLACK)
    (src / "bad.png").write_bytes(b"no picture")
    summary = run(src, tmp_path / "out", model="deadly", engine="ray", workers=2)
    assert ray.exists()
    assert {record.source: str(record.error)[:40] for record in summary.failed}.keys() == {"always.png", "bad.png"}
    assert "died 2 times" in next(str(r.error) for r in summary.failed if r.source == "always.png")
    assert summary.done == 9
    expected = set(archives.contents(src)) - {"always.png", "bad.png"}
    assert archives.done(tmp_path / "out") == dict.fromkeys(expected, 1)
    for name in ("always.png", "bad.png"):
        (src / name).unlink()
    assert run(src, tmp_path / "out", model="deadly", engine="ray", workers=2).kept == 9
    run(src, tmp_path / "once", model="deadly", workers=0)
    assert archives.contents(tmp_path / "out") == archives.contents(tmp_path / "once")


def test_stores_and_films(ray: Path, tmp_path: Path) -> None:
    src = archives.pictures(tmp_path / "in", 2)
    archives.film(src / "old.mkv", scenes=2, length=52, codec="libx264", sounds=["eng"])
    common = {
        "model": "fusion",
        "segment": 2.5,
        "preset": "ultrafast",
        "crf": 0,
        "dtype": "float32",
        "backend": "torch",
    }
    summary = run(f"shelf://{src}", f"shelf://{tmp_path}/out", engine="ray", **common)
    assert (summary.done, summary.failed) == (3, [])
    assert any(record.get("part") == 1 for record in archives.records(tmp_path / "out"))  # it was split
    run(src, tmp_path / "once", workers=0, **common)
    found, expected = archives.contents(tmp_path / "out"), archives.contents(tmp_path / "once")
    assert found.keys() == expected.keys()
    assert {name: found[name] for name in found if name.endswith(".png")} == {
        name: expected[name] for name in expected if name.endswith(".png")
    }
    import clips

    assert clips.times_of(tmp_path / "out/old.mkv") == clips.times_of(tmp_path / "once/old.mkv")
    for one, other in zip(clips.read(tmp_path / "out/old.mkv"), clips.read(tmp_path / "once/old.mkv"), strict=True):
        for index in range(3):
            assert (clips.plane(one, index) == clips.plane(other, index)).all()


def test_an_interrupt_keeps_what_was_done(ray: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C comes while no row has: they do once all of a block are done, and later."""
    src, dst = archives.pictures(tmp_path / "in", 6), tmp_path / "out"

    def waiting(_: object) -> Iterator[object]:
        rows = iter(real(_))
        next(rows)
        deadline = time.monotonic() + 60
        while len(archives.contents(dst)) < 6 and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(1)  # until the last one is told as well
        raise KeyboardInterrupt
        yield

    import ray.data

    real = ray.data.Dataset.iter_rows
    monkeypatch.setattr(ray.data.Dataset, "iter_rows", waiting)
    seen: list[batch.Progress] = []
    with pytest.raises(KeyboardInterrupt):
        run(src, dst, model="grayscale", engine="ray", workers=2, progress=seen.append)
    assert seen[-1].done == 6
    assert run(src, dst, model="grayscale", workers=0, backend="torch", dtype="float32").kept == 6


@pytest.mark.parametrize(
    ("machines", "workers", "expected"),
    [
        ([2], None, (2, 0.5)),
        ([2], 8, (8, 0.12)),
        ([1], None, (1, 0.5)),
        ([16, 16], None, (32, 0.93)),
        ([4], 1, (1, 0.75)),
    ],
)
def test_readers_have_a_core_left(machines: list[int], workers: int | None, expected: tuple[int, float]) -> None:
    class Ray:
        @staticmethod
        def nodes() -> list[dict[str, object]]:
            return [{"Alive": True, "Resources": {"CPU": float(cores)}} for cores in machines]

    found = cluster._shares(Ray, workers, 0)
    assert found == expected
    assert found[0] * found[1] <= sum(machines) - (0.5 if machines == [1] else 1)
    with pytest.raises(BatchError, match="has no such GPU"):
        cluster._shares(Ray, workers, 0.5)


def test_no_such_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    src = archives.pictures(tmp_path / "in", 1)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BatchError, match=r"Ray is not installed; .*pip install 'colorzoo\[ray\]'"):
        run(src, tmp_path / "out", model="grayscale", engine="ray")


@pytest.mark.parametrize("address", ["127.0.0.1:{}", "ray://127.0.0.1:{}", "127.0.0.1:99999", "auto"])
def test_nobody_at_an_address_is_told_at_once(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # and does not listen
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{free.getsockname()[1]}")
        address = address.format(free.getsockname()[1])
        job = Job(Folder("/in"), Folder("/out"), Settings())
        with pytest.raises(BatchError, match=f"no Ray cluster at {address}; found"):
            cluster.Cluster(job, 1, address=address)._start(None)  # Ray is not asked
