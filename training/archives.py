"""What archives cost on paper, from measured figures: the tables in model_cards/archives.md."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from zoo.evaluation.speed import results
from zoo.evaluation.speed.results import Speed

PHOTOS = 1_000_000
FILM_HOURS, FPS = 10_000, 25
GPU_CORES = 16  # assumed beside one GPU
SIZE = "1 MP"


class Work(NamedTuple):
    """Seconds of one machine's work for one photo or frame, as far as they are known.

    Attributes:
        cpu: Of processor, the network left out.
        network: Of processor, for the network.
        cores: That the machine has.
    """

    cpu: float
    network: float
    cores: int


def photo_work(speed: Speed, model: str) -> Work:
    """Of a photo of 1 MP: processor seconds of a folder, shared out as the stages of one file are.

    Raises:
        ValueError: The run lacks one of the figures.
    """
    folder = next(speed.find(results.FOLDER, model=model, error=None), None)
    stages = next(speed.find(results.STAGES, model=model, size=SIZE, error=None), None)
    if folder is None or stages is None:
        raise ValueError(f"no folder or no stages of {SIZE} were measured")
    whole = folder.parts["cpu"] / folder.parts["photos"]
    share = stages.parts["network"] / sum(stages.parts.values())
    return Work(whole * (1 - share), whole * share, int(folder.parts["cores"]))


def film_rates(speed: Speed, model: str) -> tuple[float, float]:
    """Frames a second of a film in colour, and of the plain transcode of it.

    Raises:
        ValueError: The run has no film.
    """
    rows = {row.subject: row for row in speed.find(results.FILM, model=model, error=None) if row.median}
    if not {"", results.TRANSCODE} <= set(rows):
        raise ValueError("no film was measured")
    rates = {name: row.parts["frames"] / (row.median or 1) for name, row in rows.items()}
    return rates[""], rates[results.TRANSCODE]


def gpu_rate(entries: Sequence[dict[str, Any]], flops: float, forward_flops: float) -> tuple[str, float]:
    """A GPU's name, and how many forward passes a second it would do at the rate at which it trained.

    Args:
        entries: Of speeds.json.
        flops: Of the forward pass that is to be done.
        forward_flops: Of the one that was measured, a third of a step of training.
    """
    entry = next(e for e in entries if e["what"] == "end to end")
    return entry["device"], 3 * entry["images_per_second"] * forward_flops / flops


def table(speed: Speed, model: str, gpu: str, passes: float) -> str:
    """The tables in Markdown.

    Args:
        speed: A run of `colorzoo bench`.
        model: That was measured.
        gpu: A GPU's name.
        passes: Forward passes that it does in a second.
    """
    work = photo_work(speed, model)
    frames, plain = film_rates(speed, model)
    folder = next(speed.find(results.FOLDER, model=model, error=None))
    here = folder.parts["photos"] / folder.parts["wall"]
    fed = GPU_CORES / work.cpu
    small = f"{work.cores} cores"
    lines = [
        "| machine | photos of 1 MP a second | hours for a million photos | 100 machines, hours | first bottleneck |",
        "| --- | ---: | ---: | ---: | --- |",
        _photos(f"{small}, measured", here, _bottleneck(work)),
        _photos(
            f"{gpu} with {GPU_CORES} such cores, reckoned",
            min(passes, fed),
            f"the cores: the GPU would do {passes:,.0f} a second" if fed < passes else "the GPU",
        ),
        "",
        "| machine | frames a second | machine hours for ten thousand hours of film | 100 machines, hours "
        "| first bottleneck |",
        "| --- | ---: | ---: | ---: | --- |",
        _film(
            f"{small}, measured ({speed.settings['film']})",
            frames,
            f"a plain transcode does {plain:,.0f} frames a second, so the network and the flow take "
            f"{1 - frames / plain:.0%} of the time",
        ),
        _film(
            f"{gpu} with {GPU_CORES} such cores, at best",
            min(passes, plain * GPU_CORES / work.cores),
            "decoding and encoding, were the flow free",
        ),
        "",
        f"Of a photo's {work.cpu + work.network:.3f} processor seconds the network takes {work.network:.3f}; reading, "
        f"painting and writing {work.cpu:.3f}.",
    ]
    return "\n".join(lines)


def _bottleneck(work: Work) -> str:
    share = work.network / (work.network + work.cpu)
    return (
        f"the network, {share:.0%} of the time" if share > 0.5 else f"files and painting, {1 - share:.0%} of the time"
    )


def _photos(machine: str, rate: float, bottleneck: str) -> str:
    hours = PHOTOS / rate / 3600
    return f"| {machine} | {rate:,.1f} | {hours:,.1f} | {hours / 100:,.2f} | {bottleneck} |"


def _film(machine: str, rate: float, bottleneck: str) -> str:
    hours = FILM_HOURS * FPS / rate
    return f"| {machine} | {rate:,.1f} | {hours:,.0f} | {hours / 100:,.1f} | {bottleneck} |"


def newest(folder: Path) -> tuple[Speed, str]:
    """The run of `colorzoo bench` in a folder that has a folder of photos and a film, and its first model.

    Raises:
        ValueError: There is none.
    """
    for speed in results.read_all(folder).values():
        for model in speed.models:
            if any(True for _ in speed.find(results.FOLDER, model=model, error=None)):
                return speed, model
    raise ValueError(f"{folder}: no run with a folder of photos")
