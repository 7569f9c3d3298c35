"""Colours taken from another, coloured picture: place by place where the two are alike, or its palette as a whole.

Alike is what the packaged network `fusion` sees alike, of whichever model the colours are: not all have features, and
one that does the comparing for all is tuned once.

Sources: attention between features of target and reference is that of Zhang et al., "Deep Exemplar-based Video
Colorization" (2019), section 3.1; the palette is moved as in Pitié and Kokaram, "The Linear Monge-Kantorovitch Linear
Colour Mapping for Example-Based Colour Transfer" (2007).
"""

import os
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from zoo import color, images, loading, pipeline, upsampling
from zoo.errors import ImageError
from zoo.runnable import inference_autocast

MODES = ("match", "palette")
MATCHER = "fusion"
WORKING_SIZE = 256  # at which pictures are compared, whatever the model's own

# Chosen on 48 held-out photos, beside themselves mirrored and enlarged and beside others.
_TEMPERATURE = 0.02  # of the choice between places of the reference, in cosine similarity
_L_REACH = 8.0  # L units; places of another lightness count less
_LIKE = 0.65  # cosine similarity of what is half trusted
_EASE, _AKIN = 0.15, (0.5, 0.65)  # less is asked of places where the pictures as a whole are akin, by mean similarity
_SLOPE = 0.05
_CHUNK = 1024  # places of the target at a time
_SPREAD = (1.0, 4.0)  # variances of L and ab below which a picture's colours are taken for one


@dataclass(frozen=True, eq=False)
class Reference:
    """A picture as it is compared with another.

    Attributes:
        L: As the network saw it, (1, 1, H, W) in [0, 100], padded.
        features: Of each place, each (1, d, h, w).
        ab: Of each place, (1, 2, h, w) in Lab units; None for a picture whose own colours do not count.
        grid: h, w.
        geometry: Where the picture lies in ``L``.
        opacity: Of each place, (1, 1, h, w) in [0, 1]: what cannot be seen gives no colour. None where all can.
    """

    L: Tensor
    features: tuple[Tensor, ...]
    ab: Tensor | None
    grid: tuple[int, int]
    geometry: pipeline.Geometry
    opacity: Tensor | None = None

    @classmethod
    def of(cls, image: "Image.Image | npt.NDArray[Any] | str | os.PathLike[str]") -> "Reference":
        """The coloured picture ``image``, to take colours from; made once, it serves many pictures.

        Raises:
            ImageError: It cannot be read, is not a picture, or has no colour of its own.
        """
        if isinstance(image, np.ndarray):
            array, alpha = image, image[..., 3] if image.shape[2:] == (4,) else None
        else:
            picture = images.picture_of(image)
            array, alpha = picture.pixels, picture.alpha
        seen = cls.seen(array)
        rgb = images.to_8_bit(array)[..., :3]
        visible = rgb if alpha is None or rgb.ndim == 2 else rgb * (images.to_8_bit(alpha) > 0)[..., None]
        if rgb.ndim == 2 or rgb.shape[2] < 3 or not color.has_color(visible):
            raise ImageError("the reference has no colour of its own", remedy="choose a picture in colour")

        def small(planes: npt.NDArray[np.uint8]) -> Tensor:
            whole = torch.from_numpy(np.array(planes)).permute(2, 0, 1)[None].float() / 255
            return F.interpolate(whole, seen.geometry.size, mode="bilinear", antialias=True)

        def places(planes: Tensor) -> Tensor:
            return F.adaptive_avg_pool2d(pipeline.pad(planes, seen.geometry), seen.grid)

        ab = color.rgb_to_lab(small(rgb))[:, 1:]  # of encoded values; their mean is near
        if alpha is None:
            return replace(seen, ab=places(ab))
        weight = small(images.to_8_bit(alpha)[..., None])
        opacity = places(weight)
        return replace(seen, ab=places(ab * weight) / opacity.clamp(min=1e-6), opacity=opacity)

    @classmethod
    def seen(cls, array: npt.NDArray[Any]) -> "Reference":
        """The picture ``array`` by its lightness alone, as in `Colorizer.colorize_array`.

        Raises:
            ImageError: It is not a picture.
        """
        network: Any = _matcher()
        found: list[Any] = []

        def look(L: Tensor) -> Tensor:
            with inference_autocast(L.device):
                features = network.encode(L)
                found.extend((L, features, network.trunk(L, features)))
            return torch.zeros_like(L).expand(-1, 2, -1, -1)

        multiple_of = network.spec.multiple_of
        with network.inference():
            pipeline.predict_maps(array, look, working_size=WORKING_SIZE, multiple_of=multiple_of)
            L, (_, eighth, sixteenth, _), trunk = found
            grid = (trunk.shape[2], trunk.shape[3])
            kept = tuple(
                upsampling.bilinear_upsample(maps.float(), grid).clone() for maps in (trunk, eighth, sixteenth)
            )
        geometry = pipeline.fitted(array.shape[0], array.shape[1], WORKING_SIZE, multiple_of)
        return cls(L.clone(), kept, None, grid, geometry)


