"""Told colours: read from points and layers, set exactly, and spread over what is alike."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import zoo
from zoo import color, contract, hints, registry, spreading
from zoo.canvas import Canvas
from zoo.errors import ImageError, OptionError
from zoo.models.grayscale import Grayscale, GrayscaleConfig
from zoo.models.zhang import Siggraph17, Siggraph17Config

Array = Any
RED, BLUE = "#c03020", "#2040c0"


def lab(rgb: Array) -> Tensor:
    """(3, H, W) of any dtype."""
    top = 1.0 if rgb.dtype.kind == "f" else np.iinfo(rgb.dtype).max
    return color.rgb_to_lab(torch.from_numpy(rgb[..., :3].astype(np.float64) / top).permute(2, 0, 1))


def ab_of(name: str) -> Tensor:
    rgb = torch.tensor([int(name[i : i + 2], 16) / 255 for i in (1, 3, 5)], dtype=torch.float64)
    return color.rgb_to_lab(rgb.view(3, 1, 1))[1:]


def within(shape: tuple[int, int], x: int, y: int, radius: float) -> Array:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def off(result: Array, source: Array, where: Array, name: str) -> float:
    """By how much ab differs from the color ``name`` in the gamut at the source's own L, at most."""
    L = lab(source if source.ndim == 3 else np.stack([source] * 3, 2))[:1]
    expected = color.map_to_gamut(L, ab_of(name).expand(2, *where.shape))
    return float((lab(result)[1:] - expected)[:, torch.from_numpy(where)].abs().max())


