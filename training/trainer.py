"""The optimisation loop, on Hugging Face Accelerate; knows a model by roles, parameters, losses and predictions."""

import hashlib
import json
import logging
import math
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel
from tqdm import tqdm

from training import augment, data, feed, processes, record, validation
from training.config import RunConfig
from training.teachers import Teachers
from zoo.colorizer import Batch, Colorizer
from zoo.errors import ConfigError, ZooError
from zoo.models._backbones import keep_depthwise_in_float32

CHECKPOINT = "checkpoint.pt"
WEIGHTS = "weights.safetensors"
_STATISTICS_BATCHES = 32
_COLOR_SAMPLE = 300
_log = logging.getLogger(__name__)


class _Turn(nn.Module):
    """One forward pass to the loss, so that distributed wrappers see a plain ``forward``."""

    def __init__(self, model: Colorizer[Any]) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, role: str) -> tuple[Tensor, dict[str, Tensor], Tensor | None, tuple[str, ...]]:
        loss = self.model.loss(batch, role)
        return loss.total, loss.parts, loss.weight, loss.sets


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
        self.accelerator, self.bf16 = processes.accelerator(config.train)
        self.config, self.run, self.config_file, self.init = config, run, config_file, init
        self.main = self.accelerator.is_main_process
        cache = run.parent / "cache"
        try:
            run.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"{run} cannot be the run's folder", found=error, remedy="choose another --out"
            ) from error
        group = self.accelerator
        with group.main_process_first():
            self.feed = feed.open_feed(config, cache, group.process_index, group.num_processes, self.main)
        processes.check_same(group, "photos", self.feed.digest)
        # Also before a resumed run's state is loaded: a family may keep the statistics out of its state.
        if type(model).fit_statistics is not Colorizer.fit_statistics:
            model.fit_statistics(self.feed.colors(_COLOR_SAMPLE))
        self.model = model.to(group.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if config.train.cache_features:
            with group.main_process_first():
                self._keep_features(cache)
        self._told: set[str] = set()
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
        # After the copy above, which is to keep its own forward.
        self.draws = augment.PhotoDraws(model)
        if self.bf16 and self.accelerator.device.type == "cpu":
            keep_depthwise_in_float32(model)
        if train.statistics == "global":
            nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        self.step = 0
        if resume:
            self._restore(optimizers)
        prepared = self.accelerator.prepare(_Turn(model), *optimizers)
        self.turn, self.optimizers = prepared[0], list(prepared[1:])

    def _restore(self, optimizers: list[torch.optim.AdamW]) -> None:
        file = self.run / CHECKPOINT
        try:
            checkpoint = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # of whatever kind damage is; what torch says advises to read it without care
            raise ConfigError(
                f"{file} is damaged", found=type(error).__name__, remedy="put a copy back, or train anew"
            ) from error
        if checkpoint["photos"] != self.feed.digest or checkpoint["config"] != self._fingerprint():
            raise ConfigError(
                f"{self.run} is a run of another configuration or other photos", remedy="start a new --out"
            )
        self.step = checkpoint["step"]
        if self.step >= self.config.train.steps:
            raise ConfigError(f"{self.run} is complete", found=f"{self.step} steps", remedy="start a new --out")
        self.model.load_state_dict(checkpoint["model"])
        self.ema.load_state_dict(checkpoint["ema"])
        self.feed.restore(checkpoint["feed"])
        for optimizer, state in zip(optimizers, checkpoint["optimizers"], strict=True):
            optimizer.load_state_dict(state)

    def _average(self, averaged: Any, current: Any, count: Any) -> None:
        decay = min(self.config.train.ema, (1 + int(count)) / (10 + int(count)))  # a young average forgets its start
        torch._foreach_lerp_(averaged, current, 1 - decay)

    def _keep_features(self, cache: Path) -> None:
        model = self.model.eval()
        if model.backbone is None:
            raise ConfigError(f"train.cache_features: model {self.config.model!r} has no backbone")
        if not isinstance(self.feed, feed.FolderFeed):
            raise ConfigError("train.cache_features needs photo folders", remedy="give them with --data")
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
        data.keep_features(self.feed.crops, encode, digest.hexdigest()[:16], cache, precision, self.main)

    def fit(self) -> dict[str, float]:
        """Train to the last step and return the last evaluation's figures.

        The first Ctrl-C or SIGTERM, to any of the processes, ends all of them after the step under way, with a
        checkpoint; a second one at once, without.

        Raises:
            Interrupted: There was one.
            ConfigError: Another process trains in the run's folder.
        """
        with record.alone(self.run) if self.main else nullcontext():
            return self._fit()

    def _fit(self) -> dict[str, float]:
        config = self.config
        if self.main and self.step == 0:
            self._write_provenance()
        log = record.Log(self.run, self.step) if self.main else None
        figures: dict[str, float] = {}
        self._training_mode()
        meter = record.Meter()
        bar = tqdm(total=config.train.steps, initial=self.step, disable=not self.main, unit="step", smoothing=0.05)
        try:
            with processes.StopSignal() as self.stop:
                for batches in self._batches():
                    meter.data_ready()
                    total, parts, asked = self._learn(batches)
                    self.step += 1
                    bar.update()
                    meter.step_done(config.train.batch_size, total)
                    last = self.step == config.train.steps
                    if self.step % config.log.every == 0 or last:
                        entry = meter.figures()
                        meter = record.Meter()
                        bar.set_postfix_str(
                            f"loss {entry['loss']:.3f}, {entry['images_per_second']:.0f} images/s, "
                            f"{entry['waiting_for_data']:.0%} waiting for data"
                        )
                        rate = self.optimizers[0].param_groups[-1]["lr"]
                        more = {"lr": rate, "skipped": float(self.feed.skipped()), **parts}
                        if log is not None:
                            log.line("log.jsonl", {"step": self.step, **entry, **more}, "train")
                    if self.step % config.log.evaluate_every == 0 or last:
                        if log is not None:
                            figures = self._evaluate(log)
                            bar.write(f"step {self.step}: " + ", ".join(f"{k} {v:.3f}" for k, v in figures.items()))
                        self.accelerator.wait_for_everyone()
                        self._training_mode()
                        meter = record.Meter()
                    if self.step % config.log.checkpoint_every == 0 or last or asked:
                        self.save()
                    if asked:
                        raise processes.Interrupted(asked)
                    if last:
                        break
        finally:
            bar.close()
            if log is not None:
                log.close()
        return figures

    def _learn(self, batches: list[Batch]) -> tuple[float, dict[str, float], int]:
        """One step on the parts of this process's share of a batch.

        Returns:
            The loss and its parts, over the whole batch of all processes, and the signal that asks one of them to end.
        """
        train, group = self.config.train, self.accelerator
        factor = min(1.0, (self.step + 1) / max(train.warmup, 1))
        factor *= 0.5 * (1 + math.cos(math.pi * self.step / train.steps))
        figures: dict[str, float] = {}
        total, asked = 0.0, 0
        for role, optimizer in zip(self.model.roles, self.optimizers, strict=True):
            for settings in optimizer.param_groups:
                settings["lr"] = settings["peak"] * factor
            sums = torch.zeros(4, device=group.device)  # of the weights, the weighted loss; then the signal, twice
            named: dict[str, Tensor] = {}
            for part, batch in enumerate(batches):
                self._seed_draws(batch, part)
                with nullcontext() if part == len(batches) - 1 else group.no_sync(self.turn):
                    loss, parts, weight, sets = self.turn(batch, role)
                    weight = loss.new_ones(()) if weight is None else weight.detach()
                    group.backward(loss * weight)
                sums[:2] += torch.stack([weight, loss.detach() * weight])
                for name, value in parts.items():
                    named[name] = named.get(name, 0) + value.detach() * weight
                self._tell_of_sets(sets)
            stop = self.stop.number
            sums[2:] = torch.tensor([stop, stop > 0])
            weights, weighted, stops, stopping, *values = processes.summed(
                group, torch.cat([sums, *(v.float().view(1) for v in named.values())])
            )
            mean = weighted / weights if weights else math.nan
            if not math.isfinite(mean):
                raise ZooError(
                    f"loss of {role!r} at step {self.step} is {mean}",
                    expected="a finite number",
                    remedy="start a new run with a lower train.lr",
                )
            own = [p for settings in optimizer.param_groups for p in settings["params"]]
            gradients = [p.grad for p in own if p.grad is not None]
            if weights != group.num_processes:  # they are the mean over the processes of weighted sums
                torch._foreach_mul_(gradients, group.num_processes / weights)
            group.clip_grad_norm_(own, train.clip)
            optimizer.step()
            optimizer.zero_grad()
            figures.update({name: value / weights for name, value in zip(named, values, strict=True)})
            total += mean
            asked = asked or (round(stops / stopping) if stopping else 0)
        self.ema.update_parameters(self.model)
        return total, figures, asked

    def _seed_draws(self, batch: Batch, part: int) -> None:
        """The same random numbers after a resume, and those of a crop in whatever process and part it comes."""
        index = self.accelerator.process_index
        torch.manual_seed(hash((self.config.seed, self.step, index, part, 1)) & 0x7FFFFFFF)  # of models that draw on
        if batch.seeds is not None:
            self.draws.renew(batch.seeds, batch.L.device)

    def _tell_of_sets(self, sets: tuple[str, ...]) -> None:
        new = set(sets) - self._told
        if new and self.config.train.accumulate > 1 and self.main:
            _log.warning(
                "%s look at a batch as a set: with train.accumulate = %d the sets are the parts, of %d crops",
                ", ".join(sorted(new)),
                self.config.train.accumulate,
                self.config.train.batch_size // self.config.train.accumulate,
            )
        self._told |= new

    def _batches(self) -> Iterator[list[Batch]]:
        for parts in self.feed.steps(self.step):
            yield [self._augmented(read) for read in parts]

    def _augmented(self, read: data.Read) -> Batch:
        batch = self._batch(read)
        if self.config.data.jitter and not batch.features:
            batch = replace(batch, L=augment.jitter(batch.L, read.seeds))
        if self.teachers.models:
            with self.accelerator.autocast():
                batch = replace(batch, taught=self.teachers.answers(batch.L, batch.ab.shape[-2:]))
        return batch

    def _batch(self, read: data.Read) -> Batch:
        """What was read, on the device."""
        device, kind = self.accelerator.device, torch.bfloat16 if self.bf16 else torch.float32
        return Batch(
            augment.lightness(read.L.to(device)).contiguous(memory_format=torch.channels_last),
            read.ab.to(device).float(),
            tuple(f.to(device, kind) for f in read.features) or None,
            seeds=read.seeds,
        )

    def _training_mode(self) -> None:
        self.turn.train()
        self._freeze_norms(self.model)

    def _freeze_norms(self, model: Colorizer[Any]) -> None:
        train = self.config.train
        if train.statistics == "frozen":
            for module in model.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        if model.backbone is not None and (train.freeze_backbone or train.freeze_backbone_norm):
            for module in model.backbone.modules():
                if train.freeze_backbone or isinstance(module, _BatchNorm):
                    module.eval()

    def _evaluate(self, log: record.Log) -> dict[str, float]:
        """The held-out photos through the averaged weights, which are written before."""
        model = cast(Colorizer[Any], self.ema.module)
        model.train()
        self._freeze_norms(model)
        some = (self._batch(read) for read in self.feed.some(_STATISTICS_BATCHES, self.step))
        validation.renew_statistics(model, some, self.accelerator.autocast)
        model.eval()
        save_file(_state(model), self.run / f"{WEIGHTS}.part")
        (self.run / f"{WEIGHTS}.part").replace(self.run / WEIGHTS)
        device, autocast = self.accelerator.device, self.accelerator.autocast
        figures, picture = validation.evaluate(model, self.feed.valid, device, autocast)
        log.picture(picture, self.step)
        log.line("valid.jsonl", {"step": self.step, **figures}, "valid")
        return figures

    def save(self) -> None:
        """Write the checkpoint, by the main process; the old one stays whole until the new one is."""
        states = processes.gathered(self.accelerator, self.feed.state)
        if self.main:
            state = {
                "step": self.step,
                "photos": self.feed.digest,
                "config": self._fingerprint(),
                "feed": feed.merged(states),
                "model": self.model.state_dict(),
                "ema": self.ema.state_dict(),
                "optimizers": [o.state_dict() for o in self.optimizers],
            }
            torch.save(state, self.run / f"{CHECKPOINT}.part")
            (self.run / f"{CHECKPOINT}.part").replace(self.run / CHECKPOINT)
        self.accelerator.wait_for_everyone()

    def _fingerprint(self) -> str:
        """What must be the same for a run to continue: not how its batches are split, nor where its photos lie."""
        table = asdict(self.config)
        del table["log"], table["train"]["accumulate"]
        for place in ("folders", "shards", "workers"):  # the photos' names are compared instead
            del table["data"][place]
        return json.dumps(table, sort_keys=True)

    def _write_provenance(self) -> None:
        known = record.provenance(
            self.config,
            self.model,
            config_file=self.config_file,
            init=self.init,
            photos=self.feed.record(),
            processes=self.accelerator.num_processes,
        )
        (self.run / "run.json").write_text(json.dumps(known, indent=2, default=str) + "\n", encoding="utf-8")


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
