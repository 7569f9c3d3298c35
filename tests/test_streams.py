"""Photos as streams: written as shards, read in lanes, each once an epoch, from where a run stopped."""

import io
import json
import tarfile
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from training import feed, streams
from training.config import DataConfig, LogConfig, RunConfig, TrainConfig
from training.shards import main, write_shards
from training.train import main as train
from zoo.errors import ConfigError

LANES = 2
CONFIG = DataConfig(crop=32, lanes=LANES, shuffle=4, valid_share=0.2, workers=0)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty-four pictures, with a copy, a grey and a broken one among them."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for i in range(24):
        small = rng.integers(0, 255, (3, 3, 3), dtype=np.uint8)
        small[0] = (200, 60, 40)
        Image.fromarray(small).resize((64, 48), Image.Resampling.BICUBIC).save(folder / f"{'ab'[i % 2]}__{i:02d}.png")
    (folder / "copy.png").write_bytes((folder / "a__00.png").read_bytes())
    Image.new("RGB", (64, 48), (90, 90, 90)).save(folder / "grey.png")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


@pytest.fixture
def shards(photos: Path, tmp_path: Path) -> Path:
    write_shards([str(photos)], tmp_path / "shards", size=40, per_shard=5, workers=0)
    return tmp_path / "shards"


def keys(source: streams.Source) -> list[str]:
    return [record.key for shard in range(len(source)) for record in source.records(shard, 0)]