def halves(height: int = 60, width: int = 80) -> Array:
    """Dark at the left, light at the right, 8-bit grey."""
    grey = np.full((height, width), 80, np.uint8)
    grey[:, width // 2 :] = 180
    return grey


class Brown(Grayscale):
    """Answers one colour everywhere."""

    def predict_ab(self, L: Tensor, **options: Any) -> Tensor:
        return L.new_tensor([10.0, 20.0]).view(1, 2, 1, 1).expand(len(L), 2, *L.shape[2:])


@pytest.fixture
def grey_model() -> Grayscale:
    return Grayscale(GrayscaleConfig())


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
@pytest.mark.parametrize("radius", [0, 3, 7.5])
def test_ab_within_the_radius_is_that_of_the_hint(
    dtype: str, radius: float, make_picture: Callable[..., Any], grey_model: Grayscale
) -> None:
    source = make_picture(50, 70, dtype=dtype) if dtype != "float64" else make_picture(50, 70, dtype="float32")
    source = source.astype(dtype)
    given = source.copy()
    result = grey_model.colorize_array(source, hints=[(30, 20, RED), (60, 40, BLUE)], hint_radius=radius)
    assert np.array_equal(source, given)
    assert result.dtype == source.dtype
    assert off(result, source, within((50, 70), 30, 20, radius), RED) <= 1
    assert off(result, source, within((50, 70), 60, 40, radius), BLUE) <= 1
    assert float((lab(result)[0] - lab(source)[0]).abs().max()) <= 0.5


def test_around_the_radius_the_color_fades_softly(grey_model: Grayscale) -> None:
    source = np.full((60, 60), 128, np.uint8)
    source[:, 29:] = 90  # the other side of the hint is another thing
    row = lab(grey_model.colorize_array(source, hints=[(28, 30, RED)], hint_radius=4))[1, 30]
    assert float(row[33:37].diff().abs().max()) < 0.7 * float(row[28])
    assert float(row[45]) < 0.3 * float(row[28])


def test_hints_fill_what_is_alike_and_stop_at_an_edge_of_lightness(grey_model: Grayscale) -> None:
    source = halves(120, 160)
    result = lab(grey_model.colorize_array(source, hints=[(40, 60, RED)]))
    chroma = result[1:].norm(dim=0)
    assert float(chroma[55:65, 50:70].min()) > 0.6 * float(chroma[60, 40])  # towards the edge
    assert float(chroma[:, 84:].max()) < 0.1 * float(chroma[60, 40])  # across it


def test_hints_stay_on_their_side_of_an_edge(grey_model: Grayscale) -> None:
    """Though what lies behind is of the same lightness."""
    source = np.full((160, 240), 150, np.uint8)
    source[:, 116:124] = 40
    chroma = lab(grey_model.colorize_array(source, hints=[(100, 80, RED)]))[1:].norm(dim=0)
    assert float(chroma[80, 140]) < 0.3 * float(chroma[80, 60])
    source[60:] = 150  # a way around it
    around = lab(grey_model.colorize_array(source, hints=[(100, 80, RED)]))[1:].norm(dim=0)
    assert float(around[80, 140]) > 0.9 * float(around[80, 60])


def test_hints_fade_with_the_distance(grey_model: Grayscale) -> None:
    chroma = lab(grey_model.colorize_array(np.full((200, 400), 128, np.uint8), hints=[(20, 100, RED)]))[1:].norm(dim=0)
    assert float(chroma[100, 50]) > float(chroma[100, 120]) > float(chroma[100, 200])
    assert float(chroma[:, 300:].max()) < 2


def test_what_the_model_takes_for_another_thing_stays(grey_model: Grayscale) -> None:
    """Two things of one lightness, which the model tells apart by colour."""
    L, ab = torch.full((1, 1, 64, 64), 50.0), torch.zeros(1, 2, 64, 64)
    ab[:, 0, :, 32:] = 30
    change = spreading.spread(L, ab, torch.tensor([32 * 64 + 24]), torch.tensor([[-20.0, 40.0]]))
    own, other = change[0, :, 32, 28].norm(), change[0, :, 32, 36].norm()
    assert float(own) > 30
    assert float(other) < 8


def test_far_from_hints_the_model_answers_as_before() -> None:
    source = np.tile(np.linspace(20, 235, 300).astype(np.uint8), (200, 1))
    model = Brown(GrayscaleConfig())
    plain, told = (model.colorize_array(source, hints=points) for points in ([], [(280, 100, BLUE)]))
    assert np.array_equal(plain, model.colorize_array(source))
    assert float((lab(told) - lab(plain))[1:, :, :60].norm(dim=0).max()) < 3


def test_the_order_of_hints_does_not_matter(make_picture: Callable[..., Any], grey_model: Grayscale) -> None:
    source = make_picture(50, 70)
    points = [(30, 20, RED), (33, 20, BLUE), (60, 40, "#20c040"), (32, 24, "#e0d020")]
    one, other = (grey_model.colorize_array(source, hints=p, hint_radius=5) for p in (points, points[::-1]))
    assert np.array_equal(one, other)


def test_where_hints_overlap_the_nearest_counts(grey_model: Grayscale) -> None:
    source = np.full((40, 40), 128, np.uint8)
    result = grey_model.colorize_array(source, hints=[(15, 20, RED), (22, 20, BLUE)], hint_radius=8)
    assert off(result, source, within((40, 40), 15, 20, 3), RED) <= 1
    assert off(result, source, within((40, 40), 22, 20, 3), BLUE) <= 1


def test_of_two_hints_at_one_pixel_the_later_counts(grey_model: Grayscale) -> None:
    source = np.full((40, 40), 128, np.uint8)
    twice = grey_model.colorize_array(source, hints=[(15, 20, RED), (15.4, 20.9, BLUE)])
    assert np.array_equal(twice, grey_model.colorize_array(source, hints=[(15, 20, BLUE)]))


def test_contradicting_neighbors_give_finite_colors(grey_model: Grayscale) -> None:
    points = [(x, y, RED if (x + y) % 2 else BLUE) for x in range(10, 30) for y in range(10, 30)]
    result = grey_model.colorize_array(np.full((300, 300), 128, np.uint8), hints=points, hint_radius=0)
    assert off(result, np.full((300, 300), 128, np.uint8), within((300, 300), 20, 19, 0), RED) <= 1
    assert float(lab(result)[1:].abs().max()) < 128


def test_any_number_of_hints_is_spread_from_a_bounded_one(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    covariance = spreading._covariance
    monkeypatch.setattr(
        spreading, "_covariance", lambda k, one, other: (sizes.append(len(other)), covariance(k, one, other))[1]
    )
    L, ab = torch.linspace(20, 80, 100).expand(1, 1, 100, 100), torch.zeros(1, 2, 100, 100)
    told = torch.full((5000, 2), 20.0)
    change = spreading.spread(L, ab, torch.arange(5000), told)
    assert max(sizes) == spreading.MOST_CELLS
    assert float((change.flatten(2)[0, :, :5000] - 20).abs().median()) < 2


# Layers


def layer_of(shape: tuple[int, int], *strokes: tuple[slice, slice, str]) -> Array:
    layer = np.zeros((*shape, 4), np.uint8)
    for rows, columns, name in strokes:
        layer[rows, columns] = [int(name[i : i + 2], 16) for i in (1, 3, 5)] + [255]
    return layer


def test_a_layer_is_an_array_a_picture_or_a_file(tmp_path: Path, grey_model: Grayscale) -> None:
    source = halves()
    layer = layer_of((60, 80), (slice(10, 20), slice(5, 30), RED), (slice(40, 44), slice(50, 70), BLUE))
    Image.fromarray(layer).save(tmp_path / "layer.png")
    result = grey_model.colorize_array(source, hints=layer)
    for same in (Image.fromarray(layer), tmp_path / "layer.png", str(tmp_path / "layer.png")):
        assert np.array_equal(result, grey_model.colorize_array(source, hints=same))
    painted = layer[..., 3] > 0
    assert off(result, source, painted & (layer[..., 0] == 0xC0), RED) <= 1
    assert off(result, source, painted & (layer[..., 0] == 0x20), BLUE) <= 1
    assert off(result, source, within((60, 80), 29, 19, 3), RED) <= 1  # around its corner, too


def test_a_layer_of_one_pixel_is_a_point(make_picture: Callable[..., Any], grey_model: Grayscale) -> None:
    source = make_picture(60, 80)
    layer = layer_of((60, 80), (slice(10, 11), slice(5, 6), RED))
    by_point = grey_model.colorize_array(source, hints=[(5, 10, RED)])
    assert np.array_equal(grey_model.colorize_array(source, hints=layer), by_point)


def test_a_brushs_soft_edge_is_no_hint_and_a_faint_brush_is_one() -> None:
    layer = layer_of((20, 20), (slice(5, 10), slice(5, 10), RED))
    layer[5, 5:10] = [0, 255, 0, 10]
    assert len(hints.read(layer, (20, 20))) == 20
    layer[..., 3] //= 10
    assert len(hints.read(layer, (20, 20))) == 20


def test_a_transparent_layer_and_no_points_are_no_hints(grey_model: Grayscale) -> None:
    plain = grey_model.colorize_array(halves())
    for nothing in (np.zeros((60, 80, 4), np.uint8), [], (), None):
        assert np.array_equal(grey_model.colorize_array(halves(), hints=nothing), plain)


def test_16_bit_layers_keep_their_colors(grey_model: Grayscale) -> None:
    layer = layer_of((60, 80), (slice(10, 20), slice(5, 30), RED))
    by_8, by_16, by_float = (
        grey_model.colorize_array(halves(), hints=same)
        for same in (layer, layer.astype(np.uint16) * 257, (layer / 255).astype(np.float32))
    )
    assert np.array_equal(by_8, by_16)
    assert int(np.abs(by_8.astype(int) - by_float).max()) <= 1


# What is refused


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([(80, 10, RED)], "hint 1 lies outside of the picture.*x below 80, y below 60"),
        ([(1, 1, RED), (10, 60, RED)], "hint 2 lies outside"),
        ([(-1, 10, RED)], "hint 1: bad place"),
        ([(float("nan"), 10, RED)], "hint 1: bad place"),
        ([(10**400, 10, RED)], "hint 1: bad place"),
        ([("1", 10, RED)], "hint 1: bad place"),
        ([(1, 10, "no colour")], "hint 1: not a colour.*no colour"),
        ([(1, 10, None)], "hint 1: not a colour"),
        ([(1, 10, "rgb(300, 0, 0)")], "hint 1: not a colour.*300"),
        ([(1, 10, "hsl(0, 200%, 90%)")], "hint 1: not a colour"),
        ([(1, 10)], "hint 1 is not one.*x, y and a colour"),
        (["1,2,#fff"], "hint 1 is not one"),
        ([np.array(5)], "hint 1 is not one"),
        (7, "bad hints.*int"),
        (iter([(1, 1, RED)]), "bad hints"),
        (np.zeros((60, 80, 3), np.uint8), r"layer of hints is not one.*\(60, 80, 3\)"),
        (np.zeros((10, 80, 4), np.uint8), "does not fit the picture.*80 x 10.*80 x 60"),
        (Image.new("RGB", (80, 60)), "has no alpha"),
    ],
)
def test_bad_hints_are_refused(given: Any, words: str, grey_model: Grayscale) -> None:
    with pytest.raises(OptionError, match=words):
        grey_model.colorize_array(halves(), hints=given)


