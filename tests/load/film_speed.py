"""Time of `colorzoo video` beside a plain decode and encode of the same clip, and where it goes. Not run by CI.

python tests/load/film_speed.py CLIP.mp4... [--model fusion] [--repeats 3]

Prints JSON: for each clip the frames, those that the network saw, the seconds of both by turns (start-up apart), their
ratio (median), and what share of the processor's time each stage takes. Decoding and encoding have threads of their
own: their shares are of the plain run's time.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av

import zoo
from zoo.video import coloring, motion, planes
from zoo.video.transcode import colorize_video


def plain(clip: Path, target: Path | None) -> tuple[float, float]:
    """Wall and processor seconds of decoding the pictures of ``clip``, and of encoding them again into ``target``."""
    wall, work = time.perf_counter(), time.process_time()
    with av.open(str(clip)) as old:
        video = old.streams.video[0]
        video.thread_type = "AUTO"
        if target is None:
            for _ in old.decode(video):
                pass
        else:
            with av.open(str(target), "w") as out:
                options = {"crf": "18", "preset": "medium"}
                new: Any = out.add_stream("libx264", rate=video.average_rate, options=options)
                new.width, new.height, new.pix_fmt = video.width, video.height, "yuv420p"
                new.codec_context.time_base = video.time_base
                for frame in old.decode(video):
                    out.mux(new.encode(frame))
                out.mux(new.encode(None))
    return time.perf_counter() - wall, time.process_time() - work


class Clock:
    """Processor time of the calling thread inside functions, by stage."""

    def __init__(self) -> None:
        self.spent: Counter[str] = Counter()

    def __call__(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function``, timed."""

        def timed(*args: Any, **options: Any) -> Any:
            began = time.thread_time()
            try:
                return function(*args, **options)
            finally:
                self.spent[stage] += time.thread_time() - began  # type: ignore[assignment]

        return timed


def shares(clip: Path, target: Path, model: "zoo.Colorizer[Any]") -> dict[str, float]:
    """Processor seconds by stage; those of decoding and encoding from a plain run."""
    clock = Clock()
    places: list[tuple[Any, str, str]] = [
        (motion.FlowEstimator, "__call__", "flow"),
        (motion.CutDetector, "is_cut", "cuts"),
        (coloring.FilmColorizer, "_answer", "network"),
        (planes, "paint", "upsampling"),
        (coloring.FilmColorizer, "feed", "all"),
    ]
    kept = [(owner, name, getattr(owner, name)) for owner, name, _ in places]
    try:
        for owner, name, stage in places[:-1]:
            setattr(owner, name, clock(stage, getattr(owner, name)))
        feed = coloring.FilmColorizer.feed
        coloring.FilmColorizer.feed = clock("all", lambda *a: iter(list(feed(*a))))  # type: ignore[method-assign]
        colorize_video(clip, target, model=model, force=True)
    finally:
        for owner, name, function in kept:
            setattr(owner, name, function)
    spent = clock.spent
    decode, both = plain(clip, None)[1], plain(clip, target)[1]
    carried = spent["all"] - spent["flow"] - spent["cuts"] - spent["network"]
    named = {"flow": spent["flow"], "network": spent["network"], "upsampling": spent["upsampling"]}
    return {"decode": decode, **named, "carrying and cuts": carried + spent["cuts"], "encode": both - decode}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--model", default="fusion")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    model = zoo.load(options.model)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "out.mp4"
        colorize_video(options.clips[0], target, model=model, end=0.5)  # what is made once
        for clip in options.clips:
            times: list[tuple[float, float]] = []
            for _ in range(options.repeats):
                before = plain(clip, target)[0]
                report = colorize_video(clip, target, model=model, force=True)
                times.append((before, report.seconds))
            stages = shares(clip, target, model)
            total = sum(stages.values())
            result = {
                "clip": clip.name,
                "frames": report.frames,
                "seen_by_the_network": report.runs,
                "plain_seconds": [round(a, 2) for a, _ in times],
                "color_seconds": [round(b, 2) for _, b in times],
                "ratio": round(statistics.median(b / a for a, b in times), 2),
                "ms_a_frame": {name: round(1000 * s / report.frames, 2) for name, s in stages.items()},
                "shares": {name: round(s / total, 3) for name, s in stages.items()},
            }
            sys.stdout.write(json.dumps(result) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
