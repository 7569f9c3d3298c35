"""A copy of a model's network in the form that computes fastest, and gives a flat tuple of tensors."""

import copy
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from zoo.colorizer import Colorizer
from zoo.errors import OptionError
from zoo.models._backbones import Decoder

OUTPUT = "output"


class Network(nn.Module):
    """What `Colorizer.forward` gives, its tuples flattened: L (N, 1, H, W) in [0, 100] -> tensors.

    The copy shares nothing with the model, and is for inference.
    """

    def __init__(self, model: Colorizer[Any]) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).cpu().float().eval().requires_grad_(False)
        self.model.detach_backend()
        for module in list(self.model.modules()):
            _pad_beforehand(module, self.model.spec.multiple_of)
            if isinstance(module, Decoder):
                _fold_decoder(module)
            for name, child in list(module.named_children()):
                if isinstance(child, nn.MultiheadAttention):
                    setattr(module, name, _Attention(child))

    def forward(self, L: Tensor) -> tuple[Tensor, ...]:
        """The tensors, in order."""
        return tuple(named(self.model(L)).values())


class _Attention(nn.Module):
    """`nn.MultiheadAttention` of tensors (N, length, width) without masks; torch's own takes the batch for a constant.

    Source: Vaswani et al., "Attention is all you need", 2017, equation 1.
    """

    def __init__(self, other: nn.MultiheadAttention) -> None:
        super().__init__()
        if not other.batch_first or other.in_proj_weight is None or other.bias_k is not None or other.add_zero_attn:
            raise ValueError("an attention of another kind than (N, length, width) to the same width")
        self.heads, self.into, self.bias, self.out = (
            other.num_heads,
            other.in_proj_weight,
            other.in_proj_bias,
            other.out_proj,
        )

    def forward(self, query: Tensor, key: Tensor, value: Tensor, need_weights: bool = False) -> tuple[Tensor, None]:
        """(N, length of ``query``, width), and None for the weights."""
        biases = (None,) * 3 if self.bias is None else self.bias.chunk(3)
        q, k, v = (
            F.linear(x, matrix, bias).view(*x.shape[:2], self.heads, -1).transpose(1, 2)  # (N, heads, length, d)
            for x, matrix, bias in zip((query, key, value), self.into.chunk(3), biases, strict=True)
        )
        shares = (q @ k.transpose(2, 3) * q.shape[3] ** -0.5).softmax(3)
        return self.out((shares @ v).transpose(1, 2).flatten(2)), None


def named(output: Any, name: str = OUTPUT) -> dict[str, Tensor]:
    """The tensors in a tensor or nested tuples of them, in order; ``output_1_0`` is the first of the second tuple.

    Raises:
        OptionError: Something else is among them.
    """
    if isinstance(output, Tensor):
        return {name: output}
    if not isinstance(output, tuple | list):
        where = "" if name == OUTPUT else f" as {name}"
        raise OptionError(
            f"forward() gives a {type(output).__name__}{where}", expected="a tensor, or tuples of tensors"
        )
    return {k: v for n, inner in enumerate(output) for k, v in named(inner, f"{name}_{n}").items()}


def nested(tensors: dict[str, Tensor]) -> Any:
    """What `named` took apart."""
    if set(tensors) == {OUTPUT}:
        return tensors[OUTPUT]
    groups: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        number, _, rest = name.removeprefix(f"{OUTPUT}_").partition("_")
        groups.setdefault(int(number), {})[f"{OUTPUT}_{rest}" if rest else OUTPUT] = tensor
    return tuple(nested(groups[n]) for n in sorted(groups))


def _pad_beforehand(parent: nn.Module, multiple_of: int) -> None:
    """Let convolutions that pad as TensorFlow does pad by a constant: what it is of the even sizes they see.

    By the shape of its input, each would bring a dozen small operations, which no runtime joins with the convolution.
    """
    from timm.layers.conv2d_same import Conv2dSame

    for name, child in list(parent.named_children()):
        if not isinstance(child, Conv2dSame) or child.stride != (2, 2) or child.dilation != (1, 1) or multiple_of % 2:
            continue
        before, after = ((k - 2) // 2 for k in child.kernel_size), ((k - 1) // 2 for k in child.kernel_size)
        (top, left), (bottom, right) = before, after
        plain = nn.Conv2d(
            child.in_channels,
            child.out_channels,
            child.kernel_size,  # type: ignore[arg-type]
            2,
            groups=child.groups,
            bias=child.bias is not None,
        )
        plain.load_state_dict(child.state_dict())
        setattr(parent, name, nn.Sequential(nn.ZeroPad2d((left, right, top, bottom)), plain.eval()))


def _fold_decoder(decoder: Decoder) -> None:
    """Fold the normalisation of each sum into the two convolutions that are summed: what lies between is linear."""
    for step, block in enumerate(decoder.blocks):
        norm: Any = block[0]  # type: ignore[index]
        narrow, lateral = decoder.narrow[step], decoder.lateral[step]
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        shift = norm.bias - norm.running_mean * scale
        for conv in (narrow, lateral):
            conv.weight = nn.Parameter(conv.weight * scale[:, None, None, None], requires_grad=False)
        lateral.bias = nn.Parameter(shift, requires_grad=False)
        block[0] = nn.Identity()  # type: ignore[operator]