@pytest.mark.parametrize("radius", [-1, 33, float("nan"), "3", True, None])
def test_a_bad_radius_is_refused(radius: Any, grey_model: Grayscale) -> None:
    with pytest.raises(OptionError, match="bad hint radius"):
        grey_model.colorize_array(halves(), hints=[(1, 1, RED)], hint_radius=radius)


@pytest.mark.parametrize("value", [255.0, -0.5, float("nan"), float("inf")])
def test_a_layer_of_values_that_are_not_colors_is_refused(value: float, grey_model: Grayscale) -> None:
    layer = np.zeros((60, 80, 4), np.float32)
    layer[5, 5] = [value, 0, 0, 1]
    with pytest.raises(ImageError, match="not colours"):
        grey_model.colorize_array(halves(), hints=layer)


def test_a_layer_that_cannot_be_read_is_refused(tmp_path: Path, grey_model: Grayscale) -> None:
    with pytest.raises(ImageError):
        grey_model.colorize_array(halves(), hints=tmp_path / "none.png")


def test_other_words_and_ways_are_refused(grey_model: Grayscale) -> None:
    """They would leave it out without a word."""
    with pytest.raises(TypeError, match="hint"):
        grey_model.colorize_array(halves(), hint=[(1, 1, RED)])  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        grey_model.predict_lab(halves(), hints=[(1, 1, RED)])
    with pytest.raises(TypeError):
        grey_model.colorize_batch(torch.rand(1, 1, 8, 8), hints=[])  # type: ignore[call-arg]


