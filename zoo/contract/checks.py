"""The checks themselves, each a function of a `MakeModel`: it returns, or says in a `ContractError` what is wrong."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from zoo import color, hub, registry
from zoo.colorizer import Batch, Colorizer
from zoo.contract.subjects import WORKING_SIZE, Array, as_dtype, fitted, lightness, picture, training_batch
from zoo.digests import verify_sha256
from zoo.errors import ImageError, OptionError, ZooError
from zoo.spec import config_from_mapping

SIZES = ((37, 53), (1, 64), (64, 64))
AB_LIMIT = 128.0  # the ab plane of 8-bit Lab
L_TOLERANCE = {"uint8": 0.3, "uint16": 0.5, "float32": 0.5}  # rounding to 8 bits moves L by up to 0.26
HINT_TOLERANCE = 1.0  # Lab units; rounding to 8 bits is most of it
OVERFIT_STEPS, OVERFIT_SHARE = 40, 0.5

MakeModel = Callable[[], Colorizer[Any]]  # a new model, always the same one
Check = Callable[[MakeModel], None]


class ContractError(ZooError):
    """A model that does not do what every model must."""


# What the network answers


def check_predict_ab(make: MakeModel) -> None:
    """ab is (N, 2, h, w), finite and in the ab plane, for pictures of several shapes and batches of 1 and 3."""
    model = make()
    for size in SIZES:
        for count in (1, 3):
            L = torch.cat([fitted(model, picture(*size, seed=n)) for n in range(count)])
            ab = _predict(model, L)
            where = f"predict_ab of L {tuple(L.shape)}"
            scale = {side / own for side, own in zip(L.shape[2:], ab.shape[2:], strict=False)}
            fits = ab.ndim == 4 and ab.shape[:2] == (count, 2) and len(scale) == 1
            whole = fits and all(factor >= 1 and factor == int(factor) for factor in scale)
            _require(whole, model, where, tuple(ab.shape), f"({count}, 2, h, w), smaller by a whole factor")
            _require(ab.is_floating_point(), model, f"{where}: dtype", ab.dtype, "floating point")
            _require(bool(ab.isfinite().all()), model, where, "values that are not finite", "finite ab")
            _require(float(ab.abs().max()) <= AB_LIMIT, model, where, float(ab.abs().max()), f"|ab| <= {AB_LIMIT}")


def check_batch_of_two(make: MakeModel) -> None:
    """Two pictures in one batch get the colours that each gets alone."""
    model = make()
    pair = torch.cat([fitted(model, picture(64, 64, seed)) for seed in (1, 2)])
    together = _predict(model, pair)
    alone = torch.cat([_predict(model, L[None]) for L in pair])
    difference = float((together - alone).abs().max())
    _require(difference <= 0.01, model, "a batch of two differs from two singles", difference, "<= 0.01 Lab units")


def check_options(make: MakeModel) -> None:
    """What ``spec.supports`` names makes a difference, and is the same each time; every style works."""
    model = make()
    L = fitted(model, picture(64, 64))
    plain = _predict(model, L)
    _require(_same(plain, _predict(model, L)), model, "predict_ab differs when it is repeated")
    choices: dict[str, tuple[Any, ...]] = {"style": model.spec.styles, "temperature": (0.1, 1.0), "seed": (1, 2)}
    for option in sorted(model.spec.supports & set(choices)):
        answers = [_predict(model, L, **{option: value}) for value in choices[option]]
        again = _predict(model, L, **{option: choices[option][0]})
        _require(_same(answers[0], again), model, f"the same {option} gives two answers", expected="one answer")
        differ = not any(_same(answers[0], other) for other in answers[1:])
        _require(differ, model, f"option {option!r} changes nothing", choices[option], "different answers")


def check_other_options(make: MakeModel) -> None:
    """An option that the model does not support is an error that names the models which do; so are bad values."""
    model = make()
    array = picture(16, 16)
    for option, value in {"style": "vivid", "temperature": 0.5, "seed": 1}.items():
        if option in model.spec.supports:
            continue
        error = _option_error(model, array, option, value)
        able = [n for n in registry.list_models() if option in registry.find(n)[0].supports]
        named = not able or any(name in str(error) for name in able)
        _require(named, model, f"the error on option {option!r} names no model that has it", error, ", ".join(able))
    bad = {"saturation": -1.0, "working_size": 1, "views": 3}
    supported = {"style": "no such style", "temperature": -1.0}
    for option, value in (bad | {o: v for o, v in supported.items() if o in model.spec.supports}).items():
        _option_error(model, array, option, value)


def check_color_is_ignored(make: MakeModel) -> None:
    """A coloured picture gives the same result as its grey version."""
    model = make()
    colored = picture(37, 53)
    L = color.rgb_to_lab(torch.from_numpy(colored).double().permute(2, 0, 1))[:1]
    grey = color.grey_from_lightness(L)[0].float().numpy()
    difference = np.abs(_colorize(model, colored) - _colorize(model, grey)).max()
    _require(difference <= 0.02, model, "the input's own colours show in the result", difference, "<= 0.02")


# What becomes of the picture


def check_output(make: MakeModel) -> None:
    """Size, dtype and alpha of the result are the input's; a PIL picture becomes RGB, or RGBA where it had alpha."""
    model = make()
    eight_bit = (picture(37, 53) * 255).astype(np.uint8)
    alpha = np.arange(37 * 53, dtype=np.uint8).reshape(37, 53)
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        image = Image.fromarray(eight_bit)
        if mode == "I;16":
            image = Image.fromarray(eight_bit[..., 0].astype(np.uint16) * 257)
        if mode in ("LA", "RGBA"):
            image.putalpha(Image.fromarray(alpha))
        image = image if mode == "I;16" else image.convert(mode)
        result = model.colorize(image, working_size=WORKING_SIZE)
        own, right = (result.mode, result.size), ("RGBA" if mode in ("LA", "RGBA") else "RGB", image.size)
        _require(own == right, model, f"colorize of a PIL picture of mode {mode}", own, right)
        if mode in ("LA", "RGBA"):
            kept = np.array_equal(np.asarray(result.getchannel("A")), alpha)
            _require(kept, model, f"colorize of a PIL picture of mode {mode} changes alpha")
    for size in (*SIZES, (1, 1)):
        for dtype in ("uint8", "uint16", "float32") if size == SIZES[0] else ("uint8",):
            rgb = as_dtype(picture(*size), dtype)
            for array in (rgb[..., 0], rgb[..., :1], rgb, np.concatenate([rgb, rgb[..., :1]], 2)):
                out = _colorize(model, array)
                shape: tuple[int, ...] = (*size, 4 if array.shape[2:] == (4,) else 3)
                where = f"colorize_array of {array.dtype} {array.shape}"
                _require(out.shape == shape, model, where, out.shape, shape)
                _require(out.dtype == array.dtype, model, where, out.dtype, array.dtype)
                kept = shape[2] == 3 or np.array_equal(out[..., 3], array[..., 3])
                _require(kept, model, f"{where} changes alpha")
    batch = torch.from_numpy(np.stack([picture(20, 30, seed) for seed in (1, 2)])).permute(0, 3, 1, 2)
    found = model.colorize_batch(batch, working_size=WORKING_SIZE).shape
    _require(found == batch.shape, model, f"colorize_batch of {tuple(batch.shape)}", tuple(found))


