"""Variants: plausible, coherent, the same for the same seed, of every model that answers colours."""

from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from typer.testing import CliRunner

from zoo import bins, color, contract, registry, variants
from zoo.cli import app
from zoo.colorizer import Colorizer
from zoo.errors import ImageError, OptionError
from zoo.reference import Reference
from zoo.spread import FLOOR, Spread, from_bins, from_views, mean_spread


def tiny(name: str) -> Colorizer[Any]:
    torch.manual_seed(0)
    return contract.maker(name)().eval()


@pytest.fixture
def fusion() -> Colorizer[Any]:
    return tiny("fusion")


def gradient(h: int, w: int) -> tuple[Spread, Tensor]:
    """A made-up spread: the doubt is greater at the right, and about b rather than a."""
    L = torch.linspace(10, 90, h * w).view(1, 1, h, w)
    doubt = torch.linspace(20, 200, w).expand(1, 1, h, w)
    return Spread(torch.zeros(1, 2, h, w), torch.cat([doubt, 0.3 * doubt, 2 * doubt], 1)), L


def lab(rgb: Any) -> Tensor:
    return color.rgb_to_lab(torch.from_numpy(rgb).permute(2, 0, 1).float() / 255)


# Every model


@pytest.mark.parametrize("name", [n for n in registry.list_models() if n != "grayscale"])
def test_every_model_has_variants_that_differ_and_keep_the_lightness(
    name: str, make_picture: Callable[..., Any]
) -> None:
    picture = make_picture(37, 53)
    found = tiny(name).variants_array(picture, 4)
    assert [v.shape for v in found] == [picture.shape] * 4
    assert all((lab(v)[0] - lab(picture)[0]).abs().max() <= 0.5 for v in found)
    assert min(float((lab(a) - lab(b)).abs().mean()) for a, b in combinations(found, 2)) > 1


def test_grayscale_refuses(make_picture: Callable[..., Any]) -> None:
    for ask in (tiny("grayscale").variants, tiny("grayscale").certainty):
        with pytest.raises(OptionError, match="'grayscale' has neither variants nor certainty"):
            ask(make_picture(8, 8))


def test_what_a_model_lacks_or_variants_cannot_be_asked_is_refused(make_picture: Callable[..., Any]) -> None:
    model, picture = tiny("regression"), make_picture(8, 8)
    for wrong in ({"style": "vivid"}, {"views": 2}, {"seed": -1}, {"n": 0}, {"n": 65}, {"n": True}, {"saturation": -1}):
        with pytest.raises(OptionError):
            model.variants(picture, **wrong)
    for wrong in (-1, 64, 0.5, True):
        with pytest.raises(OptionError, match="bad variant"):
            model.colorize(picture, variant=wrong)


# Seeds and numbers


def test_same_seed_same_pictures_and_each_can_be_got_alone(
    fusion: Colorizer[Any], make_picture: Callable[..., Any]
) -> None:
    picture = make_picture(40, 32)
    six = fusion.variants_array(picture, 6, seed=3)
    np.testing.assert_array_equal(six, fusion.variants_array(picture, 6, seed=3))
    np.testing.assert_array_equal(six[:2], fusion.variants_array(picture, 2, seed=3))
    np.testing.assert_array_equal(six[5], fusion.colorize_array(picture, variant=5, seed=3))
    assert not np.array_equal(six[0], fusion.variants_array(picture, 1, seed=4)[0])


def test_the_network_runs_once_for_a_picture_and_again_for_another(fusion: Colorizer[Any]) -> None:
    runs = []
    fusion.register_forward_hook(lambda *_: runs.append(1))
    first, second = fusion.variant_predictors([0, 3])
    with fusion.inference():
        dark, bright = torch.full((1, 1, 32, 32), 20.0), torch.full((1, 1, 32, 32), 80.0)
        answers = [first(dark), second(dark)]
        assert len(runs) == 1
        first(bright)
        assert len(runs) == 2
    assert not torch.equal(*answers)


def test_images_keep_their_alpha(fusion: Colorizer[Any], make_picture: Callable[..., Any]) -> None:
    rgba = np.dstack([make_picture(20, 24), np.arange(480, dtype=np.uint16).reshape(20, 24).astype(np.uint8)])
    for variant in fusion.variants(Image.fromarray(rgba), 2, style="vivid", saturation=0.5):
        np.testing.assert_array_equal(np.asarray(variant)[..., 3], rgba[..., 3])


# Fields


