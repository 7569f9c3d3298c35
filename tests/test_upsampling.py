"""Guided upsampling: constants stay, edges follow L."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo import upsampling


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(1, 4),
    st.floats(-110, 110),
    st.integers(0, 2**31 - 1),
)
def test_a_constant_stays_that_constant(height: int, width: int, stride: int, value: float, seed: int) -> None:
    L = torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(seed)) * 100
    ab = torch.tensor([value, -value]).view(1, 2, 1, 1)
    small = ab.expand(1, 2, -(-height // stride), -(-width // stride))
    up = upsampling.guided_upsample(small, L)
    assert up.shape == (1, 2, height, width)
    torch.testing.assert_close(up, ab.expand_as(up), rtol=0, atol=2e-3)


def test_no_color_stays_exactly_none() -> None:
    assert (upsampling.guided_upsample(torch.zeros(2, 2, 9, 7), torch.rand(2, 1, 36, 28) * 100) == 0).all()


def test_a_linear_function_of_L_is_recovered() -> None:
    L = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0)) * 100
    true = torch.cat([0.5 * L - 20, 10 - 0.25 * L], 1)
    up = upsampling.guided_upsample(F.avg_pool2d(true, 2), L, eps=1e-8)
    torch.testing.assert_close(up, true, rtol=0, atol=0.05)


def edge_picture() -> tuple[torch.Tensor, torch.Tensor]:
    """A colored disk before another color, L (1, 1, 128, 128) with a strong edge and some texture, ab alike."""
    y, x = torch.meshgrid(torch.arange(128.0), torch.arange(128.0), indexing="ij")
    inside = ((y - 61) ** 2 + (x - 66) ** 2 < 37**2).float()
    texture = torch.randn(128, 128, generator=torch.Generator().manual_seed(0)) * 1.5
    L = 70 - 40 * inside + texture
    return L[None, None], torch.stack([40 * inside - 10, 20 - 45 * inside])[None]


def test_guided_beats_bilinear_at_an_edge() -> None:
    L, ab = edge_picture()
    small = F.avg_pool2d(ab, 8)
    edge = F.max_pool2d((ab[:, :1] - F.avg_pool2d(ab[:, :1], 3, 1, 1)).abs(), 5, 1, 2)[0, 0] > 1
    edge[[0, 1, 2, -1, -2, -3]] = False
    edge[:, [0, 1, 2, -1, -2, -3]] = False
    bilinear = (upsampling.bilinear_upsample(small, (128, 128)) - ab).norm(dim=1)[0]
    guided = (upsampling.guided_upsample(small, L) - ab).norm(dim=1)[0]
    assert guided[edge].mean() < 0.8 * bilinear[edge].mean()
    assert guided.mean() < bilinear.mean()


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (33, 2)])
def test_bilinear_size(size: tuple[int, int]) -> None:
    ab = torch.full((1, 2, 3, 5), 7.0)
    torch.testing.assert_close(upsampling.bilinear_upsample(ab, size), torch.full((1, 2, *size), 7.0))


def test_batch_of_two_is_two_singles() -> None:
    generator = torch.Generator().manual_seed(1)
    ab, L = torch.randn(2, 2, 8, 10, generator=generator) * 30, torch.rand(2, 1, 32, 40, generator=generator) * 100
    both = upsampling.guided_upsample(ab, L)
    for n in (0, 1):
        torch.testing.assert_close(both[n : n + 1], upsampling.guided_upsample(ab[n : n + 1], L[n : n + 1]))
