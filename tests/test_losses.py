"""The losses that look at pictures, against the evaluator's own measures."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torch import Tensor

from zoo import color
from zoo.colorizer import Batch
from zoo.evaluation.metrics import psnr
from zoo.models import _losses
from zoo.models.fusion import Fusion, FusionConfig

CLASSIFIER = "tf_efficientnet_lite0"


@pytest.fixture(scope="module")
def photos() -> Tensor:
    """Lab (8, 3, 96, 96)."""
    paths = sorted((Path(__file__).parent / "photos").glob("*.jpg"))[:8]
    pictures = [np.array(ImageOps.fit(Image.open(p).convert("RGB"), (96, 96))) for p in paths]
    return color.rgb_to_lab(torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255)


def test_psnr_loss_is_the_evaluators_psnr(photos: Tensor) -> None:
    L, ab = photos[:, :1], photos[:, 1:]
    expected = []
    for lab in photos:
        true, half = (
            (color.lab_to_rgb(torch.cat([lab[:1], lab[1:] * s])).clamp(0, 1) * 255).round().byte() for s in (1, 0.5)
        )
        evaluated = psnr(half.permute(1, 2, 0).numpy(), true.permute(1, 2, 0).numpy())
        expected.append(-10 * np.log10(10 ** (-evaluated / 10) + 1e-4))  # from 40 dB on nothing is gained
    assert -_losses.psnr_loss(L, ab * 0.5, ab).item() == pytest.approx(np.mean(expected), abs=0.05)
    assert _losses.psnr_loss(L, ab, ab).item() == pytest.approx(-40, abs=0.01)


def test_colors_have_a_gradient_wherever_they_are(photos: Tensor) -> None:
    L = torch.tensor([0.0, 3.0, 50.0, 99.0, 100.0], dtype=torch.float64).view(1, 1, 1, 5)
    ab = torch.tensor([[5.0, -60.0, 20.0, 4.0, 1.0], [-3.0, 70.0, 30.0, -5.0, 2.0]], dtype=torch.float64)
    ab = ab.view(1, 2, 1, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: color.lab_to_rgb(torch.cat([L, x], 1)), (ab,), eps=1e-4, atol=1e-5)
    wild = (torch.randn(8, 2, 24, 24) * 200).requires_grad_()
    _losses.psnr_loss(photos[:, :1], wild, photos[:, 1:, ::4, ::4]).backward()
    assert wild.grad is not None
    assert wild.grad.isfinite().all()


def test_perceptual_losses_ask_for_the_true_colors(photos: Tensor) -> None:
    L, ab = photos[:, :1], photos[:, 1:]
    same, _ = _losses.perceptual_losses(L, ab, ab, CLASSIFIER)
    half, half_moments = _losses.perceptual_losses(L, ab * 0.5, ab, CLASSIFIER)
    grey, grey_moments = _losses.perceptual_losses(L, ab * 0, ab, CLASSIFIER)
    assert same.item() == pytest.approx(0, abs=1e-6)
    assert 0 < half.item() < grey.item()
    assert half_moments.item() < grey_moments.item()


def test_a_step_down_their_slope_brings_the_sets_together(photos: Tensor) -> None:
    L, ab = photos[:, :1], photos[:, 1:, ::4, ::4]
    guess = torch.zeros_like(ab).requires_grad_()
    before = _losses.perceptual_losses(L, guess, ab, CLASSIFIER)[1]
    (slope,) = torch.autograd.grad(before, guess)
    after = _losses.perceptual_losses(L, guess - slope * (5 / slope.abs().max()), ab, CLASSIFIER)[1]
    assert after.item() < before.item()


def test_the_discrepancy_is_zero_on_average_between_sets_of_one_kind() -> None:
    draws = [_losses._discrepancy(torch.rand(16, 64), torch.rand(16, 64)).item() for _ in range(200)]
    assert abs(np.mean(draws)) < 3 * np.std(draws) / len(draws) ** 0.5
    assert _losses._discrepancy(torch.rand(16, 64), torch.rand(16, 64) * 0.3).item() > 10 * np.std(draws)


def test_the_classifier_is_no_part_of_the_model() -> None:
    config = FusionConfig(**{**vars(FusionConfig.tiny()), "perceptual_weight": 1.0, "moments_weight": 1.0})
    model, plain = Fusion(config), Fusion(FusionConfig.tiny())
    L = torch.rand(2, 1, 64, 64) * 100
    loss = model.loss(Batch(L, torch.randn(2, 2, 16, 16) * 20))
    assert {"classes", "colors", "perceptual", "moments"} <= loss.parts.keys()
    loss.total.backward()
    assert model.state_dict().keys() == plain.state_dict().keys()


def test_the_vivid_answer_is_mixed_from_both_heads() -> None:
    settings = vars(FusionConfig.tiny())
    plain = Fusion(FusionConfig(**settings)).eval()
    mixed = Fusion(FusionConfig(**{**settings, "vivid_mix": 0.25, "vivid_saturation": 2.0})).eval()
    mixed.load_state_dict(plain.state_dict())
    L = torch.rand(1, 1, 64, 64) * 100
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        likely, faithful = (plain.predict_ab(L, style=s).float() for s in plain.spec.styles[::-1])
        answer = mixed.predict_ab(L, style="vivid")
    torch.testing.assert_close(answer, 0.75 * likely + 0.5 * faithful)