def test_four_variants_lie_around_the_answer() -> None:
    spread, L = gradient(12, 16)
    answer = Spread(torch.randn(1, 2, 12, 16, generator=torch.Generator().manual_seed(0)), spread.covariance)
    for seed in (0, 7):
        found = variants.colorings(answer, L, range(4), seed)
        torch.testing.assert_close(found.mean(0), answer.ab[0], atol=1e-4, rtol=0)
        apart = [float((a - b).square().sum(0).mean().sqrt()) for a, b in combinations(found, 2)]
        assert min(apart) > 3


def test_modes_are_the_eigenvectors_of_the_process() -> None:
    spread, L = gradient(3, 4)
    points = [(y, x) for y in range(3) for x in range(4)]
    side = 12**0.5
    matrix = torch.zeros(24, 24, dtype=torch.float64)
    for i, (y, x) in enumerate(points):
        for j, (v, u) in enumerate(points):
            near = sum(
                weight
                * np.exp(
                    -(((y - v) / side) ** 2 + ((x - u) / side) ** 2) / (2 * scales[0] ** 2)
                    - (float(L[0, 0, y, x] - L[0, 0, v, u]) / 100) ** 2 / (2 * scales[1] ** 2)
                )
                for weight, scales in variants.KERNELS
            )
            roots = []
            for r, c in ((y, x), (v, u)):
                aa, both, bb = spread.covariance[0, :, r, c].double()
                values, vectors = torch.linalg.eigh(torch.tensor([[aa, both], [both, bb]]))
                roots.append(vectors @ torch.diag(values.sqrt()) @ vectors.T)
            matrix[2 * i : 2 * i + 2, 2 * j : 2 * j + 2] = near * roots[0] @ roots[1]
    values = torch.linalg.eigvalsh(matrix).flip(0)
    found = variants.modes(spread, L).flatten(2).transpose(1, 2).reshape(variants.TURNED, 24).double()
    for mode, value in zip(found, values, strict=False):
        torch.testing.assert_close(mode.square().sum(), value, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(matrix @ mode, value * mode, rtol=1e-2, atol=float(value) * 2e-3)


def test_neighbors_go_together_and_edges_of_lightness_are_followed() -> None:
    h, w = 32, 32
    L = torch.full((1, 1, h, w), 20.0)
    L[..., 16:] = 90  # two halves
    spread = Spread(torch.zeros(1, 2, h, w), torch.tensor([200.0, 0, 200]).view(1, 3, 1, 1).expand(1, 3, h, w))
    for field in variants.colorings(spread, L, range(4)):
        step = (field[:, :, 1:] - field[:, :, :-1]).abs().sum(0).mean(0)  # from column to column
        assert step[15] > 5 * step[torch.arange(31) != 15].max()


def test_where_the_model_is_sure_variants_agree() -> None:
    spread, L = gradient(16, 16)
    sure = spread.covariance.clone()
    sure[..., :8] *= 0.01
    field = variants.colorings(Spread(spread.ab, sure), L, range(4)).square().sum(1).mean((0, 1)).sqrt()
    assert field[:7].max() < 0.3 * field[9:].min()


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (64, 2)])
def test_pictures_of_few_positions(size: tuple[int, int]) -> None:
    spread, L = gradient(*size)
    assert variants.colorings(spread, L, range(5), seed=1).isfinite().all()


# Spreads


def test_spread_of_bins_is_that_of_their_distribution() -> None:
    logits = torch.randn(1, len(bins.bins()), 1, 2, generator=torch.Generator().manual_seed(0)) * 3
    weights = torch.rand(len(bins.bins()), generator=torch.Generator().manual_seed(1)) + 0.5
    found = from_bins(torch.zeros(1, 2, 1, 2), logits, weights)
    for x in range(2):
        p = torch.softmax(logits[0, :, 0, x], 0) / weights  # rare colours as rare again as they were
        drawn = torch.cov(bins.bins().T, correction=0, aweights=p)
        aa, both, bb = found.covariance[0, :, 0, x]
        expected = drawn + FLOOR * torch.eye(2)
        torch.testing.assert_close(torch.stack([aa, both, both, bb]).view(2, 2), expected, rtol=1e-3, atol=1e-2)