# Every model, every picture


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (3, 700)])
def test_pictures_of_any_shape(shape: tuple[int, int], grey_model: Grayscale) -> None:
    source = np.full(shape, 128, np.uint8)
    result = grey_model.colorize_array(source, hints=[(0, 0, RED), (shape[1] - 1, shape[0] - 1, RED)])
    assert off(result, source, within(shape, 0, 0, 0), RED) <= 1


@pytest.mark.parametrize("name", registry.list_models())
def test_canvas_and_colorize_agree(name: str, make_picture: Callable[..., Any]) -> None:
    model = contract.maker(name)()
    image = Image.fromarray(make_picture(40, 56))
    canvas = model.canvas(image, working_size=64)
    points = [(10, 30, RED), (40, 8, BLUE)]
    for options in ({}, {"saturation": 0.5}, {"hints": points}, {"hints": points, "saturation": 2.0}):
        by_canvas, directly = canvas.colorize(**options), model.colorize(image, working_size=64, **options)
        assert np.array_equal(np.asarray(by_canvas), np.asarray(directly))
    assert not np.array_equal(np.asarray(canvas.colorize()), np.asarray(canvas.colorize(hints=points)))


def test_a_stroke_does_not_run_the_network(make_picture: Callable[..., Any]) -> None:
    class Counts(Grayscale):
        calls = 0

        def predict_ab(self, L: Tensor, **options: Any) -> Tensor:
            Counts.calls += 1
            return super().predict_ab(L)

    canvas = Canvas(Counts(GrayscaleConfig()), make_picture(40, 56))
    for x in range(3):
        canvas.colorize(hints=[(x, x, RED)])
    assert Counts.calls == 1


