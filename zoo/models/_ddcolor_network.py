"""The parts of DDColor under the names of the published files: ConvNeXt encoder, pixel decoder, colour decoder.

What is linear in evaluation mode is not done one by one: spectral and batch normalisation become one factor and one
offset a channel, and the queries meet the pixels as a matrix of two rows. The answers are the published network's.

Sources: Kang et al., "DDColor", ICCV 2023 (piddnad/DDColor); Liu et al., "A ConvNet for the 2020s", CVPR 2022; Cheng
et al., "Mask2Former", CVPR 2022, whose attention over feature scales the colour decoder follows; Carion et al.,
"DETR", ECCV 2020, for the sine encoding of positions; Miyato et al., "Spectral Normalization", ICLR 2018.
"""

import math
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.models._backbones import AB_SCALE
from zoo.pretrained import pretrained_state

_EPS = 1e-6  # of ConvNeXt's layer norms
_TEMPERATURE = 10000.0  # of the sine encoding
_SHUFFLE = 4  # what the last pixel shuffle enlarges by

# timm's names of ConvNeXt's tensors, and those of its authors.
_FROM_TIMM = (
    (r"stem\.", "downsample_layers.0."),
    (r"stages\.(\d+)\.downsample\.", r"downsample_layers.\1."),
    (r"stages\.(\d+)\.blocks\.", r"stages.\1."),
    (r"\.conv_dw\.", ".dwconv."),
    (r"\.mlp\.fc(\d)\.", r".pwconv\1."),
    (r"head\.norm\.", "norm."),
)


