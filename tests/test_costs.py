"""Hours of training and of archives are reckoned from measured figures, and known when they are stale."""

import json
from pathlib import Path

import pytest

from training import archives, costs
from zoo.evaluation.speed import results
from zoo.evaluation.speed.results import Row, Speed

_AT = {"model": "fusion", "backend": "torch", "dtype": "float32"}


def measured(*left_out: str) -> Speed:
    """A run of `colorzoo bench` with round figures."""
    stages = {"decode": 1.0, "network": 2.0, "encode": 1.0}
    rows = (
        Row(kind=results.FOLDER, parts={"cpu": 36.0, "wall": 20.0, "photos": 100, "cores": 2}, size="1 MP", **_AT),
        Row(kind=results.STAGES, parts=stages, size="1 MP", **_AT),
        Row(kind=results.FILM, times=(2.0,), parts={"frames": 100}, threads=2, **_AT),
        Row(
            kind=results.FILM, subject=results.TRANSCODE, times=(1.0,), parts={"frames": 100}, threads=2, model="fusion"
        ),
    )
    return Speed(
        complete=True,
        settings={"sizes": {}, "threads": [2], "film": "640 x 480"},
        models={"fusion": {}},
        rows=tuple(row for row in rows if row.kind not in left_out),
        versions={},
        machine={},
    )


def test_a_photos_work_is_shared_out_as_its_stages_are() -> None:
    assert archives.photo_work(measured(), "fusion") == pytest.approx((0.18, 0.18, 2))
    assert archives.film_rates(measured(), "fusion") == (50, 100)


def test_hours_follow_from_the_rates() -> None:
    text = archives.table(measured(), "fusion", "a GPU", 1000)
    assert f"| 5.0 | {1e6 / 5 / 3600:,.1f} |" in text
    assert f"| 50.0 | {10_000 * 25 / 50:,.0f} |" in text
    fed = 16 / 0.18  # photos a second that sixteen cores read, paint and write
    assert f"| {fed:,.1f} | {1e6 / fed / 3600:,.1f} |" in text
    assert "the cores: the GPU would do 1,000 a second" in text
    assert f"| 50.0 | {1e6 / 50 / 3600:,.1f} |" in archives.table(measured(), "fusion", "a GPU", 50)


def test_the_gpus_rate_follows_from_training() -> None:
    entries = [{"what": "frozen"}, {"what": "end to end", "device": "a GPU", "images_per_second": 100}]
    assert archives.gpu_rate(entries, flops=2.0, forward_flops=1.0) == ("a GPU", 150)


@pytest.mark.parametrize("left_out", [results.FOLDER, results.STAGES, results.FILM])
def test_what_was_not_measured_is_said(left_out: str) -> None:
    with pytest.raises(ValueError, match="measured"):
        archives.table(measured(left_out), "fusion", "a GPU", 1000)


def test_committed_pages_are_made_of_the_measured_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert costs.main(["--check"]) == 0
    speeds = json.loads(costs.SPEEDS.read_text())["entries"]
    assert f"{1281167 * 30 / speeds[0]['images_per_second'] / 8 / 3600:,.2f}" in costs.PAGE.read_text()
    for name in ("PAGE", "ARCHIVES"):
        with monkeypatch.context() as patch:
            page = tmp_path / "page.md"
            page.write_text(
                getattr(costs, name)
                .read_text()
                .replace("<!-- ", "old\n<!-- ", 2)
                .replace(":begin -->", ":begin -->\nx")
            )
            patch.setattr(costs, name, page)
            assert costs.main(["--check"]) == 1
            assert costs.main([]) == 0
            assert costs.main(["--check"]) == 0
