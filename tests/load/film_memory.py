"""Peak memory of `colorzoo video` on a short and a long loop of one clip: it should be the same. Not run by CI.

python tests/load/film_memory.py CLIP.mp4 [--short 10] [--long 300] [--model fusion] [--suffix .mp4]

Prints JSON: for each length the frames, the peak of resident memory in MB and the seconds it took.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

RUN = """
import json, resource, sys
from zoo.video.transcode import colorize_video
source, target, model = sys.argv[1:]
report = colorize_video(source, target, model=model, preset="ultrafast", force=True)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # kB on Linux
print(json.dumps({"frames": report.frames, "peak_mb": round(peak, 1), "seconds": round(report.seconds, 1)}))
"""


def loop(clip: Path, target: Path, seconds: float) -> None:
    """The pictures and the sound of ``clip``, again and again, copied until ``seconds`` are full."""
    done = Fraction(0)
    with av.open(f"file:{target}", "w", format="matroska") as out:
        copies: dict[int, Any] = {}
        while done < seconds:
            end = done
            with av.open(f"file:{clip}") as old:
                streams = [*old.streams.video[:1], *old.streams.audio[:1]]
                for stream in streams:
                    if stream.index not in copies:
                        copies[stream.index] = out.add_stream_from_template(stream, opaque=True)
                for packet in old.demux(streams):
                    if packet.size and packet.pts is not None and packet.pts >= 0:
                        base = packet.time_base
                        end = max(end, done + (packet.pts + (packet.duration or 1)) * base)
                        shift = round(done / base)
                        packet.pts += shift
                        packet.dts = None if packet.dts is None else packet.dts + shift
                        packet.stream = copies[packet.stream.index]
                        out.mux(packet)
            done = end


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--short", type=float, default=10)
    parser.add_argument("--long", type=float, default=300)
    parser.add_argument("--model", default="fusion")
    parser.add_argument("--suffix", default=".mp4")
    options = parser.parse_args()
    results: dict[str, Any] = {"clip": options.clip.name, "model": options.model, "target": options.suffix}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("short", "long"):
            looped = Path(folder) / f"{name}.mkv"
            loop(options.clip, looped, getattr(options, name))
            arguments = [str(looped), str(Path(folder) / f"out{options.suffix}"), options.model]
            run = subprocess.run([sys.executable, "-c", RUN, *arguments], stdout=subprocess.PIPE, text=True, check=True)
            results[name] = {"film_seconds": getattr(options, name), **json.loads(run.stdout)}
    results["long_by_short"] = round(results["long"]["peak_mb"] / results["short"]["peak_mb"], 3)
    sys.stdout.write(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