class LayerNorm2d(nn.LayerNorm):
    """Layer normalisation over the channels of a map, (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as ``x``."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNeXtBlock(nn.Module):
    """Depthwise 7x7 convolution, then a two-layer perceptron at each position, around an identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((channels,), 1e-6))
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, _EPS)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.pwconv2 = nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as ``x``, (N, C, H, W)."""
        y: Tensor = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        y = self.pwconv2(F.gelu(self.pwconv1(y))) * self.gamma
        return x + y.permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    """ConvNeXt: RGB (N, 3, H, W), normalised -> four maps at strides 4 to 32.

    Args:
        widths: Channels at the strides 4, 8, 16, 32.
        depths: Blocks at each stride.
    """

    def __init__(self, widths: Sequence[int], depths: Sequence[int]) -> None:
        super().__init__()
        first = nn.Sequential(nn.Conv2d(3, widths[0], 4, 4), LayerNorm2d(widths[0], _EPS))
        later = [nn.Sequential(LayerNorm2d(i, _EPS), nn.Conv2d(i, o, 2, 2)) for i, o in pairwise(widths)]
        self.downsample_layers = nn.ModuleList([first, *later])
        self.stages = nn.ModuleList(
            nn.Sequential(*(ConvNeXtBlock(width) for _ in range(depth)))
            for width, depth in zip(widths, depths, strict=True)
        )
        for n, width in enumerate(widths):
            self.add_module(f"norm{n}", LayerNorm2d(width, _EPS))
        # The classifier's: in the published files, and part of no answer.
        self.norm = nn.LayerNorm(widths[-1], _EPS).requires_grad_(False)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """The four feature maps, finest first, each normalised."""
        maps = []
        for n, (down, stage) in enumerate(zip(self.downsample_layers, self.stages, strict=True)):
            x = stage(down(x))
            maps.append(self.get_submodule(f"norm{n}")(x))
        return tuple(maps)


class Encoder(nn.Module):
    """ConvNeXt where the published files have it."""

    def __init__(self, widths: Sequence[int], depths: Sequence[int]) -> None:
        super().__init__()
        self.arch = ConvNeXt(widths, depths)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """As `ConvNeXt`."""
        return cast(tuple[Tensor, ...], self.arch(x))

    def init_pretrained(self, name: str) -> None:
        """Take the weights of timm's ConvNeXt ``name``; the norms of the four maps, which it lacks, stay as they are.

        Raises:
            WeightsError: They are not to be had.
        """
        state = dict(self.arch.state_dict())
        for key, value in pretrained_state(name, remedy="go online once, or set train.pretrained=false").items():
            for theirs, ours in _FROM_TIMM:
                key = re.sub(theirs, ours, key)
            if key in state:  # all but the classifier itself
                state[key] = value
        self.arch.load_state_dict(state)


class SpectralConv2d(nn.Module):
    """A convolution whose weight is divided by its largest singular value; `forward` leaves the division to the caller.

    Training improves the estimate of that value by one power iteration a step. Padding keeps the size.
    """

    weight_u: Tensor
    weight_v: Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, *, bias: bool = False) -> None:
        super().__init__()
        plain = nn.Conv2d(inputs, outputs, kernel, bias=bias)
        self.bias = plain.bias
        self.weight_orig = plain.weight
        self.register_buffer("weight_u", F.normalize(torch.randn(outputs), dim=0))
        self.register_buffer("weight_v", F.normalize(torch.randn(inputs * kernel**2), dim=0))
        self._iterate()  # so that the value is positive, as any trained network's is

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The convolution with the undivided weight and no bias, (N, outputs, H, W), and the singular value, ()."""
        return F.conv2d(x, self.weight_orig, padding=self.weight_orig.shape[-1] // 2), self.sigma()

    def sigma(self) -> Tensor:
        """The largest singular value of the weight as a matrix (outputs, inputs * kernel^2), ()."""
        with torch.autocast(self.weight_orig.device.type, enabled=False):
            if self.training:
                self._iterate()
                # Copies, because the next step changes them while this step's gradient may not be taken yet.
                return self.weight_u.clone().dot(self._matrix() @ self._rows(self.weight_v).clone())
            return self.weight_u.dot(self._matrix() @ self._rows(self.weight_v))

    @torch.no_grad()
    def _iterate(self) -> None:
        matrix = self._matrix()
        rows = F.normalize(self.weight_u @ matrix, dim=0, eps=1e-12)
        inputs, kernel = self.weight_orig.shape[1], self.weight_orig.shape[2]
        self.weight_v.copy_(rows.view(kernel, kernel, inputs).permute(2, 0, 1).flatten())
        self.weight_u.copy_(F.normalize(matrix @ rows, dim=0, eps=1e-12))

    def _matrix(self) -> Tensor:
        """The weight, (outputs, kernel^2 * inputs): in channels_last, as convolutions want it, without a copy."""
        return self.weight_orig.permute(0, 2, 3, 1).flatten(1)

    def _rows(self, v: Tensor) -> Tensor:
        """A vector over inputs * kernel^2 in the order of `_matrix`."""
        return v.view(self.weight_orig.shape[1:]).permute(1, 2, 0).flatten()


def batch_norm(norm: nn.BatchNorm2d, x: Tensor, sigma: Tensor) -> Tensor:
    """``norm`` of x / sigma; where nothing is learned, its statistics are multiplied instead of x divided."""
    if norm.training or sigma.requires_grad:
        return cast(Tensor, norm(x / sigma))
    mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    return F.batch_norm(
        x, mean * sigma, (variance + norm.eps) * sigma.square(), norm.weight, norm.bias, training=False, eps=0.0
    )


def blur(x: Tensor) -> Tensor:
    """The mean of each pixel and those above, to the left, and both: against the pattern that shuffling leaves."""
    return F.avg_pool2d(F.pad(x, (1, 0, 1, 0), mode="replicate"), 2, 1)


class Shuffle(nn.Module):
    """Twice the size: 1x1 convolution, batch normalisation, ReLU, pixel shuffle, blur."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(SpectralConv2d(inputs, 4 * outputs), nn.BatchNorm2d(4 * outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(N, outputs, 2H, 2W)."""
        x = batch_norm(cast(nn.BatchNorm2d, self.conv[1]), *self.conv[0](x))
        return blur(F.pixel_shuffle(x.relu_(), 2))


class Layer(nn.Module):
    """One step of the pixel decoder: the coarse map enlarged, joined with the encoder's finer one."""

    def __init__(self, inputs: int, skip: int, outputs: int, enlarged: int) -> None:
        super().__init__()
        self.shuf = Shuffle(inputs, enlarged)
        self.bn = nn.BatchNorm2d(skip)
        # In this order: the ReLU comes before the normalisation.
        self.conv = nn.Sequential(
            SpectralConv2d(enlarged + skip, outputs, 3), nn.ReLU(inplace=True), nn.BatchNorm2d(outputs)
        )

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(N, outputs, h, w) of the coarse map ``x`` and the map ``skip``, (N, skip, h, w)."""
        x = torch.cat([self.shuf(x), self.bn(skip)], 1).relu_()
        x, sigma = self.conv[0](x)
        # ReLU and the division may change places, as sigma is positive.
        return batch_norm(cast(nn.BatchNorm2d, self.conv[2]), x.relu_(), sigma)


class CrossAttention(nn.Module):
    """The queries look at the pixels of one scale, and take up what they see."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.multihead_attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm = nn.LayerNorm(width)

    def forward(self, queries: Tensor, own: Tensor, pixels: Tensor, where: Tensor) -> Tensor:
        """Queries (N, Q, C), of their own position ``own``, to pixels (N, h * w, C) at ``where``, (h * w, C)."""
        seen = self.multihead_attn(queries + own, pixels + where, pixels, need_weights=False)[0]
        return cast(Tensor, self.norm(queries + seen))


class SelfAttention(nn.Module):
    """The queries look at each other."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm = nn.LayerNorm(width)

    def forward(self, queries: Tensor, own: Tensor) -> Tensor:
        """Queries (N, Q, C), of their own position ``own``."""
        placed = queries + own
        return cast(Tensor, self.norm(queries + self.self_attn(placed, placed, queries, need_weights=False)[0]))


class FeedForward(nn.Module):
    """A two-layer perceptron on each query."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(width, hidden)
        self.linear2 = nn.Linear(hidden, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, queries: Tensor) -> Tensor:
        """Same shape as ``queries``, (N, Q, C)."""
        return cast(Tensor, self.norm(queries + self.linear2(F.relu(self.linear1(queries)))))


class Perceptron(nn.Module):
    """Three linear layers with ReLU between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as ``x``."""
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return cast(Tensor, self.layers[-1](x))


class ColorDecoder(nn.Module):
    """Colour queries that look at the picture at three scales in turn, each becoming a direction among the features.

    Args:
        channels: Of the pixel decoder's maps at strides 16, 8, 4.
        width: Of the queries.
        queries: How many.
        rounds: Of attention; the scales take turns.
        heads: Of attention.
        hidden: Width of the perceptron in each round.
    """

    def __init__(self, channels: Sequence[int], width: int, queries: int, rounds: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.query_feat = nn.Embedding(queries, width)
        self.query_embed = nn.Embedding(queries, width)
        self.level_embed = nn.Embedding(len(channels), width)
        self.input_proj = nn.ModuleList(nn.Conv2d(c, width, 1) for c in channels)
        self.transformer_self_attention_layers = nn.ModuleList(SelfAttention(width, heads) for _ in range(rounds))
        self.transformer_cross_attention_layers = nn.ModuleList(CrossAttention(width, heads) for _ in range(rounds))
        self.transformer_ffn_layers = nn.ModuleList(FeedForward(width, hidden) for _ in range(rounds))
        self.decoder_norm = nn.LayerNorm(width)
        self.color_embed = Perceptron(width)
        with torch.no_grad():  # so that a new network's answers are of the order of colours, and learn at its rate
            for parameter in self.color_embed.layers[-1].parameters():
                parameter.mul_(AB_SCALE)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """One vector of features a query, (N, Q, C), from maps at strides 16, 8, 4."""
        pixels, where = [], []
        for project, level, x in zip(self.input_proj, self.level_embed.weight, maps, strict=True):
            pixels.append(project(x).permute(0, 2, 3, 1).flatten(1, 2) + level)
            where.append(sine_positions(x.shape[2], x.shape[3], level.shape[0]).to(level.device))
        own = self.query_embed.weight
        queries = self.query_feat.weight.expand(maps[0].shape[0], -1, -1)
        rounds = zip(
            self.transformer_cross_attention_layers,
            self.transformer_self_attention_layers,
            self.transformer_ffn_layers,
            strict=True,
        )
        for n, (look, confer, think) in enumerate(rounds):
            scale = n % len(pixels)
            queries = think(confer(look(queries, own, pixels[scale], where[scale]), own))
        return cast(Tensor, self.color_embed(self.decoder_norm(queries)))


def sine_positions(height: int, width: int, channels: int) -> Tensor:
    """Where each pixel of a map is, (height * width, channels): half the channels for its row, half for its column.

    Rows and columns count from 1 and are scaled so that the last is at 2 pi; sine and cosine of rising wavelengths
    take turns.

    Source: Carion et al. 2020, section 3.2, with normalised positions.
    """
    half = channels // 2
    wavelengths = _TEMPERATURE ** (torch.arange(half).div(2, rounding_mode="floor") * 2 / half)
    found = []
    for side in (height, width):
        angles = torch.arange(1, side + 1)[:, None] * (2 * math.pi / (side + 1e-6)) / wavelengths
        found.append(torch.stack([angles[:, 0::2].sin(), angles[:, 1::2].cos()], 2).flatten(1))
    rows = found[0][:, None].expand(height, width, half)
    columns = found[1][None].expand(height, width, half)
    return torch.cat([rows, columns], 2).flatten(0, 1)


class LastShuffle(nn.Module):
    """The last enlargement, by four; only its parameters, because `mixed` never makes the whole of its answer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(SpectralConv2d(width, width * _SHUFFLE**2, bias=True))


class Decoder(nn.Module):
    """Pixel decoder and colour decoder, up to the last mixing of features.

    Args:
        channels: Of the encoder's maps, finest first.
        widths: Of the pixel decoder at strides 16, 8, 4; the last is also the queries'.
        queries: As `ColorDecoder`, and so the others.
        rounds: See `ColorDecoder`.
        heads: See `ColorDecoder`.
        hidden: See `ColorDecoder`.
    """

    def __init__(
        self, channels: Sequence[int], widths: Sequence[int], queries: int, rounds: int, heads: int, hidden: int
    ) -> None:
        super().__init__()
        steps = zip((channels[-1], *widths[:-1]), channels[-2::-1], widths, strict=True)
        self.layers = nn.ModuleList(Layer(i, skip, o, enlarged=o) for i, skip, o in steps)
        self.last_shuf = LastShuffle(widths[-1])
        self.color_decoder = ColorDecoder(widths, widths[-1], queries, rounds, heads, hidden)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The finest features, (N, C, H/4, W/4), and the queries, (N, Q, C), from the encoder's maps, finest first."""
        *skips, x = maps
        found = []
        for layer, skip in zip(self.layers, reversed(skips), strict=True):
            x = layer(x, skip)
            found.append(x)
        return x, self.color_decoder(found)

    def mixed(self, x: Tensor, matrix: Tensor) -> Tensor:
        """The features at full size, mixed by ``matrix`` (N, M, C): (N, M, H, W) of the finest features.

        Mixing channels commutes with pixel shuffle and blur, so it comes first; and as each of the 16 pixels that a
        position becomes has features of its own, they are made for one of them at a time, and the C channels at full
        size never exist.
        """
        conv = cast(SpectralConv2d, self.last_shuf.conv[0])
        count, channels, height, width = x.shape
        rows = x.permute(0, 2, 3, 1).flatten(1, 2)  # (N, h * w, C)
        sigma = conv.sigma()
        weight = conv.weight_orig.flatten(1).view(channels, _SHUFFLE**2, channels)
        bias = (cast(Tensor, conv.bias) * sigma).view(channels, _SHUFFLE**2)
        matrix = (matrix.float() / sigma).transpose(1, 2)
        planes = []
        for own, offset in zip(weight.unbind(1), bias.unbind(1), strict=True):
            features = F.linear(rows, own, offset).relu_()  # sigma is positive: divided by after the ReLU
            with torch.autocast(x.device.type, enabled=False):  # colours are to have more than 8 bits
                planes.append(features.float() @ matrix)
        stacked = torch.stack(planes, 3)  # (N, h * w, M, 16)
        stacked = stacked.permute(0, 2, 3, 1).reshape(count, -1, height, width)
        return blur(F.pixel_shuffle(stacked, _SHUFFLE))
