"""Fitting to the working size, and what every picture is promised: its size, dtype, alpha and lightness."""

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import color as oracle
from torch import Tensor

from zoo import pipeline
from zoo.errors import ImageError, OptionError, ZooError

EXAMPLES = settings(max_examples=25, deadline=None)
CHROMA_STEP = 1e-3  # gamut mapping finds chroma in steps, which rounding noise may tip
seeds = st.integers(0, 2**31 - 1)
sides = st.integers(1, 90)
DTYPES = ("uint8", "uint16", "float32", "float64")


def grey(L: Tensor) -> Tensor:
    return torch.zeros(L.shape[0], 2, L.shape[2], L.shape[3])


def tint(L: Tensor) -> Tensor:
    """A smooth, strong color that varies with the place and with L, at stride 4."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, L.shape[2] // 4), torch.linspace(-1, 1, L.shape[3] // 4), indexing="ij")
    return torch.stack([40 * x, 50 * y]).expand(L.shape[0], -1, -1, -1) * (0.5 + L.mean((1, 2, 3), keepdim=True) / 100)


def wild(seed: int) -> pipeline.Predict:
    """Colors far outside the gamut, another one for every cell."""

    def predict(L: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(L.shape[0], 2, L.shape[2] // 4, L.shape[3] // 4, generator=generator) * 60

    return predict


def picture(seed: int, shape: tuple[int, ...], dtype: str) -> npt.NDArray[Any]:
    """Smooth ground with noise, so that all of black to white occurs."""
    rng = np.random.default_rng(seed)
    values = np.linspace(-0.1, 1.1, shape[0]).reshape(-1, *[1] * (len(shape) - 1)) + rng.normal(0, 0.1, shape)
    values = values.clip(0, 1)
    if dtype.startswith("u"):
        return (values * np.iinfo(dtype).max).round().astype(dtype)
    return values.astype(dtype)


def scaled(array: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    return array / np.iinfo(array.dtype).max if array.dtype.kind == "u" else array.astype(np.float64)


def lightness(array: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """L by scikit-image."""
    values = scaled(array if array.ndim == 3 else array[..., None])
    rgb = values[..., :3] if values.shape[2] >= 3 else np.repeat(values[..., :1], 3, 2)
    return np.asarray(oracle.rgb2lab(rgb)[..., 0])


def colorize(
    array: npt.NDArray[Any], predict: pipeline.Predict = tint, working_size: int = 32, **options: Any
) -> npt.NDArray[Any]:
    return pipeline.colorize_array(array, predict, working_size=working_size, multiple_of=8, **options)


# Fitting


@EXAMPLES
@given(st.integers(1, 400), st.integers(1, 400), st.sampled_from([32, 64]), st.sampled_from([1, 8, 32]))
def test_fit_and_unfit(height: int, width: int, working_size: int, multiple_of: int) -> None:
    L = torch.full((1, 1, height, width), 42.0)
    small, geometry = pipeline.fit(L, working_size, multiple_of)
    assert small.shape[2:] == geometry.padded
    assert all(side % multiple_of == 0 for side in geometry.padded)
    assert all(0 <= p - s < multiple_of for p, s in zip(geometry.padded, geometry.size, strict=True))
    assert max(geometry.size) <= 8 * working_size
    if max(height, width) <= 8 * min(height, width):  # the area is that of the square, the aspect ratio is kept
        assert abs(geometry.size[0] * geometry.size[1] / working_size**2 - 1) < 0.1
        assert abs(geometry.size[0] - geometry.size[1] * height / width) <= 0.5 + 0.5 * height / width
    torch.testing.assert_close(small, torch.full_like(small, 42.0))
    for stride in (1, multiple_of):
        maps = torch.ones(1, 4, geometry.padded[0] // stride, geometry.padded[1] // stride)
        assert pipeline.unfit(maps, geometry).shape == (1, 4, *geometry.size)


@pytest.mark.parametrize("size", [(512, 512), (251, 509), (1003, 77), (20, 31)])
def test_fit_places_things_where_they_are(size: tuple[int, int]) -> None:
    """A ramp stays that ramp: no shift by block averaging, cropping or padding."""
    ramp = torch.linspace(0.5 / size[1], 1 - 0.5 / size[1], size[1]).expand(1, 1, *size)
    for L, dim in ((ramp, 3), (ramp.transpose(2, 3), 2)):
        small, geometry = pipeline.fit(L.contiguous(), 32, 8)
        side = geometry.size[dim - 2]
        inside = pipeline.unfit(small, geometry).movedim(dim, -1)
        expected = torch.linspace(0.5 / side, 1 - 0.5 / side, side).expand_as(inside)
        torch.testing.assert_close(inside[..., 2:-2], expected[..., 2:-2], rtol=0, atol=0.1 / side)


def test_fit_mirrors_at_the_border() -> None:
    L = torch.rand(1, 1, 60, 40) * 100
    small, geometry = pipeline.fit(L, 32, 32)
    height, width = geometry.size
    assert (height, width) == (39, 26)
    assert torch.equal(small[..., width], small[..., width - 2])
    assert torch.equal(small[:, :, height], small[:, :, height - 2])


def test_fit_does_not_alias() -> None:
    L = torch.zeros(1, 1, 256, 256)
    L[..., ::2] = 100
    small, _ = pipeline.fit(L, 32, 8)
    assert (small - 50).abs().max() < 1


def test_the_network_sees_the_same_L_from_arrays_and_tensors() -> None:
    seen = []

    def predict(L: Tensor) -> Tensor:
        seen.append(L)
        return grey(L)

    array = picture(0, (301, 203, 3), "float32")
    colorize(array, predict)
    pipeline.colorize_batch(torch.from_numpy(array).permute(2, 0, 1)[None], predict, working_size=32, multiple_of=8)
    torch.testing.assert_close(seen[0], seen[1], rtol=0, atol=1e-3)
    assert seen[0].min() >= 0
    assert seen[0].max() <= 100


# The promises


@EXAMPLES
@given(sides, sides, st.sampled_from([(), (1,), (3,), (4,)]), st.sampled_from(DTYPES), seeds)
def test_lightness_size_dtype_and_alpha_are_kept(
    height: int, width: int, channels: tuple[int, ...], dtype: str, seed: int
) -> None:
    array = picture(seed, (height, width, *channels), dtype)
    before = array.copy()
    result = colorize(array, wild(seed))
    assert np.array_equal(array, before)
    assert result.dtype == array.dtype
    assert result.shape == (height, width, 4 if channels == (4,) else 3)
    assert np.isfinite(result).all()
    if channels == (4,):
        assert np.array_equal(result[..., 3], array[..., 3])
    limit = {"uint8": 0.3, "uint16": 0.03}.get(dtype, 0.03)
    assert np.abs(lightness(result) - lightness(array)).max() <= limit


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_without_color_every_integer_comes_back(dtype: str) -> None:
    side = 16 if dtype == "uint8" else 256
    array = np.arange(side * side).astype(dtype).reshape(side, side)
    for given_array in (array, np.stack([array] * 3, -1)):
        assert np.array_equal(colorize(given_array, grey), np.stack([array] * 3, -1))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_without_color_floats_come_back(dtype: str) -> None:
    array = picture(0, (40, 50), dtype)
    assert np.abs(colorize(array, grey) - array[..., None]).max() < 1e-5


@EXAMPLES
@given(sides, sides, seeds)
def test_color_of_the_input_is_not_seen(height: int, width: int, seed: int) -> None:
    array = picture(seed, (height, width, 3), "float32")
    L = lightness(array)
    lab = np.stack([L, 0 * L, 0 * L], -1)
    grey_version = oracle.lab2rgb(lab).astype("float32").clip(0, 1)
    assert np.abs(colorize(array) - colorize(grey_version)).max() < 2e-3


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_integers_and_floats_agree(dtype: str) -> None:
    array = picture(3, (150, 130, 3), dtype)
    step = 1 / np.iinfo(dtype).max
    assert np.abs(scaled(colorize(array)) - colorize(scaled(array))).max() < 0.55 * step + CHROMA_STEP


def test_strips_leave_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    array = picture(4, (300, 171, 3), "float64")
    whole = colorize(array)
    monkeypatch.setattr(pipeline, "_STRIP_PIXELS", 1000)
    assert np.abs(colorize(array) - whole).max() < CHROMA_STEP


@pytest.mark.parametrize("shape", [(300, 171, 4), (1500, 900), (1, 5)])
def test_a_picture_is_painted_again_at_another_saturation_without_the_network(shape: tuple[int, ...]) -> None:
    array = picture(5, shape, "uint16")
    maps = pipeline.predict_maps(array, tint, working_size=32, multiple_of=8)
    for saturation in (0.0, 0.7, 1.0, 2.0):
        again = pipeline.paint(array, maps, saturation=saturation)
        at_once = colorize(array, saturation=saturation)
        assert again.shape == at_once.shape
        assert np.abs(scaled(again) - scaled(at_once)).max() < CHROMA_STEP
    with pytest.raises(OptionError, match="saturation"):
        pipeline.paint(array, maps, saturation=-1)
    with pytest.raises(ImageError, match="not a picture"):
        pipeline.paint(np.zeros(3), maps)


def test_color_arrives_where_it_was_predicted() -> None:
    array = np.full((200, 300), 128, np.uint8)

    def left_red_top_blue(L: Tensor) -> Tensor:
        ab = torch.zeros(1, 2, L.shape[2], L.shape[3])
        ab[:, 0, :, : L.shape[3] // 4] = 30
        ab[:, 1, : L.shape[2] // 4] = -30
        return ab

    # 64 * 96 needs no padding at this working size, so that a quarter is a quarter
    result = pipeline.colorize_array(array, left_red_top_blue, working_size=round((64 * 96) ** 0.5), multiple_of=1)
    lab = oracle.rgb2lab(result)
    assert abs(np.median(lab[60:, :65, 1]) - 30) < 1
    assert np.abs(lab[60:, 85:, 1]).max() < 1
    assert abs(np.median(lab[:40, 85:, 2]) + 30) < 1
    assert np.abs(lab[60:, 85:, 2]).max() < 1


def test_saturation_scales_chroma() -> None:
    array = np.full((64, 64), 0.5, np.float64)
    chroma = [
        np.hypot(*np.moveaxis(oracle.rgb2lab(colorize(array, saturation=s))[..., 1:], -1, 0)) for s in (0, 0.5, 1)
    ]
    assert chroma[0].max() < 0.02
    assert np.abs(chroma[2] - 2 * chroma[1])[chroma[2] < 30].max() < 0.05


def test_stored_order_and_byte_order_do_not_matter() -> None:
    array = picture(5, (40, 30, 3), "uint16")
    expected = colorize(array)
    read_only = array.copy()
    read_only.setflags(write=False)
    for other in (np.asfortranarray(array), array[::-1].copy()[::-1], read_only, array.astype(">u2")):
        assert np.array_equal(colorize(other), expected)


@EXAMPLES
@given(st.integers(1, 3), st.sampled_from([1, 3]), sides, sides, seeds)
def test_batches(count: int, channels: int, height: int, width: int, seed: int) -> None:
    rgb = torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(seed))
    before = rgb.clone()
    result = pipeline.colorize_batch(rgb, tint, working_size=32, multiple_of=8)
    assert torch.equal(rgb, before)
    assert result.shape == (count, 3, height, width)
    for one, own in zip(rgb, result, strict=True):
        expected = colorize(one.permute(1, 2, 0).numpy())
        torch.testing.assert_close(own, torch.from_numpy(expected).permute(2, 0, 1), rtol=0, atol=CHROMA_STEP)


def test_batch_keeps_the_dtype() -> None:
    for dtype in (torch.float64, torch.bfloat16):
        batch = torch.rand(1, 3, 9, 9, dtype=dtype)
        assert pipeline.colorize_batch(batch, tint, working_size=32, multiple_of=8).dtype == dtype


# Refusals


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((0, 5), np.uint8), r"shape \(0, 5\)"),
        (np.zeros((5, 5, 2), np.uint8), r"shape \(5, 5, 2\)"),
        (np.zeros((3, 5, 5), np.uint8), r"shape \(3, 5, 5\)"),
        (np.zeros(5, np.uint8), r"shape \(5,\)"),
        (np.zeros((1, 5, 5, 3), np.uint8), r"shape \(1, 5, 5, 3\)"),
        (np.zeros((5, 5), np.int32), "int32"),
        (np.zeros((5, 5), bool), "bool"),
        (np.zeros((5, 5), np.float16), "float16"),
        (np.full((5, 5), np.nan), "nan"),
        (np.full((5, 5), 255.0), "from 255 to 255"),
        (np.full((5, 5), -0.5), "-0.5"),
        (np.full((5, 5), np.inf), "inf"),
    ],
)
def test_what_is_not_a_picture_is_refused(array: npt.NDArray[Any], words: str) -> None:
    with pytest.raises(ImageError, match=words) as caught:
        colorize(array)
    assert caught.value.expected
    assert caught.value.remedy


def test_a_hair_outside_the_range_is_forgiven() -> None:
    result = colorize(np.array([[-1e-4, 1 + 1e-4]]), grey)
    assert result.min() >= 0
    assert result.max() <= 1


@pytest.mark.parametrize(
    "rgb",
    [torch.zeros(3, 4, 4), torch.zeros(1, 2, 4, 4), torch.zeros(1, 3, 4, 4, dtype=torch.uint8), torch.ones(0, 3, 4, 4)],
)
def test_what_is_not_a_batch_is_refused(rgb: Tensor) -> None:
    with pytest.raises(ImageError):
        pipeline.colorize_batch(rgb, grey, working_size=32, multiple_of=8)


@pytest.mark.parametrize(
    ("ab", "words"),
    [
        (torch.zeros(1, 3, 8, 8), "(1, 3, 8, 8)"),
        (torch.zeros(2, 2, 8, 8), "(2, 2, 8, 8)"),
        (torch.zeros(1, 2, 64, 64), "(1, 2, 64, 64)"),
        (torch.zeros(1, 2, 0, 8), "(1, 2, 0, 8)"),
        (torch.zeros(2, 8, 8), "(2, 8, 8)"),
        (torch.full((1, 2, 8, 8), torch.nan), "not finite"),
        (torch.full((1, 2, 8, 8), torch.inf), "not finite"),
    ],
)
def test_a_wrong_prediction_is_named(ab: Tensor, words: str) -> None:
    with pytest.raises(ZooError, match=re.escape(words)):
        colorize(np.zeros((32, 32), np.uint8), lambda L: ab)


@pytest.mark.parametrize("options", [{"saturation": -1.0}, {"saturation": float("nan")}, {"working_size": 0}])
def test_options_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=next(iter(options))):
        colorize(np.zeros((4, 4), np.uint8), **options)