class Matched(NamedTuple):
    """What a picture takes from a reference: colours (1, 2, h, w) in Lab units, and how far to trust them, 0 to 1."""

    ab: Tensor
    trust: Tensor


def match(target: Reference, reference: Reference) -> Matched:
    """For each place of ``target`` the colours of the places of ``reference`` that are like it."""
    assert reference.ab is not None
    features, others = (torch.cat(f, 1) for f in zip(*map(_unit, target.features, reference.features), strict=True))
    L, other_L = (F.adaptive_avg_pool2d(p.L, p.grid).flatten() for p in (target, reference))
    there = reference.ab.flatten(2)[0].T  # (places of the reference, 2)
    others = others[0].flatten(1) / len(target.features)
    rows = features[0].flatten(1).T
    unseen = None if reference.opacity is None else reference.opacity.flatten().log()
    found = []
    for start in range(0, len(rows), _CHUNK):
        some, lightness = rows[start : start + _CHUNK], L[start : start + _CHUNK]
        alike = some @ others
        weights = alike / _TEMPERATURE - ((lightness[:, None] - other_L) / _L_REACH).square_().div_(2)
        if unseen is not None:
            weights += unseen
        weights = weights.softmax(1)
        found.append(torch.cat([weights @ there, (weights * alike).sum(1, keepdim=True)], 1))
    planes = torch.cat(found).T.reshape(1, 3, *target.grid)
    ab, similarity = planes[:, :2], planes[:, 2:]
    akin = (float(similarity.mean()) - _AKIN[0]) / (_AKIN[1] - _AKIN[0])
    asked = _LIKE - _EASE * min(max(akin, 0.0), 1.0)
    return Matched(ab, torch.sigmoid((similarity - asked) / _SLOPE))


def change(target: Reference, matched: Matched, own: Tensor) -> Tensor:
    """Maps (4, h, w), as `zoo.pipeline.paint` takes them, of what ``matched`` changes in the colours ``own``.

    Args:
        target: The picture that is coloured.
        matched: What it takes.
        own: The model's colours of it at any size, (1, 2, h, w) in Lab units.
    """
    own = upsampling.bilinear_upsample(own, target.geometry.size)
    own = F.adaptive_avg_pool2d(pipeline.pad(own, target.geometry), target.grid)
    maps = pipeline.maps_of(matched.trust * (matched.ab - own), target.L)
    return pipeline.unfit(maps, target.geometry)[0]


def palette(L: Tensor, ab: Tensor, reference: Reference) -> Tensor:
    """The colours ``ab`` (1, 2, h, w) of ``L`` (1, 1, h, w), moved so that as a whole they are those of the reference.

    The linear map that moves mean and covariance of (L, a, b) to the reference's with the least movement; L itself
    stays. Where a picture has hardly any colour, L alone says where to.
    """
    assert reference.ab is not None
    own = torch.cat([L, ab], 1)[0].flatten(1).double()
    other = torch.cat([F.adaptive_avg_pool2d(reference.L, reference.grid), reference.ab], 1)[0].flatten(1).double()
    floor = torch.diag(own.new_tensor([_SPREAD[0], _SPREAD[1], _SPREAD[1]]))
    shares = None if reference.opacity is None else reference.opacity.flatten().double()
    mean = (other if shares is None else other * (shares / shares.mean())).mean(1, keepdim=True)
    here, there = torch.cov(own, correction=0) + floor, torch.cov(other, correction=0, aweights=shares) + floor
    root = _root(here)
    inverse = torch.linalg.inv(root)
    move = inverse @ _root(root @ there @ root) @ inverse
    moved: Tensor = move @ (own - own.mean(1, keepdim=True)) + mean
    return moved[1:].reshape(ab.shape).to(ab.dtype)


def _root(symmetric: Tensor) -> Tensor:
    """The square root of a positive definite matrix."""
    values, vectors = torch.linalg.eigh(symmetric)
    root: Tensor = vectors @ torch.diag(values.clamp(min=0).sqrt()) @ vectors.T
    return root


def _unit(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Features (1, d, h, w) of two pictures about their common mean, those of each place of length 1."""
    mean = (one.mean((2, 3), keepdim=True) + other.mean((2, 3), keepdim=True)) / 2
    return F.normalize(one - mean, dim=1), F.normalize(other - mean, dim=1)


@lru_cache(maxsize=1)
def _matcher() -> Any:
    """The packaged network by whose features places are compared."""
    return loading.load(MATCHER, backend="torch")  # no other one gives what its heads answer from
