"""Lab against scikit-image, and what gamut mapping promises."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import color as oracle

from zoo import color

EXAMPLES = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**31 - 1)


def cube(steps: int = 18) -> torch.Tensor:
    """A grid over the sRGB cube with its corners, (3, steps * steps, steps), float64."""
    axis = torch.linspace(0, 1, steps, dtype=torch.float64)
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")).flatten(1, 2)


def random_lab(seed: int, strength: float = 100.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    L = torch.rand(2, 1, 16, 16, generator=generator) * 100
    ab = (torch.rand(2, 2, 16, 16, generator=generator) * 2 - 1) * strength
    L[0, 0, 0, :4] = torch.tensor([0.0, 100.0, 0.001, 99.999])
    return L, ab


def test_lab_agrees_with_scikit_image() -> None:
    expected = oracle.rgb2lab(cube().movedim(0, -1).numpy())
    found = color.rgb_to_lab(cube()).movedim(0, -1).numpy()
    assert np.abs(found - expected).max() < 0.02


def test_rgb_agrees_with_scikit_image() -> None:
    expected = oracle.lab2rgb(oracle.rgb2lab(cube().movedim(0, -1).numpy()))
    lab = torch.from_numpy(oracle.rgb2lab(cube().movedim(0, -1).numpy())).movedim(-1, 0)
    assert np.abs(color.lab_to_rgb(lab).movedim(0, -1).numpy() - expected).max() < 2e-3


def test_lightness_is_the_L_of_lab() -> None:
    L = color.lightness(cube())
    assert L.shape == (1, 18 * 18, 18)
    torch.testing.assert_close(L, color.rgb_to_lab(cube())[:1])


@EXAMPLES
@given(st.tuples(*[st.floats(0, 1)] * 3))
def test_round_trip(rgb: tuple[float, float, float]) -> None:
    for dtype, tolerance in ((torch.float64, 1e-6), (torch.float32, 2e-5)):
        pixel = torch.tensor(rgb, dtype=dtype).view(3, 1, 1)
        back = color.lab_to_rgb(color.rgb_to_lab(pixel))
        assert back.dtype == dtype
        assert (back - pixel).abs().max() < tolerance


@pytest.mark.parametrize("levels", [256, 65536])
def test_neutral_colors_have_no_chroma_and_keep_their_value(levels: int) -> None:
    grey = torch.arange(levels, dtype=torch.float32).view(1, -1, 1) / (levels - 1)
    lab = color.rgb_to_lab(grey.expand(3, -1, -1))
    assert (lab[1:] == 0).all()
    back = color.lab_to_rgb(lab)
    assert (back[0] == back[1]).all()
    assert (back[0] == back[2]).all()
    assert torch.equal((color.grey_from_lightness(lab[:1]) * (levels - 1)).round(), grey * (levels - 1))


def test_gamma_is_that_of_the_standard() -> None:
    encoded = torch.linspace(0, 1, 1001, dtype=torch.float64)
    expected = torch.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    torch.testing.assert_close(color.srgb_to_linear(encoded), expected, rtol=0, atol=1e-7)
    torch.testing.assert_close(color.linear_to_srgb(expected), encoded, rtol=0, atol=1e-6)


def test_the_cube_is_inside_the_gamut() -> None:
    lab = color.rgb_to_lab(cube().float())
    inside = (lab[:1] > 0) & (lab[:1] < 100)
    assert not (color.out_of_gamut(lab[:1], lab[1:]) & inside).any()
    assert torch.equal(color.map_to_gamut(lab[:1], lab[1:])[:, inside[0]], lab[1:, inside[0]])


@EXAMPLES
@given(seeds, st.floats(1, 200))
def test_gamut_mapping(seed: int, strength: float) -> None:
    L, ab = random_lab(seed, strength)
    before = ab.clone()
    outside = color.out_of_gamut(L, ab)
    mapped = color.map_to_gamut(L, ab)
    assert torch.equal(ab, before)
    assert torch.equal(torch.where(outside, 0, mapped), torch.where(outside, 0, ab))  # inside: bit for bit
    assert not color.out_of_gamut(L, mapped).any()
    assert torch.equal(color.map_to_gamut(L, mapped), mapped)
    # less chroma, same hue
    assert (mapped.norm(dim=1) <= ab.norm(dim=1) + 1e-4).all()
    cross = mapped[:, 0] * ab[:, 1] - mapped[:, 1] * ab[:, 0]
    assert (cross.abs() <= 1e-3 * (1 + ab.norm(dim=1))).all()
    assert ((mapped * ab).sum(1) >= 0).all()
    # same L after clipping, by the oracle
    rgb = color.lab_to_rgb(torch.cat([L, mapped], 1)).clamp(0, 1)
    assert np.abs(oracle.rgb2lab(rgb.movedim(1, -1).double().numpy())[..., 0] - L[:, 0].numpy()).max() < 0.02


@EXAMPLES
@given(seeds)
def test_gamut_mapping_keeps_L_after_rounding_to_8_bits(seed: int) -> None:
    L, ab = random_lab(seed)
    rgb = color.lab_to_rgb(torch.cat([L, color.map_to_gamut(L, ab)], 1)).clamp(0, 1)
    rounded = (rgb.double() * 255).round() / 255
    assert (color.lightness(rounded) - L).abs().max() < 0.3


def test_gamut_mapping_takes_no_more_chroma_than_it_must() -> None:
    L, ab = random_lab(0)
    outside = color.out_of_gamut(L, ab)
    more = color.map_to_gamut(L, ab) * 1.002 + ab * 1e-3
    inner = (L > 0.1) & (L < 99.9)
    assert (color.out_of_gamut(L, more) | ~outside | ~inner).float().mean() > 0.99


def test_black_and_white_have_no_chroma() -> None:
    L = torch.tensor([0.0, 100.0]).view(1, 2, 1)
    assert (color.map_to_gamut(L, torch.full((2, 2, 1), 1e-3)) == 0).all()


@EXAMPLES
@given(seeds)
def test_fast_path_agrees_with_lab(seed: int) -> None:
    L, ab = random_lab(seed)
    expected = color.lab_to_rgb(torch.cat([L, color.map_to_gamut(L, ab)], 1)).clamp(0, 1)
    planes = (color.f_from_lightness(L), ab[:, :1] / 500, ab[:, 1:] / -200)
    linear = color.linear_rgb_in_gamut(*(plane.flatten() for plane in planes)).view(3, 2, 16, 16)
    found = color.linear_to_srgb(linear).movedim(0, 1)
    inner = ((L > 0) & (L < 100)).expand_as(found)
    torch.testing.assert_close(found[inner], expected[inner], rtol=0, atol=1e-4)


def test_any_leading_dimensions() -> None:
    rgb = torch.rand(2, 5, 3, 4, 6)
    lab = color.rgb_to_lab(rgb)
    assert lab.shape == rgb.shape
    L, ab = lab[..., :1, :, :], lab[..., 1:, :, :]
    assert color.out_of_gamut(L, ab).shape == L.shape
    assert torch.equal(color.map_to_gamut(L, ab * 3)[1, 2], color.map_to_gamut(L[1, 2], ab[1, 2] * 3))


def test_has_color_tells_sepia_from_a_noisy_grey_scan() -> None:
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (70, 90, 1), np.uint8).repeat(3, axis=2)
    noisy = np.clip(grey + rng.normal(0, 1.0, grey.shape), 0, 255).astype(np.uint8)
    sepia = (grey * np.array([1.0, 0.9, 0.7])).astype(np.uint8)
    assert not color.has_color(grey[..., 0])
    assert not color.has_color(grey)
    assert not color.has_color(noisy)
    assert color.has_color(sepia)


def test_toned_pictures_have_one_tint(make_picture: Any) -> None:
    ramp = np.linspace(0.05, 0.95, 360)[:, None, None] * np.ones((360, 280, 1))
    grey = (ramp * 255).astype(np.uint8)
    sepia = (ramp ** np.array([0.8, 1.0, 1.25]) * 255).astype(np.uint8)
    noise = np.random.default_rng(1).integers(-6, 7, sepia.shape)
    noisy = (sepia + noise).clip(0, 255).astype(np.uint8)
    two = np.where(np.arange(280)[None, :, None] < 140, sepia, sepia[..., ::-1])
    assert [color.is_toned(p) for p in (grey[..., 0], grey.repeat(3, 2), sepia, noisy)] == [True] * 4
    assert [color.is_toned(p) for p in (two, make_picture(90, 70))] == [False] * 2
    assert color.is_toned(sepia[:1, :1])