def check_lightness(make: MakeModel) -> None:
    """L of the result is that of the input to 0.5, or to 8-bit rounding, even at ten times the chroma."""
    model = make()
    rgb = picture(37, 53)
    for dtype, tolerance in L_TOLERANCE.items():
        array = as_dtype(rgb, dtype)
        for saturation in (1.0, 10.0):
            result = _colorize(model, array, saturation=saturation)
            difference = np.abs(lightness(result) - lightness(array)).max()
            what = f"L of a {dtype} picture moves (saturation {saturation:g})"
            _require(difference <= tolerance, model, what, difference, f"<= {tolerance}")


def check_no_saturation_is_grey(make: MakeModel) -> None:
    """Without saturation, a grey 8-bit picture comes back exactly as it was."""
    model = make()
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    result = _colorize(model, grey, saturation=0.0)
    same = bool((result == grey[..., None]).all())
    _require(same, model, "saturation=0 changes a grey picture", expected="the same picture")


def check_same_every_time(make: MakeModel) -> None:
    """The same picture and options give the same result, and torch's own random numbers are left alone."""
    model = make()
    array = picture(37, 53)
    options = {"seed": 7} if "seed" in model.spec.supports else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        state = torch.get_rng_state()
        first = _colorize(model, array, **options)
        untouched = torch.equal(state, torch.get_rng_state())
        torch.manual_seed(2)
        second = _colorize(model, array, **options)
    _require(np.array_equal(first, second), model, f"two results with {options or 'the same options'}")
    _require(untouched, model, "colouring uses up torch's random numbers", expected="a torch.Generator of its own")