def test_shards_hold_each_photo_once(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "shards"
    command = ["--data", str(photos), "--out", str(out), "--size", "40", "--per-shard", "5", "--workers", "0"]
    assert main(command) == 0
    record = json.loads((out / "shards.json").read_text())
    assert record["left_out"] == {"unreadable": 1, "near grey": 1, "there twice": 1}
    assert list(record["shards"].values()) == [5, 5, 5, 5, 4]
    assert sorted(p.name for p in out.iterdir()) == [*(f"{i:06d}.tar" for i in range(5)), "shards.json"]
    source = streams.TarShards(str(out))
    assert source.photos == 24
    assert len(set(keys(source))) == 24
    with tarfile.open(out / "000000.tar") as tar:
        picture, about = tar.getmembers()[:2]
        with Image.open(tar.extractfile(picture)) as image:  # type: ignore[arg-type]
            assert min(image.size) == 40
        assert set(json.load(tar.extractfile(about))) == {"name", "source"}  # type: ignore[arg-type]
    numbered = streams.TarShards(str(out / "{000001..000003}.tar"))
    assert keys(numbered) == keys(source)[5:20]
    assert [r.key for r in source.records(1, 3)] == keys(source)[8:10]
    assert main(command) == 2
    assert "choose another --out" in capsys.readouterr().err
    for where in (str(out / "{000001..000009}.tar"), str(tmp_path)):
        with pytest.raises(ConfigError, match="shards"):
            streams.TarShards(where)


def walk(source: streams.Source, config: DataConfig, lane: int, count: int, state: Any = None) -> list[Any]:
    place = streams.Place(state) if state else streams.Place()
    crops = islice(streams.lane_crops(source, config, 0, lane, place), count)
    return [(L, ab, seed, place.state) for L, ab, seed in crops]


def test_an_epoch_of_all_lanes_has_each_photo_once_and_no_held_out_one(shards: Path) -> None:
    source = streams.TarShards(str(shards))
    training = [key for key in keys(source) if not streams.held_out(key, CONFIG)]
    assert 12 < len(training) < 24
    first: list[int] = []
    order: dict[int, list[int]] = {0: [], 1: []}
    for lane in range(LANES):
        seen = walk(source, CONFIG, lane, 40)
        first += [seed for *_, seed, state in seen if state[0] == 0]
        for epoch in (0, 1):
            order[epoch] += [state[2] for *_, state in seen if state[0] == epoch]
    assert len(first) == len(set(first)) == len(training)
    assert order[0] != order[1]
    assert order[0] != sorted(order[0])


def test_a_lane_goes_on_where_it_was(shards: Path) -> None:
    source = streams.TarShards(str(shards))
    config = replace(CONFIG, cut_mix=0.8)
    whole = walk(source, config, 1, 24)
    assert whole[-1][3][0] >= 1  # into the next epoch
    for cut in (1, 5, 12, 20):
        rest = walk(source, config, 1, 24 - cut, whole[cut - 1][3])
        for (L, ab, *one), (other_L, other_ab, *other) in zip(whole[cut:], rest, strict=True):
            assert (other_L == L).all()
            assert (ab == other_ab).all()
            assert one == other


def test_broken_photos_and_torn_shards_are_counted_and_passed(shards: Path) -> None:
    torn = sorted(shards.glob("*.tar"))[0]
    torn.write_bytes(torn.read_bytes()[: torn.stat().st_size // 3])
    with tarfile.open(sorted(shards.glob("*.tar"))[1], "a") as tar:
        for name in ("bad.jpg", "gone.png"):
            member = tarfile.TarInfo(name)
            member.size = 4
            tar.addfile(member, io.BytesIO(b"junk"))
    source = streams.TarShards(str(shards))
    config = replace(CONFIG, lanes=1, valid_share=1e-9)
    last = next(state for *_, state in walk(source, config, 0, 60) if state[0] == 1)
    assert last[4] == 3
    nothing = streams.TarShards(str(torn))
    torn.write_bytes(b"junk")
    with pytest.raises(ConfigError, match="no photo"):
        walk(nothing, config, 0, 1)


def run_config(**options: Any) -> RunConfig:
    return RunConfig(
        model="regression",
        train=TrainConfig(steps=4, batch_size=8),
        data=replace(CONFIG, **options),
        log=LogConfig(valid_photos=2, valid_size=32),
    )


def test_workers_and_processes_read_the_same_batches(shards: Path, tmp_path: Path) -> None:
    config = run_config(shards=str(shards), cut_mix=0.5)
    one = feed.open_feed(config, tmp_path, 0, 1, False)
    halves = [feed.open_feed(config, tmp_path, index, 2, False) for index in range(2)]
    two_workers = feed.open_feed(run_config(shards=str(shards), cut_mix=0.5, workers=2), tmp_path, 0, 1, False)
    assert two_workers.workers == 2  # type: ignore[attr-defined]
    readers = [f.steps(0) for f in (one, two_workers, *halves)]
    for _ in range(4):
        whole, by_workers, *split = ([part.seeds for part in next(reader)] for reader in readers)
        assert torch.equal(torch.cat(whole), torch.cat(by_workers))
        assert torch.equal(torch.cat(whole), torch.cat([torch.cat(seeds) for seeds in split]))
    assert one.state == feed.merged([half.state for half in halves]) == two_workers.state
    readers[1].close()
    assert torch.equal(one.colors(8), halves[1].colors(8))
    assert len(one.valid) == 2


@pytest.mark.parametrize("kind", ["imagefolder", "parquet"])
def test_a_data_set_is_read_as_a_stream(kind: str, photos: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    folder = tmp_path / "set"
    folder.mkdir()
    good = sorted(photos.glob("[ab]__*.png"))
    if kind == "imagefolder":
        for path in good:
            (folder / path.name).write_bytes(path.read_bytes())
    else:
        for part in range(3):
            rows = {"image": [str(p) for p in good[part::3]], "label": list(range(8))}
            table = datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image())
            table.to_parquet(folder / f"train-{part:05d}-of-00003.parquet")
    source = streams.open_source(replace(CONFIG, hub=str(folder)))
    found = keys(source)
    assert len(found) == len(set(found)) == 24
    assert len(walk(source, replace(CONFIG, hub=str(folder)), 0, 6)) == 6
    with pytest.raises(ConfigError, match="image"):
        streams.HubDataset(replace(CONFIG, hub=str(folder), hub_column="picture"))


def test_a_run_reads_a_data_set(photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    config = tmp_path / "c.toml"
    config.write_text(
        'model = "regression"\n[network]\nnetwork = "alpha"\n'
        f'[data]\nhub = "{photos}"\nlanes = 2\ncrop = 32\nvalid_share = 0.3\nworkers = 0\n'
        '[train]\nsteps = 3\nbatch_size = 4\nprecision = "fp32"\n[log]\nevery = 1\nvalid_photos = 2\nvalid_size = 32\n'
    )
    assert train([str(config), "--out", str(tmp_path / "run")]) == 0
    assert json.loads((tmp_path / "run/run.json").read_text())["photos"]["shards"] >= 2
    assert len((tmp_path / "run/log.jsonl").read_text().splitlines()) == 3


def test_what_streams_cannot_do_is_refused(shards: Path, tmp_path: Path, photos: Path) -> None:
    for options, message in (
        ({"limit": 5}, "data.limit"),
        ({"source_balance": 0.5}, "data.source_balance"),
        ({"lanes": 8}, "too few shards"),
        ({"lanes": 3}, "data.lanes = 3"),
        ({"folders": (str(photos),)}, "one kind of source"),
        ({"hub": str(photos), "hub_split": "nonsense"}, "one kind of source"),
    ):
        with pytest.raises(ConfigError, match=message):
            feed.open_feed(run_config(shards=str(shards), **options), tmp_path, 0, 1, False)
    with pytest.raises(ConfigError, match="cannot be had"):
        streams.open_source(replace(CONFIG, hub=str(photos), hub_split="nonsense"))
