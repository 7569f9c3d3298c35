"""The bins against the published formulas, typed out, and against scikit-image."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import rgb2lab

from zoo import bins


def test_bins_cover_the_gamut() -> None:
    centers = bins.bins()
    assert 255 <= len(centers) <= 313
    assert torch.equal(centers, (centers / 10).round() * 10)
    rgb = np.random.default_rng(0).random((20000, 1, 3))
    ab = torch.from_numpy(rgb2lab(rgb)[:, 0, 1:]).float()
    distance = torch.cdist(ab, centers, p=torch.inf).min(1).values
    assert distance.max() <= 5.05  # every sRGB color lies in a bin


def test_no_bin_is_out_of_gamut() -> None:
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 52)] * 3, indexing="ij"), -1).reshape(-1, 1, 3)
    ab = torch.from_numpy(rgb2lab(grid)[:, 0, 1:]).float()
    assert torch.cdist(bins.bins(), ab, p=torch.inf).min(1).values.max() < 6


@given(st.tuples(st.floats(-128, 127), st.floats(-128, 127)))
@settings(max_examples=50, deadline=None)
def test_soft_encoding_is_a_distribution(ab: tuple[float, float]) -> None:
    index, weight = bins.soft_encode(torch.tensor([ab]))
    assert weight.sum().item() == pytest.approx(1, abs=1e-5)
    assert (weight >= 0).all()
    assert len(index.unique()) == 5


def test_soft_encoding_follows_the_formula() -> None:
    ab = torch.tensor([[12.0, -7.0], [60.0, 40.0]])
    index, weight = bins.soft_encode(ab)
    centers = bins.bins().double().numpy()
    for row in range(2):
        squared = ((centers - ab[row].double().numpy()) ** 2).sum(1)
        nearest = np.argsort(squared)[:5]
        expected = np.exp(-squared[nearest] / (2 * 5.0**2))
        assert set(index[row].tolist()) == set(nearest.tolist())
        np.testing.assert_allclose(np.sort(weight[row].numpy()), np.sort(expected / expected.sum()), rtol=1e-4)


def test_table_agrees_with_the_search() -> None:
    ab = torch.randint(-100, 100, (2, 2, 3, 4), generator=torch.Generator().manual_seed(0)).float()
    index, weight = bins.soft_encode_map(ab)
    for n in range(2):
        for y in range(3):
            for x in range(4):
                expected = bins.soft_encode(ab[n, :, y, x][None])
                mine = torch.zeros(len(bins.bins())).index_add_(0, index[n, :, y, x], weight[n, :, y, x])
                theirs = torch.zeros(len(bins.bins())).index_add_(0, expected[0][0], expected[1][0])
                torch.testing.assert_close(mine, theirs, atol=1e-3, rtol=0)


def test_rebalancing_weights_have_mean_one_under_the_prior() -> None:
    generator = torch.Generator().manual_seed(0)
    ab = torch.randn(5000, 2, generator=generator) * 12
    index, weight = bins.soft_encode_map(ab.T[None, :, :, None])
    prior = torch.zeros(len(bins.bins())).index_add_(0, index.flatten(), weight.flatten()) / len(ab)
    weights = bins.rebalancing_weights(ab, 0.5)
    assert (prior * weights).sum().item() == pytest.approx(1, abs=1e-4)
    assert weights[prior.argmax()] < weights[prior.argmin()]
    assert bins.rebalancing_weights(ab, 1.0).std() < 1e-4


def test_smoothing_the_prior_follows_the_formula() -> None:
    ab = torch.tensor([[0.0, 0.0]] * 90 + [[40.0, 40.0]] * 10)
    index, weight = bins.soft_encode_map(ab.T[None, :, :, None])
    prior = torch.zeros(len(bins.bins())).index_add_(0, index.flatten(), weight.flatten()) / len(ab)
    smooth = torch.zeros_like(prior)
    for center, share in zip(bins.bins(), prior, strict=True):
        near = torch.exp(-(bins.bins() - center).square().sum(1) / (2 * 10.0**2))
        smooth += share * near / near.sum()
    expected = 1 / (0.5 * smooth + 0.5 / len(prior))
    expected /= (prior * expected).sum()
    torch.testing.assert_close(bins.rebalancing_weights(ab, 0.5, smoothing=10.0), expected, atol=1e-4, rtol=1e-4)


def test_a_smoothed_prior_raises_less_what_is_rare_beside_the_common() -> None:
    ab = torch.tensor([[0.0, 0.0]] * 100)
    near, far = ((bins.bins() == torch.tensor(c)).all(1).nonzero().item() for c in ([20.0, 0.0], [60.0, 40.0]))
    sharp, smooth = (bins.rebalancing_weights(ab, 0.5, smoothing=s) for s in (0.0, 10.0))
    assert sharp[near] / sharp[far] == pytest.approx(1, abs=0.02)
    assert smooth[near] / smooth[far] < 0.6


def test_cross_entropy_matches_the_sum_over_all_bins() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(2, len(bins.bins()), 3, 3, generator=generator).requires_grad_()
    cell, inside = (torch.randint(-n, n + 1, (2, 2, 3, 3), generator=generator) for n in (6, 4))
    ab = (10 * cell + inside).float()  # never halfway between two bins
    weights = torch.rand(len(bins.bins()), generator=generator)
    index, soft = bins.soft_encode(ab.permute(0, 2, 3, 1).reshape(-1, 2))
    target = torch.zeros(18, len(weights)).scatter_(1, index, soft)
    log_p = logits.permute(0, 2, 3, 1).reshape(18, -1).log_softmax(1)
    expected = -(weights[target.argmax(1)] * (target * log_p).sum(1)).mean()
    found = bins.rebalanced_cross_entropy(logits, ab, weights)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)
    gradients = [torch.autograd.grad(loss, logits)[0] for loss in (found, expected)]
    torch.testing.assert_close(*gradients, atol=1e-4, rtol=1e-3)


def test_temperature_goes_from_the_mean_to_the_mode() -> None:
    logits = torch.randn(1, len(bins.bins()), 2, 2, generator=torch.Generator().manual_seed(2))
    mode = bins.bins()[logits.argmax(1)].permute(0, 3, 1, 2)
    torch.testing.assert_close(bins.annealed_mean(logits, 1e-3), mode, atol=0.1, rtol=0)
    mean = torch.einsum("nqhw,qc->nchw", logits.softmax(1), bins.bins())
    torch.testing.assert_close(bins.annealed_mean(logits, 1.0), mean)
    chroma = [bins.annealed_mean(logits, t).norm(dim=1).mean().item() for t in (1.0, 0.38, 0.1, 0.01)]
    assert chroma == sorted(chroma)


def test_perturbation_is_seeded_and_smooth() -> None:
    logits = torch.zeros(1, len(bins.bins()), 32, 32)
    first, again, other = (bins.perturb(logits, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
    assert (first[..., 1:] - first[..., :-1]).abs().max() < 1.0
