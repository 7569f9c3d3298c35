"""DDColor's forward pass as it is published, step by step, from nothing but the tensors and their published names.

What `zoo.models.ddcolor` does otherwise (normalisation folded, the last two products in another order, the features at
full size never made) is compared with this. The ConvNeXt is timm's.
"""

import math
import re
from collections.abc import Sequence

import timm
import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.models.ddcolor import DDColorConfig

State = dict[str, Tensor]


def normalized(state: State, rgb: Tensor) -> Tensor:
    """What encoder and last convolution see of pictures (N, 3, H, W) in [0, 1]."""
    return (rgb - state["mean"]) / state["std"]


def encode(state: State, config: DDColorConfig, x: Tensor) -> list[Tensor]:
    """The four feature maps of pictures, `normalized`, finest first: timm's ConvNeXt on the encoder's tensors."""
    net = timm.create_model(
        "convnext_tiny", pretrained=False, features_only=True, depths=config.encoder_depths, dims=config.encoder_widths
    )
    own = {}
    for key in net.state_dict():
        theirs = re.sub(r"^stem_(\d)\.", r"downsample_layers.0.\1.", key)
        theirs = re.sub(r"^stages_(\d)\.downsample\.", r"downsample_layers.\1.", theirs)
        theirs = re.sub(r"^stages_(\d)\.blocks\.", r"stages.\1.", theirs)
        theirs = theirs.replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv")
        own[key] = state[f"encoder.arch.{theirs}"]
    net.load_state_dict(own)
    return [
        _layer_norm(m.permute(0, 2, 3, 1), state, f"encoder.arch.norm{n}", 1e-6).permute(0, 3, 1, 2)
        for n, m in enumerate(net.eval()(x))
    ]


def decode(state: State, config: DDColorConfig, x: Tensor, maps: Sequence[Tensor]) -> Tensor:
    """ab (N, 2, H, W) of pictures, `normalized`, and the encoder's maps of them."""
    found = [maps[3]]
    for n, skip in enumerate(maps[2::-1]):
        found.append(_layer(state, f"decoder.layers.{n}", found[-1], skip))
    pixels = _spectral(state, "decoder.last_shuf.conv.0", found[-1])
    pixels = _blur(F.pixel_shuffle(pixels.relu(), 4))  # (N, C, H, W)
    queries = _queries(state, "decoder.color_decoder", config, found[1:])  # (N, Q, C)
    planes = torch.einsum("bqc,bchw->bqhw", queries, pixels)
    return _spectral(state, "refine_net.0.0", torch.cat([planes, x], 1))


def _layer(state: State, name: str, x: Tensor, skip: Tensor) -> Tensor:
    x = _batch_norm(state, f"{name}.shuf.conv.1", _spectral(state, f"{name}.shuf.conv.0", x))
    x = _blur(F.pixel_shuffle(x.relu(), 2))
    x = torch.cat([x, _batch_norm(state, f"{name}.bn", skip)], 1).relu()
    return _batch_norm(state, f"{name}.conv.2", _spectral(state, f"{name}.conv.0", x).relu())


def _queries(state: State, name: str, config: DDColorConfig, maps: list[Tensor]) -> Tensor:
    keys, where = [], []
    for n, x in enumerate(maps):
        projected = F.conv2d(x, state[f"{name}.input_proj.{n}.weight"], state[f"{name}.input_proj.{n}.bias"])
        keys.append(projected.flatten(2).transpose(1, 2) + state[f"{name}.level_embed.weight"][n])
        where.append(_positions(*x.shape[2:], projected.shape[1]))
    own = state[f"{name}.query_embed.weight"]
    queries = state[f"{name}.query_feat.weight"].repeat(len(maps[0]), 1, 1)
    for n in range(config.rounds):
        pixels, places = keys[n % 3], where[n % 3]
        layer = f"{name}.transformer_cross_attention_layers.{n}"
        seen = _attention(state, f"{layer}.multihead_attn", config.heads, queries + own, pixels + places, pixels)
        queries = _layer_norm(queries + seen, state, f"{layer}.norm")
        layer = f"{name}.transformer_self_attention_layers.{n}"
        seen = _attention(state, f"{layer}.self_attn", config.heads, queries + own, queries + own, queries)
        queries = _layer_norm(queries + seen, state, f"{layer}.norm")
        layer = f"{name}.transformer_ffn_layers.{n}"
        hidden = _linear(state, f"{layer}.linear1", queries).relu()
        queries = _layer_norm(queries + _linear(state, f"{layer}.linear2", hidden), state, f"{layer}.norm")
    x = _layer_norm(queries, state, f"{name}.decoder_norm")
    for n in range(2):
        x = _linear(state, f"{name}.color_embed.layers.{n}", x).relu()
    return _linear(state, f"{name}.color_embed.layers.2", x)


def _attention(state: State, name: str, heads: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    weights, biases = state[f"{name}.in_proj_weight"].chunk(3), state[f"{name}.in_proj_bias"].chunk(3)
    q, k, v = (
        F.linear(x, w, b).unflatten(2, (heads, -1)).transpose(1, 2)
        for x, w, b in zip((query, key, value), weights, biases, strict=True)
    )
    shares = (q @ k.transpose(2, 3) / math.sqrt(q.shape[3])).softmax(3)
    return _linear(state, f"{name}.out_proj", (shares @ v).transpose(1, 2).flatten(2))


def _positions(height: int, width: int, channels: int) -> Tensor:
    """Typed out pixel by pixel: (height * width, channels)."""
    half = channels // 2
    table = torch.empty(height, width, channels, dtype=torch.float64)
    for row in range(height):
        table[row, :, :half] = _encoded((row + 1) / (height + 1e-6), half)
    for column in range(width):
        table[:, column, half:] = _encoded((column + 1) / (width + 1e-6), half)
    return table.flatten(0, 1).float()


def _encoded(place: float, count: int) -> Tensor:
    values = []
    for i in range(count):
        angle = 2 * math.pi * place / 10000 ** (2 * (i // 2) / count)
        values.append(math.cos(angle) if i % 2 else math.sin(angle))
    return torch.tensor(values, dtype=torch.float64)


def _spectral(state: State, name: str, x: Tensor) -> Tensor:
    weight = state[f"{name}.weight_orig"]
    sigma = state[f"{name}.weight_u"] @ (weight.flatten(1) @ state[f"{name}.weight_v"])
    return F.conv2d(x, weight / sigma, state.get(f"{name}.bias"), padding=weight.shape[-1] // 2)


def _batch_norm(state: State, name: str, x: Tensor) -> Tensor:
    mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    return F.batch_norm(x, mean, variance, state[f"{name}.weight"], state[f"{name}.bias"])


def _layer_norm(x: Tensor, state: State, name: str, eps: float = 1e-5) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], eps)


def _linear(state: State, name: str, x: Tensor) -> Tensor:
    return F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])


def _blur(x: Tensor) -> Tensor:
    x = F.pad(x, (1, 0, 1, 0), mode="replicate")
    return (x[:, :, 1:, 1:] + x[:, :, :-1, 1:] + x[:, :, 1:, :-1] + x[:, :, :-1, :-1]) / 4