def check_input_is_not_changed(make: MakeModel) -> None:
    """Arrays, PIL pictures and tensors that are handed over are as they were."""
    model = make()
    array = picture(37, 53)
    image = Image.fromarray(as_dtype(array, "uint8"))
    rgb = torch.from_numpy(array.copy()).permute(2, 0, 1)[None]
    L = fitted(model, array)
    batch = training_batch(model)
    given = {"an array": array, "a PIL picture": image, "a tensor": rgb, "predict_ab's L": L}
    given |= {"the batch's L": batch.L, "the batch's ab": batch.ab}
    before = {name: np.asarray(value).copy() for name, value in given.items()}
    _colorize(model, array)
    model.colorize(image, working_size=WORKING_SIZE)
    model.colorize_batch(rgb, working_size=WORKING_SIZE)
    _predict(model, L)
    for role in model.roles:
        model.loss(batch, role)
    changed = [name for name, value in given.items() if not np.array_equal(before[name], np.asarray(value))]
    _require(not changed, model, "changed in place", ", ".join(changed), "nothing")


def check_model_is_not_changed(make: MakeModel) -> None:
    """Colouring leaves every part of the model in the mode it was in, also after an error, and its state untouched."""
    model = make().train()
    for module in list(model.children())[:1]:
        module.eval()  # as a trainer does with a frozen backbone
    modes = {name: module.training for name, module in model.named_modules()}
    state = {key: value.clone() for key, value in model.state_dict().items()}
    result = _colorize(model, picture(37, 53))
    try:
        model.colorize_array(np.zeros((2, 2, 2, 2), np.uint8))
    except ImageError:
        pass
    else:
        _require(False, model, "an array of four dimensions is coloured", expected="an ImageError")
    changed = [name or "the model" for name, module in model.named_modules() if module.training != modes[name]]
    _require(not changed, model, "colouring changes the training mode", ", ".join(changed), "as before")
    changed = [key for key, value in model.state_dict().items() if not torch.equal(value, state[key])]
    _require(not changed, model, "colouring changes the model's state", ", ".join(changed), "as before")
    same = np.array_equal(result, _colorize(model.eval(), picture(37, 53)))
    _require(same, model, "colouring in training mode gives another result than in evaluation mode")


def check_hints(make: MakeModel) -> None:
    """Where a colour is told it is there, as far as sRGB has it at the picture's own L."""
    model = make()
    rgb = as_dtype(picture(37, 53), "uint8")
    told = torch.tensor([192, 48, 32]).view(3, 1, 1) / 255
    result = _colorize(model, rgb, hints=[(20, 15, "#c03020")], hint_radius=2)
    around = (slice(14, 17), slice(19, 22))
    before, after = lightness(rgb[around]), lightness(result[around])
    lab = color.rgb_to_lab(torch.from_numpy(result[around]).permute(2, 0, 1) / 255)
    own_L = torch.from_numpy(before).float()[None]
    expected = color.map_to_gamut(own_L, color.rgb_to_lab(told)[1:].expand(2, 3, 3))
    difference = float((lab[1:] - expected).abs().max())
    _require(difference <= HINT_TOLERANCE, model, "ab within a hint", difference, f"off by <= {HINT_TOLERANCE}")
    moved = float(np.abs(after - before).max())
    _require(moved <= L_TOLERANCE["uint8"], model, "L within a hint moves", moved, f"<= {L_TOLERANCE['uint8']}")


# What training asks for


def check_gradients(make: MakeModel) -> None:
    """The loss is a finite number, and every parameter of every role gets a finite gradient from it."""
    model = make().train()
    for role in model.roles:
        total = model.loss(training_batch(model), role).total
        _require(total.ndim == 0 and bool(total.isfinite()), model, f"loss of role {role!r}", total, "a finite number")
        own = {id(p) for p in model.parameters_of(role)}
        if not own:
            continue
        model.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        named = [(n, p.grad) for n, p in model.named_parameters() if id(p) in own and p.requires_grad]
        dead = [name for name, grad in named if grad is None]
        _require(not dead, model, f"parameters without a gradient from role {role!r}", ", ".join(dead), "none")
        wild = [name for name, grad in named if grad is not None and not grad.isfinite().all()]
        _require(not wild, model, f"gradients that are not finite, role {role!r}", ", ".join(wild), "none")
    trained = {id(p) for role in model.roles for p in model.parameters_of(role)}
    orphans = [n for n, p in model.named_parameters() if id(p) not in trained and p.requires_grad]
    _require(not orphans, model, "parameters that no role trains", ", ".join(orphans), "none")


