"""The optimisation loop, on Hugging Face Accelerate; knows a model by roles, parameters, losses and predictions."""

import hashlib
import json
import math
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from threading import Event
from typing import Any, cast

import numpy as np
import torch
from accelerate import Accelerator
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from training import augment, data, validation
from training.config import RunConfig
from training.teachers import Teachers
from zoo.colorizer import Batch, Colorizer, has_fast_bf16
from zoo.errors import ConfigError, ZooError
from zoo.models._backbones import keep_depthwise_in_float32

CHECKPOINT = "checkpoint.pt"
WEIGHTS = "weights.safetensors"
_STATISTICS_BATCHES = 32


class _Turn(nn.Module):
    """One forward pass to the loss, so that distributed wrappers see a plain ``forward``."""

    def __init__(self, model: Colorizer[Any]) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, role: str) -> tuple[Tensor, dict[str, Tensor]]:
        loss = self.model.loss(batch, role)
        return loss.total, loss.parts


class Trainer:
    """One run: owns the run's folder, in which it leaves checkpoint, weights, log, curves and picture grids.

    Args:
        config: What to do.
        model: The network to train, its starting weights loaded.
        run: The run's folder.
        config_file: Name of the file that describes the run, for the record.
        init: What the starting weights come from and their sha256, for the record.
        resume: Continue from the checkpoint in ``run``.

    Raises:
        ConfigError: The folder holds a run and ``resume`` is off, or holds none and it is on.
    """

    def __init__(
        self,
        config: RunConfig,
        model: Colorizer[Any],
        run: Path,
        *,
        config_file: str | None = None,
        init: dict[str, str | None] | None = None,
        resume: bool = False,
    ) -> None:
        has_run = (run / CHECKPOINT).exists()
        if has_run != resume:
            raise ConfigError(
                f"{run} holds {'a' if has_run else 'no'} run",
                remedy="add --resume to continue it, or choose another --out" if has_run else "leave --resume away",
            )
        torch.backends.cudnn.benchmark = True  # every batch has the same shape
        bf16 = config.train.precision == "bf16" or (
            config.train.precision == "auto"
            and (torch.cuda.is_bf16_supported(False) if torch.cuda.is_available() else has_fast_bf16())
        )
        # Without a device, Accelerate forms a group of CPUs only when it is told to use them.
        has_device = torch.cuda.is_available() or torch.backends.mps.is_available()
        self.accelerator = Accelerator(mixed_precision="bf16" if bf16 else "no", cpu=not has_device)
        expected = int(os.environ.get("WORLD_SIZE", "1"))
        if self.accelerator.num_processes != expected:
            raise ConfigError(
                "the processes do not see each other",
                found=f"{self.accelerator.num_processes} in the group",
                expected=f"{expected} (WORLD_SIZE)",
                remedy="start all of them with one torchrun",
            )
        if config.train.batch_size % expected:
            raise ConfigError(
                "train.batch_size does not split", found=config.train.batch_size, expected=f"a multiple of {expected}"
            )
        self.config, self.run, self.bf16, self.config_file, self.init = config, run, bf16, config_file, init
        self.main = self.accelerator.is_main_process
        cache = run.parent / "cache"
        try:
            run.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"{run} cannot be the run's folder", found=error, remedy="choose another --out"
            ) from error
        with self.accelerator.main_process_first():
            self.photos = data.find_photos(config.data, self.main)
            self.crops = data.Crops(self.photos.train, config.data, config.seed, cache, self.main)
        valid = _spread(self.photos.valid, config.log.valid_photos)
        self.valid = data.centre_crops(valid, config.log.valid_size)
        self.photos.left_out["broken since listed"] = len(valid) - len(self.valid)
        # Also before a resumed run's state is loaded: a family may keep the statistics out of its state.
        if type(model).fit_statistics is not Colorizer.fit_statistics:
            model.fit_statistics(self.crops.sample_colors(300, config.seed))
        self.model = model.to(self.accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if config.train.cache_features:
            with self.accelerator.main_process_first():
                self._keep_features(cache)
        self._prepare(resume)

    def _prepare(self, resume: bool) -> None:
        train, model = self.config.train, self.model
        backbone = model.backbone
        slow = {id(p) for p in backbone.parameters()} if backbone is not None else set()
        if train.freeze_backbone and backbone is not None:
            backbone.requires_grad_(False)
        optimizers = []
        for role in model.roles:
            groups: dict[tuple[float, float], list[nn.Parameter]] = {}
            for p in model.parameters_of(role):
                if p.requires_grad:
                    rate = train.lr * (train.backbone_lr_factor if id(p) in slow else 1.0)
                    groups.setdefault((rate, train.weight_decay if p.ndim > 1 else 0.0), []).append(p)
            if not groups:
                raise ConfigError(f"model {self.config.model!r} has nothing to train")
            optimizers.append(
                torch.optim.AdamW(
                    [{"params": p, "lr": r, "peak": r, "weight_decay": d} for (r, d), p in groups.items()],
                    betas=train.betas,
                )
            )
        self.teachers = Teachers(train.teachers, model, self.accelerator.device)
        self.ema = AveragedModel(model, multi_avg_fn=self._average)
        if self.bf16 and self.accelerator.device.type == "cpu":
            keep_depthwise_in_float32(model)  # after the copy above, which is to keep its own forward
        self.step = 0
        checkpoint: dict[str, Any] | None = None
        if resume:
            checkpoint = torch.load(self.run / CHECKPOINT, map_location="cpu", weights_only=True)
            if checkpoint["photos"] != self.photos.digest or checkpoint["config"] != self._fingerprint():
                raise ConfigError(
                    f"{self.run} is a run of another configuration or other photos", remedy="start a new --out"
                )
            self.step = checkpoint["step"]
            if self.step >= train.steps:
                raise ConfigError(f"{self.run} is complete", found=f"{self.step} steps", remedy="start a new --out")
            model.load_state_dict(checkpoint["model"])
            self.ema.load_state_dict(checkpoint["ema"])
            for optimizer, state in zip(optimizers, checkpoint["optimizers"], strict=True):
                optimizer.load_state_dict(state)
        prepared = self.accelerator.prepare(_Turn(model), *optimizers)
        self.turn, self.optimizers = prepared[0], list(prepared[1:])

    def _average(self, averaged: Any, current: Any, count: Any) -> None:
        decay = min(self.config.train.ema, (1 + int(count)) / (10 + int(count)))  # a young average forgets its start
        torch._foreach_lerp_(averaged, current, 1 - decay)

    def _keep_features(self, cache: Path) -> None:
        model = self.model.eval()
        if model.backbone is None:
            raise ConfigError(f"train.cache_features: model {self.config.model!r} has no backbone")
        digest = hashlib.sha256()
        for name, value in model.backbone.state_dict().items():
            digest.update(name.encode() + value.cpu().numpy().tobytes())

        def encode(L: Tensor) -> tuple[Tensor, ...]:
            with torch.inference_mode(), self.accelerator.autocast():
                maps: tuple[Tensor, ...] = model.encode(
                    L.to(self.accelerator.device, memory_format=torch.channels_last)
                )
                return maps

        precision = "bf16" if self.bf16 else "fp32"
        data.keep_features(self.crops, encode, digest.hexdigest()[:16], cache, precision, self.main)

    def fit(self) -> dict[str, float]:
        """Train to the last step and return the last evaluation's figures.

        The first Ctrl-C ends it after the step under way, with a checkpoint; a second one at once, without.
        """
        config = self.config
        if self.main and self.step == 0:
            self._write_provenance()
        writer = SummaryWriter(self.run / "tensorboard", purge_step=self.step) if self.main else None
        figures: dict[str, float] = {}
        self._training_mode()
        meter = _Meter()
        bar = tqdm(total=config.train.steps, initial=self.step, disable=not self.main, unit="step", smoothing=0.05)
        interrupted = Event()
        previous = signal.getsignal(signal.SIGINT)
        in_main_thread = threading.current_thread() is threading.main_thread()  # no other may set handlers

        def stop(*_: Any) -> None:
            signal.signal(signal.SIGINT, previous)  # a second Ctrl-C ends at once
            interrupted.set()

        try:
            if in_main_thread:  # only between steps is the state one that a run can resume from
                signal.signal(signal.SIGINT, stop)
            for batch in self._batches():
                meter.data_ready()
                total, parts = self._learn(batch)
                self.step += 1
                bar.update()
                meter.step_done(config.train.batch_size, total)
                last = self.step == config.train.steps
                if self.step % config.log.every == 0 or last:
                    entry = {
                        "step": self.step,
                        "loss": meter.mean_loss(),
                        "images_per_second": meter.rate(),
                        "waiting_for_data": meter.waiting(),
                        "lr": self.optimizers[0].param_groups[-1]["lr"],
                        **{k: float(v) for k, v in parts.items()},
                    }
                    meter = _Meter()
                    if writer is not None:
                        self._log("log.jsonl", entry, writer, "train")
                    bar.set_postfix_str(
                        f"loss {entry['loss']:.3f}, {entry['images_per_second']:.0f} images/s, "
                        f"{entry['waiting_for_data']:.0%} waiting for data"
                    )
                if self.step % config.log.evaluate_every == 0 or last:
                    if self.main:
                        figures = self._evaluate(writer)
                        bar.write(f"step {self.step}: " + ", ".join(f"{k} {v:.3f}" for k, v in figures.items()))
                    self.accelerator.wait_for_everyone()
                    self._training_mode()
                    meter = _Meter()
                stopping = interrupted.is_set() and self.accelerator.num_processes == 1  # others would wait for ever
                if self.step % config.log.checkpoint_every == 0 or last or stopping:
                    self.save()
                if interrupted.is_set():
                    raise KeyboardInterrupt
                if last:
                    break
        finally:
            if in_main_thread:
                signal.signal(signal.SIGINT, previous)
            bar.close()
            if writer is not None:
                writer.close()
        return figures

    def _learn(self, batch: Batch) -> tuple[float, dict[str, Tensor]]:
        train = self.config.train
        factor = min(1.0, (self.step + 1) / max(train.warmup, 1))
        factor *= 0.5 * (1 + math.cos(math.pi * self.step / train.steps))
        parts: dict[str, Tensor] = {}
        total = 0.0
        # For models that draw random numbers: the same ones after a resume.
        torch.manual_seed(hash((self.config.seed, self.step, self.accelerator.process_index, 1)) & 0x7FFFFFFF)
        for role, optimizer in zip(self.model.roles, self.optimizers, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * factor
            loss, named = self.turn(batch, role)
            value = loss.item()
            if not math.isfinite(value):
                raise ZooError(
                    f"loss of {role!r} at step {self.step} is {value}",
                    expected="a finite number",
                    remedy="start a new run with a lower train.lr",
                )
            self.accelerator.backward(loss)
            self.accelerator.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], train.clip)
            optimizer.step()
            optimizer.zero_grad()
            parts.update({k: v.detach() for k, v in named.items()})
            total += value
        self.ema.update_parameters(self.model)
        return total, parts

    def _batches(self) -> Iterator[Batch]:
        config, start, steps = self.config, self.step, self._steps()
        share = config.train.batch_size // self.accelerator.num_processes
        mine = slice(self.accelerator.process_index * share, (self.accelerator.process_index + 1) * share)
        fresh = self.crops.packed is None
        loader = DataLoader(
            self.crops,
            batch_sampler=(rows[mine] for rows in steps),
            collate_fn=_as_is,
            num_workers=config.data.workers if fresh else 0,
            multiprocessing_context="spawn" if fresh and config.data.workers else None,
            prefetch_factor=4 if fresh and config.data.workers else None,
            worker_init_fn=_ignore_interrupt,
        )
        for step, read in enumerate(loader, start):
            batch = self._batch(*read)
            if not batch.features:
                seed = hash((config.seed, step, self.accelerator.process_index)) & 0x7FFFFFFF
                if config.data.jitter:
                    batch = replace(batch, L=augment.jitter(batch.L, seed))
                if config.data.cut_mix:
                    L, ab = augment.cut_mix(batch.L, batch.ab, config.data.cut_mix, seed)
                    batch = replace(batch, L=L, ab=ab)
            if self.teachers.models:
                with self.accelerator.autocast():
                    batch = replace(batch, taught=self.teachers.answers(batch.L, batch.ab.shape[-2:]))
            yield batch

    def _steps(self) -> Iterator[list[tuple[int, int]]]:
        weights = data.photo_weights(self.photos.train, self.config.data)
        return data.steps_of(self.crops, self.config.train.batch_size, self.config.seed, weights, self.step)

    def _batch(self, L: Tensor, ab: Tensor, features: tuple[Tensor, ...]) -> Batch:
        """What `data.Crops` gave, on the device."""
        device, kind = self.accelerator.device, torch.bfloat16 if self.bf16 else torch.float32
        return Batch(
            augment.lightness(L.to(device)).contiguous(memory_format=torch.channels_last),
            ab.to(device).float(),
            tuple(f.to(device, kind) for f in features) or None,
        )

    def _training_mode(self) -> None:
        self.turn.train()
        self._freeze_backbone_norms(self.model)

    def _freeze_backbone_norms(self, model: Colorizer[Any]) -> None:
        train = self.config.train
        if model.backbone is not None and (train.freeze_backbone or train.freeze_backbone_norm):
            for module in model.backbone.modules():
                if train.freeze_backbone or isinstance(module, _BatchNorm):
                    module.eval()

    def _evaluate(self, writer: SummaryWriter | None) -> dict[str, float]:
        """The held-out photos through the averaged weights, which are written before."""
        model = cast(Colorizer[Any], self.ema.module)
        model.train()
        self._freeze_backbone_norms(model)
        read = (self._batch(*self.crops.__getitems__(rows)) for rows in islice(self._steps(), _STATISTICS_BATCHES))
        validation.renew_statistics(model, read, self.accelerator.autocast)
        model.eval()
        save_file(_state(model), self.run / f"{WEIGHTS}.part")
        (self.run / f"{WEIGHTS}.part").replace(self.run / WEIGHTS)
        figures, picture = validation.evaluate(model, self.valid, self.accelerator.device, self.accelerator.autocast)
        (self.run / "grids").mkdir(exist_ok=True)
        picture.save(self.run / "grids" / f"{self.step:06d}.png")
        if writer is not None:
            self._log("valid.jsonl", {"step": self.step, **figures}, writer, "valid")
            writer.add_image("valid/grid", np.asarray(picture.convert("RGB")), self.step, dataformats="HWC")
        return figures

    def save(self) -> None:
        """Write the checkpoint; the old one stays whole until the new one is."""
        if self.main:
            state = {
                "step": self.step,
                "photos": self.photos.digest,
                "config": self._fingerprint(),
                "model": self.model.state_dict(),
                "ema": self.ema.state_dict(),
                "optimizers": [o.state_dict() for o in self.optimizers],
            }
            torch.save(state, self.run / f"{CHECKPOINT}.part")
            (self.run / f"{CHECKPOINT}.part").replace(self.run / CHECKPOINT)
        self.accelerator.wait_for_everyone()

    def _fingerprint(self) -> str:
        table = asdict(self.config)
        del table["log"]
        table["data"].pop("folders")  # the photos' names are compared instead: a folder may have moved
        table["data"].pop("workers")
        table["processes"] = self.accelerator.num_processes
        return json.dumps(table, sort_keys=True)

    def _write_provenance(self) -> None:
        record = {
            "config_file": self.config_file,
            "init": self.init,
            "folders": [Path(folder).resolve().name for folder in self.config.data.folders],
            "config": asdict(self.config),
            "network": asdict(self.model.config),
            "commit": _commit(),
            "versions": {p: version(p) for p in ("colorzoo", "torch", "timm", "accelerate", "numpy", "pillow")},
            "photos": {
                "train": len(self.photos.train),
                "valid": len(self.photos.valid),
                "left_out": self.photos.left_out,
                "list_sha256": self.photos.digest,
            },
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "processes": self.accelerator.num_processes,
            "threads": torch.get_num_threads(),
        }
        (self.run / "run.json").write_text(json.dumps(record, indent=2, default=str) + "\n", encoding="utf-8")

    def _log(self, file: str, entry: dict[str, float], writer: SummaryWriter, group: str) -> None:
        with (self.run / file).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"time": round(time.time(), 1), **entry}) + "\n")
        for key, value in entry.items():
            if key != "step":
                writer.add_scalar(f"{group}/{key.replace(' ', '_')}", value, self.step)