@pytest.mark.parametrize("views", [1, 2, 4])
def test_siggraph17_is_told_the_hints(views: int, make_picture: Callable[..., Any]) -> None:
    told = []

    class Listens(Siggraph17):
        def predict_ab(self, L: Tensor, **options: Any) -> Tensor:
            told.append(options.get("hints"))
            return super().predict_ab(L, **options)

    model = Listens(Siggraph17Config.tiny()).eval()
    source = make_picture(64, 64)
    result = model.canvas(source, working_size=64, views=views).colorize_array(hints=[(20, 10, RED)])
    assert told[:views] == [None] * views
    mask, ab = told[views][0, 2], told[views][0, :2]
    assert mask.nonzero().tolist() == [[10, 20]]
    assert torch.allclose(ab[:, 10, 20], ab_of(RED).flatten().float(), atol=0.01)
    if views > 1:
        assert told[views + 1][0, 2].nonzero().tolist() == [[10, 43]]
    for hinted in told[views:]:
        assert torch.allclose(hinted[0, :2, hinted[0, 2] > 0].mean(1), ab_of(RED).flatten().float(), atol=0.05)
    assert off(result, source, within((64, 64), 20, 10, 3), RED) <= 1


def test_places_are_in_the_upright_picture(tmp_path: Path, make_picture: Callable[..., Any]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    Image.fromarray(make_picture(30, 50)).save(tmp_path / "turned.png", exif=exif)
    model = zoo.load("grayscale")
    model.colorize_file(tmp_path / "turned.png", tmp_path / "out.png", hints=[(5, 45, RED)])
    source, result = (
        np.asarray(im) for im in (model.colorize(tmp_path / "turned.png"), Image.open(tmp_path / "out.png"))
    )
    assert result.shape == (50, 30, 3)
    assert off(result, source, within((50, 30), 5, 45, 3), RED) <= 1
    with pytest.raises(OptionError, match="x below 30, y below 50"):
        model.colorize(tmp_path / "turned.png", hints=[(45, 5, RED)])


def test_alpha_is_kept(make_picture: Callable[..., Any], grey_model: Grayscale) -> None:
    source = np.dstack([make_picture(40, 50), np.arange(2000, dtype=np.uint8).reshape(40, 50)])
    result = grey_model.colorize_array(source, hints=[(5, 5, RED)])
    assert np.array_equal(result[..., 3], source[..., 3])
    image = grey_model.colorize(Image.fromarray(source), hints=[(5, 5, RED)])
    assert np.array_equal(np.asarray(image), result)


def test_a_canvas_has_no_saturation(make_picture: Callable[..., Any], grey_model: Grayscale) -> None:
    with pytest.raises(OptionError, match="no saturation of its own"):
        grey_model.canvas(make_picture(8, 8), saturation=2.0)
    with pytest.raises(OptionError, match="bad saturation"):
        grey_model.canvas(make_picture(8, 8)).colorize(saturation=-1)


def test_dense_hints_reach_the_same_pixels_as_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    told = np.argwhere(np.random.default_rng(0).random((60, 80)) < 0.2).astype(np.int32)
    dense_hints = hints.Hints(told, np.zeros((len(told), 2), np.float32))
    found = []
    for dense in (0, float("inf")):
        monkeypatch.setattr("zoo.hints._DENSE", dense)
        flat, nearest, share = hints.reached(dense_hints, (60, 80), 5.0)
        found.append((flat, np.square(told[nearest] - np.stack(np.divmod(flat, 80), 1)).sum(1), share))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
