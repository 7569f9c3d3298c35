"""What a training run is: frozen dataclasses, read strictly from TOML and ``--set key=value``."""

import math
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo.errors import ConfigError
from zoo.spec import config_from_mapping


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which photos, and what is done to them.

    Attributes:
        folders: Walked for photos; ``--data`` adds to them.
        folder_weights: How often each folder is drawn relative to its size; empty is 1 for all.
        shards: Instead of folders: tar files of photos, a folder of them or a path with ``{000..127}``, read as a
            stream; every crop is then fresh, whatever ``crops_per_photo`` says.
        hub: Instead of folders: a data set of the Hugging Face Hub as ``owner/name`` (``@`` and a commit), or a folder
            that `datasets` can read, as a stream.
        hub_split: Its split.
        hub_column: Its column of pictures.
        lanes: Of a stream: how many are read side by side, whoever reads them. Each has its own shards and the same
            number of crops in every batch, so that a batch is the same on one process and on many.
        shuffle: Of a stream: photos of a shard that are shuffled among each other.
        provenance: What the photos are, for the model card; ``--training-data`` of ``training.package`` overrides it.
        limit: Take only so many photos, drawn by ``split_seed``.
        valid_share: Held out for validation.
        split_seed: Draws the held-out photos; the same in every run of a chain.
        source_balance: 0 draws every photo alike, 1 every source alike (a source is the file name's part before
            ``__``, else the folder).
        source_weights: How often the photos of a source are drawn relative to the others', whose weight is 1; for
            sources that are many photos of few things.
        min_chroma: Photos with a lower mean chroma (Lab units) are left out as near grey.
        crop: Side of the training crops in pixels.
        crops_per_photo: Crops made once and kept; 0 makes a fresh one each time.
        zoom: Range of the crop's side as a share of the largest that fits.
        aspect: Range of the crop's stretch.
        rotation: Largest rotation in degrees.
        shear: Largest shear in degrees.
        flip: Mirror half of the crops.
        age: Share of the crops whose lightness is aged (contrast, gamma, blur, grain, JPEG).
        jitter: Vary contrast, brightness and grain of L at every step (not with cached features).
        cut_mix: Share of the crops that get a rectangle of another one pasted in, of the crop before in the batch, or
            in the stream's lane (not with cached features).
        workers: Processes that prepare crops.
    """

    folders: tuple[str, ...] = ()
    folder_weights: tuple[float, ...] = ()
    shards: str = ""
    hub: str = ""
    hub_split: str = "train"
    hub_column: str = "image"
    lanes: int = 16
    shuffle: int = 512
    provenance: tuple[str, ...] = ()
    limit: int | None = None
    valid_share: float = 0.03
    split_seed: int = 0
    source_balance: float = 0.0
    source_weights: dict[str, float] = field(default_factory=dict)
    min_chroma: float = 4.0
    crop: int = 160
    crops_per_photo: int = 4
    zoom: tuple[float, float] = (0.6, 1.0)
    aspect: tuple[float, float] = (0.85, 1.18)
    rotation: float = 0.0
    shear: float = 0.0
    flip: bool = True
    age: float = 0.0
    jitter: bool = False
    cut_mix: float = 0.0
    workers: int = 2

    def __post_init__(self) -> None:
        _check(
            "data",
            self,
            crop=(self.crop >= 32 and self.crop % 32 == 0, "a multiple of 32"),
            limit=(self.limit is None or self.limit >= 2, "2 or more"),
            folder_weights=(all(w > 0 for w in self.folder_weights), "above 0"),
            lanes=(self.lanes >= 1, "1 or more"),
            shuffle=(self.shuffle >= 1, "1 or more"),
            valid_share=(0 < self.valid_share < 1, "above 0, below 1"),
            split_seed=(self.split_seed >= 0, "0 or more"),
            source_balance=(0 <= self.source_balance <= 1, "0 to 1"),
            source_weights=(all(1e-3 <= w <= 1e3 for w in self.source_weights.values()), "0.001 to 1000"),
            min_chroma=(self.min_chroma >= 0, "0 or more"),
            crops_per_photo=(self.crops_per_photo >= 0, "0 or more"),
            zoom=(0 < self.zoom[0] <= self.zoom[1] <= 1, "low <= high, in (0, 1]"),
            aspect=(0 < self.aspect[0] <= self.aspect[1], "low <= high, above 0"),
            rotation=(0 <= self.rotation <= 45, "0 to 45 degrees"),
            shear=(0 <= self.shear <= 45, "0 to 45 degrees"),
            age=(0 <= self.age <= 1, "0 to 1"),
            cut_mix=(0 <= self.cut_mix <= 1, "0 to 1"),
            workers=(self.workers >= 0, "0 or more"),
        )


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How the parameters move.

    Attributes:
        steps: Optimizer steps; the learning rate follows a cosine over all of them.
        batch_size: Crops a step, over all processes and parts together.
        accumulate: Parts that each process takes its share of a batch in, one after the other: the same step in less
            memory.
        lr: Peak learning rate.
        warmup: Steps of linear rise.
        betas: Of AdamW.
        weight_decay: Of AdamW, on tensors of two or more dimensions.
        clip: Largest gradient norm.
        ema: Decay of the weights' moving average, which is what is evaluated and packaged.
        pretrained: Start the backbone from its published weights (not with ``--init``).
        freeze_backbone: Leave the backbone as it is.
        backbone_lr_factor: Learning rate of the backbone relative to ``lr``.
        freeze_backbone_norm: Leave the backbone's batch-norm statistics as they are.
        statistics: What the other batch norms normalise by in training: ``batch``, what each process and part has of
            the batch by itself; ``global``, the part of all processes (`torch.nn.SyncBatchNorm`, on GPUs only); or
            ``frozen``, what they hold, which stays: only then is a step the same however the batch is split.
        cache_features: Run a frozen backbone once over all kept crops and train on what it gave.
        teachers: For styles of the model, the runs' folders or zoo models whose mean answer it learns.
        precision: ``auto`` (bf16 where the hardware has it), ``bf16`` or ``fp32``.
    """

    steps: int
    batch_size: int = 32
    accumulate: int = 1
    lr: float = 2e-3
    warmup: int = 200
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.02
    clip: float = 5.0
    ema: float = 0.999
    pretrained: bool = True
    freeze_backbone: bool = False
    backbone_lr_factor: float = 1.0
    freeze_backbone_norm: bool = True
    statistics: str = "batch"
    cache_features: bool = False
    teachers: dict[str, tuple[str, ...]] = field(default_factory=dict)
    precision: str = "auto"

    def __post_init__(self) -> None:
        _check(
            "train",
            self,
            steps=(self.steps >= 1, "1 or more"),
            batch_size=(self.batch_size >= 1, "1 or more"),
            accumulate=(self.accumulate >= 1, "1 or more"),
            statistics=(self.statistics in ("batch", "global", "frozen"), "batch, global or frozen"),
            lr=(self.lr >= 0, "0 or more"),
            warmup=(self.warmup >= 0, "0 or more"),
            betas=(all(0 <= b < 1 for b in self.betas), "at least 0, below 1"),
            weight_decay=(self.weight_decay >= 0, "0 or more"),
            clip=(self.clip > 0, "above 0"),
            ema=(0 <= self.ema < 1, "at least 0, below 1"),
            backbone_lr_factor=(self.backbone_lr_factor >= 0, "0 or more"),
            cache_features=(self.freeze_backbone or not self.cache_features, "train.freeze_backbone = true beside it"),
            precision=(self.precision in ("auto", "bf16", "fp32"), "auto, bf16 or fp32"),
        )