def _commit() -> str | None:
    try:
        git = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent)
    except OSError:  # no git here
        return None
    return git.stdout.strip() or None


def _ignore_interrupt(_: int) -> None:
    """A terminal's Ctrl-C reaches every process; the main one decides when the workers end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class _Meter:
    """Speed since it was made: images a second, and the share of the time spent waiting for data."""

    def __init__(self) -> None:
        self.start = self.mark = time.perf_counter()
        self.waited, self.images, self.losses = 0.0, 0, list[float]()

    def data_ready(self) -> None:
        self.waited += time.perf_counter() - self.mark

    def step_done(self, images: int, loss: float) -> None:
        self.images += images
        self.losses.append(loss)
        self.mark = time.perf_counter()

    def rate(self) -> float:
        return self.images / (time.perf_counter() - self.start)

    def waiting(self) -> float:
        return self.waited / (time.perf_counter() - self.start)

    def mean_loss(self) -> float:
        return float(np.mean(self.losses))


def _as_is(batch: Any) -> Any:
    return batch


def _spread(photos: list[data.Photo], count: int) -> list[data.Photo]:
    """``count`` photos from all over the list, which is sorted by source."""
    if len(photos) <= count:
        return photos
    return [photos[i * len(photos) // count] for i in range(count)]


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
