"""The benchmark runs, and its ratios are made of its own figures."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from zoo import bench
from zoo.cli import app


def test_bench_writes_ratios_of_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "MEGAPIXELS", {"12 MP": (120, 90), "24 MP": (160, 120)})
    out = tmp_path / "results" / "bench.json"
    done = CliRunner().invoke(app, ["bench", "grayscale", "--repeats", "1", "--out", str(out)])
    assert done.exit_code == 0, done.output
    figures = json.loads(out.read_text())
    seconds, ratios = figures["seconds"], figures["ratios"]
    assert all(value > 0 for value in seconds.values() if value != seconds["forward"])
    expected = seconds["12 MP file to file"] / seconds["12 MP Pillow decode and encode"]
    assert ratios["12 MP file to file / Pillow decode and encode"] == pytest.approx(expected, rel=0.1)
    assert 50 < figures["peak_memory_mb"]["24 MP file to file"] < 1500


def test_eccv16_shape_has_its_published_size() -> None:
    network = bench._eccv16_shaped()
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(32.24e6, rel=0.001)