@dataclass(frozen=True, kw_only=True)
class LogConfig:
    """How often the run looks up.

    Attributes:
        every: Steps between lines of the log.
        evaluate_every: Steps between evaluations (held-out photos, picture grid); the last step always evaluates.
        checkpoint_every: Steps between checkpoints.
        valid_photos: How many held-out photos an evaluation takes at most.
        valid_size: Their side: centre crop, then resized.
    """

    every: int = 20
    evaluate_every: int = 1000
    checkpoint_every: int = 500
    valid_photos: int = 200
    valid_size: int = 224

    def __post_init__(self) -> None:
        _check(
            "log",
            self,
            **{k: (getattr(self, k) >= 1, "1 or more") for k in ("every", "evaluate_every", "checkpoint_every")},
            valid_photos=(self.valid_photos >= 1, "1 or more"),
            valid_size=(self.valid_size >= 32 and self.valid_size % 32 == 0, "a multiple of 32"),
        )


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """A whole run: the model, its configuration where it differs from the registry's, data, optimisation, log."""

    model: str
    train: TrainConfig
    network: dict[str, Any] = field(default_factory=dict)
    data: DataConfig = field(default_factory=DataConfig)
    log: LogConfig = field(default_factory=LogConfig)
    seed: int = 0

    def __post_init__(self) -> None:
        _check("", self, seed=(0 <= self.seed < 2**32, "0 to 4294967295"))


def _check(section: str, config: object, **rules: tuple[bool, str]) -> None:
    """Refuse a value that breaks its rule (whether it holds, what is expected), or that is not finite."""
    finite = {k: (_finite(v), "finite numbers") for k, v in vars(config).items()}
    for key, (holds, expected) in [*finite.items(), *rules.items()]:
        if not holds:
            where = f"{section}.{key}" if section else key
            raise ConfigError(f"{where}: bad value", found=getattr(config, key), expected=expected)


def _finite(value: object) -> bool:
    if isinstance(value, dict | list | tuple):
        return all(map(_finite, value.values() if isinstance(value, dict) else value))
    return not isinstance(value, float) or math.isfinite(value)


def read_config(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """The run described by a TOML file, after ``key.sub=value`` overrides (values in TOML, else taken as text).

    Raises:
        ConfigError: The file cannot be read, or has an unknown key, a wrong type or a missing value.
    """
    path = Path(path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: not a readable TOML file", found=error) from error
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise ConfigError(f"--set {override}: no value", expected="key=value, e.g. train.steps=100")
        try:
            value = tomllib.loads(f"v = {text}")["v"]
        except tomllib.TOMLDecodeError:
            value = text
        *parents, last = key.strip().split(".")
        target = table
        for parent in parents:
            target = target.setdefault(parent, {})
            if not isinstance(target, dict):
                raise ConfigError(f"--set {override}: {parent} is not a table")
        target[last] = value
    config: RunConfig = config_from_mapping(RunConfig, table, path.name)
    return config