def test_spread_of_views_is_where_they_differ() -> None:
    def predict(L: Tensor) -> Tensor:
        ab = torch.full((1, 2, *L.shape[2:]), 10.0)
        ab[..., : L.shape[3] // 2] += 1.0  # the left of whatever it is shown, but for a third of the rows
        ab[:, :, : L.shape[2] // 3] = 10
        return ab

    found = from_views(predict, torch.zeros(1, 1, 48, 48), 4)
    assert float(found.deviation()[0, 0, 2].max()) == pytest.approx((2 * FLOOR) ** 0.5)
    assert float(found.deviation()[0, 0, 40].min()) > 5
    torch.testing.assert_close(found.ab, predict(torch.zeros(1, 1, 48, 48)))


def test_spread_of_a_blend_has_what_its_parts_disagree_about() -> None:
    covariance = torch.tensor([9.0, 0, 4]).view(1, 3, 1, 1)
    one, other = (Spread(torch.tensor(ab).view(1, 2, 1, 1), covariance) for ab in ([0.0, 0], [6.0, 2]))
    found = mean_spread([one, other])
    assert found.ab.flatten().tolist() == [3, 1]
    assert found.covariance.flatten().tolist() == [9 + 9, 3, 4 + 1]


# With the other options


def test_any_model_takes_a_variants_seed_and_hints_on_top_of_it(make_picture: Callable[..., Any]) -> None:
    model, picture = tiny("regression"), make_picture(30, 40)
    second = model.colorize_array(picture, variant=1, seed=3)
    np.testing.assert_array_equal(second, model.variants_array(picture, 2, seed=3)[1])
    told = {"hints": [(20, 15, "#c03020")], "hint_radius": 2.0}
    guided = model.variants_array(picture, 2, seed=3, **told)
    np.testing.assert_array_equal(guided[1], model.canvas(picture, variant=1, seed=3).colorize_array(**told))
    wanted, near, far = (lab(a)[1:, 15, 20] for a in (guided[1], guided[0], second))
    assert (wanted - near).abs().max() < 1.5 < (wanted - far).abs().max()
    with pytest.raises(OptionError, match="has no option 'seed'"):
        model.colorize(picture, seed=3)
    fusion = tiny("fusion")  # whose faithful style takes no seed of its own
    variant = fusion.colorize_array(picture, style="faithful", variant=1, seed=3)
    np.testing.assert_array_equal(variant, fusion.variants_array(picture, 2, style="faithful", seed=3)[1])


def test_guided_variants_compare_and_look_once(
    make_picture: Callable[..., Any], fusion: Colorizer[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    picture, other, asked = make_picture(30, 40), make_picture(50, 40, seed=1), []
    alone = [fusion.colorize_array(picture, variant=n, reference=other, hints=[(3, 4, "#c03020")]) for n in range(5)]
    spread, seen = type(fusion).spread, Reference.seen
    monkeypatch.setattr(type(fusion), "spread", lambda *a, **k: (asked.append("network"), spread(*a, **k))[1])
    monkeypatch.setattr(Reference, "seen", lambda array: (asked.append("features"), seen(array))[1])
    found = fusion.variants_array(picture, 5, reference=other, hints=[(3, 4, "#c03020")])
    np.testing.assert_array_equal(found, alone)
    assert sorted(asked) == ["features"] * 2 + ["network"] * 2


def test_options_name_all_of_the_guidance() -> None:
    from zoo.canvas import Guidance
    from zoo.options import GUIDANCE

    assert set(Guidance.__annotations__) == GUIDANCE


# Command line


def colorzoo(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def photo(tmp_path: Path, make_picture: Callable[..., Any]) -> Path:
    Image.fromarray(make_picture(24, 32)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_command_writes_numbered_files_and_goes_on(photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    wanted = ["photo-1.png", "photo-2.png", "photo-3.png"]
    command = ("colorize", photo, "--out", out, "--model", "regression", "--variants", 3)
    made = colorzoo(*command)
    assert made.exit_code == 0
    assert made.stdout.strip().endswith(f"{out / wanted[0]} to {wanted[2]}")
    assert sorted(p.name for p in out.iterdir()) == wanted
    pictures = {p.name: p.read_bytes() for p in out.iterdir()}
    assert len(set(pictures.values())) == 3
    assert "3 skipped" in colorzoo(*command).stdout
    (out / wanted[0]).write_bytes(b"kept")
    (out / wanted[2]).unlink()
    assert colorzoo(*command).exit_code == 0  # as after an interruption
    assert (out / wanted[0]).read_bytes() == b"kept"
    assert (out / wanted[2]).read_bytes() == pictures[wanted[2]]
    assert colorzoo(*command, "--force", "--seed", 5).exit_code == 0
    assert all((out / name).read_bytes() != pictures[name] for name in wanted)


def test_command_refuses_models_without_variants_and_targets_that_are_sources(photo: Path, tmp_path: Path) -> None:
    result = colorzoo("colorize", photo, "--out", tmp_path / "out", "--model", "grayscale", "--variants", 2)
    assert result.exit_code == 2
    assert "neither variants nor certainty" in result.stderr
    from zoo import batch

    photo.rename(tmp_path / "a-1.png")
    items = batch.plan([tmp_path / "a-1.png"], tmp_path / "a.png")
    with pytest.raises(ImageError, match="overwrite a source"):
        batch.plan_variants(items, 2)