def check_overfits(make: MakeModel) -> None:
    """One batch of four tiny pictures is learned: the loss falls well below its start."""
    model = make().train()
    batch = training_batch(model)
    players = {role: list(model.parameters_of(role)) for role in model.roles}
    if not any(players.values()):
        return
    optimizers = {role: torch.optim.Adam(own, lr=0.03) for role, own in players.items() if own}
    losses: list[float] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for _ in range(OVERFIT_STEPS):
            for role, optimizer in optimizers.items():
                total = model.loss(batch, role).total
                if role == model.roles[0]:
                    losses.append(float(total.detach()))
                optimizer.zero_grad()
                total.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
    share = min(losses) / losses[0]
    what = f"the loss on one batch does not fall in {OVERFIT_STEPS} steps"
    _require(share <= OVERFIT_SHARE, model, what, f"{share:.2f} of its start", f"<= {OVERFIT_SHARE}")


def check_features(make: MakeModel) -> None:
    """What `encode` gives replaces the backbone's own run: the same loss with it as without."""
    model = make()
    batch = training_batch(model)
    with torch.inference_mode():
        features = model.encode(batch.L)
        if not features:
            _require(model.backbone is None, model, "encode gives nothing", expected="the backbone's features")
            return
        role = model.roles[0]
        own, given = (float(model.loss(Batch(batch.L, batch.ab, f), role).total) for f in (None, features))
    _require(abs(own - given) <= 1e-4 * abs(own), model, "loss with the features of encode", given, own)


# What is known and kept of it


def check_save(make: MakeModel) -> None:
    """A saved model is, read back, the same to the last bit."""
    model = make()
    with tempfile.TemporaryDirectory() as folder:
        model.save(folder)
        config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
        state = load_file(Path(folder) / "model.safetensors")
    _require(config["model"] == model.spec.name, model, "saved under another name", config["model"])
    again = _new(model, config_from_mapping(type(model.config), config["config"], "saved config"))
    _require(again.config == model.config, model, "another config is read back", again.config, model.config)
    again.load_state_dict(state, strict=True)
    old, new = model.state_dict(), again.state_dict()
    changed = [key for key in old if not torch.equal(old[key], new[key])]
    _require(not changed, model, "tensors change when saved", ", ".join(changed))
    L = fitted(model, picture(64, 64))
    same = _same(_predict(model, L), _predict(again.eval(), L))
    _require(same, model, "answers differently when saved and read back", expected="all that matters in its state")


def check_spec(make: MakeModel) -> None:
    """The spec is complete; packaged weights are there, of the size and sha256 stated, licence and data named."""
    spec = make().spec
    registry.check(spec)
    for weights in spec.weights:
        if weights.packaged is not None:
            path = hub.packaged_path(weights)
            verify_sha256(path, str(weights.sha256))
            size = path.stat().st_size
            if weights.size_bytes != size:
                raise ContractError(f"weights {spec.name}.{weights.tag}: size", found=weights.size_bytes, expected=size)


def _require(condition: bool, model: Colorizer[Any], what: str, found: object = None, expected: object = None) -> None:
    if not condition:
        raise ContractError(f"model {model.spec.name!r}: {what}", found=found, expected=expected)


def _predict(model: Colorizer[Any], L: Tensor, **options: Any) -> Tensor:
    with torch.inference_mode():
        return model.predict_ab(L, **options)


def _colorize(model: Colorizer[Any], array: Array, **options: Any) -> Array:
    return model.colorize_array(array, working_size=WORKING_SIZE, **options)


def _option_error(model: Colorizer[Any], array: Array, option: str, value: Any) -> OptionError:
    try:
        model.colorize_array(array, **{option: value})
    except OptionError as error:
        return error
    raise ContractError(
        f"model {model.spec.name!r}: {option}={value!r} is taken without a word", expected="an OptionError"
    )


def _new(model: Colorizer[Any], config: Any) -> Colorizer[Any]:
    """Another network of the same shape, with weights of its own."""
    return type(model).build(model.spec, config, [_new(part, part.config) for part in model.parts])


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool(torch.equal(one, other))
