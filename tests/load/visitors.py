"""Many clients at once, with photos and short clips, each of which checks that every answer is its own. Not run by CI.

python tests/load/visitors.py [--clients 16] [--seconds 180] [--requests 60] [--out FILE]

It starts the app with the packaged models on 127.0.0.1, prints JSON, and ends with 1 where anything was wrong: a
crossed or wrong result, an error other than that the queue is full, memory that grew by more than 10 % after the first
minute, a file left in the folder for temporary files. Where this machine has more cores than the one that is aimed at,
start it with `taskset`.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import numpy.typing as npt
from app_server import MB, ROOT, AppServer, machine, running
from gradio_client import Client, handle_file
from gradio_client.utils import QueueError
from PIL import Image

Array = npt.NDArray[Any]

FIRST_MINUTE = (50.0, 70.0)  # seconds after the server was ready; the memory then is the median of these
GROWTH = 1.10
SETTLE = 10.0  # seconds without requests, before the memory at the end is taken
BURST, BURSTS = 3, 0.15  # requests that a visitor may send together, and how often that happens
PAUSE = 1.0  # seconds after a refusal
AGAIN = 0.15  # of the photos are sent for a second time
MODELS = (
    *(("fusion", "faithful"), ("fusion", "vivid"), ("regression", ""), ("classification", "")),
    *(("blend", "faithful"), ("blend", "vivid")),
)
CLIP_MODELS = MODELS[:4]  # the others take several times as long
SIZES = ((200, 150), (150, 200), (320, 240), (640, 480), (600, 800), (1024, 768), (1632, 1224))
CLIP_SIZES = ((160, 120), (240, 180), (180, 240), (320, 180), (320, 240))


class Wrong(Exception):
    """An answer that is not what was asked for."""


class Tally:
    """What happened, counted by all visitors together."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.sent: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.waits: dict[str, list[float]] = defaultdict(list)
        self.wrong: list[str] = []
        self.errors: list[str] = []

    def add(self, counter: Counter[str], kind: str) -> None:
        with self._lock:
            counter[kind] += 1

    def waited(self, kind: str, seconds: float) -> None:
        with self._lock:
            self.waits[kind].append(seconds)


class Visitor:
    """A client with pictures of its own: a pattern of lightness on them tells them from all others.

    Args:
        number: Its own, from 0.
        url: Of the app.
        folder: For what it sends and gets.
        tally: Where it counts.
    """

    def __init__(self, number: int, url: str, folder: Path, tally: Tally) -> None:
        self.number, self.folder, self.tally = number, folder, tally
        folder.mkdir()
        self.client = Client(
            url, verbose=False, download_files=str(folder / "answers"), analytics_enabled=False,
            httpx_kwargs={"trust_env": False, "timeout": httpx.Timeout(300)},
        )  # fmt: skip
        self._count = 0
        self._last: dict[str, Any] = {}

    def visit(self, until: float, requests: int) -> None:
        """Ask, one after another or a few together, up to ``requests`` times or until then."""
        rng = random.Random(f"visitor {self.number}")
        with ThreadPoolExecutor(BURST) as pool:
            while requests > 0 and time.monotonic() < until:
                together = min(requests, BURST if rng.random() < BURSTS else 1)
                requests -= together
                seeds = [f"{self.number} {rng.random()}" for _ in range(together)]
                refused = [not done for done in pool.map(self._once, seeds)]
                if any(refused):
                    time.sleep(PAUSE)

    def _once(self, seed: str) -> bool:
        """Whether a request of a kind by chance was taken."""
        rng = random.Random(seed)
        (kind,) = rng.choices(list(KINDS), [weight for _, weight in KINDS.values()])
        self.tally.add(self.tally.sent, kind)
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            try:
                KINDS[kind][0](self, rng, Path(folder))
            except QueueError:
                self.tally.add(self.tally.refused, kind)
                return False
            except Wrong as error:
                self.tally.wrong.append(f"visitor {self.number}, {kind}: {error}")
            except Exception:
                self.tally.errors.append(f"visitor {self.number}, {kind}: {traceback.format_exc(limit=-2)}")
            else:
                self.tally.add(self.tally.done, kind)
        return True

    def ask(self, endpoint: str, *arguments: Any) -> Any:
        """What an endpoint answers; how long it took is counted."""
        begin = time.monotonic()
        answer = self.client.predict(*arguments, api_name=f"/{endpoint}")
        self.tally.waited(endpoint, time.monotonic() - begin)
        return answer

    def picture(self, rng: random.Random, size: tuple[int, int]) -> Array:
        """A part of one of the repository's photos under this visitor's stripes; (H, W, 3), uint8, of size (W, H)."""
        with Image.open(rng.choice(PHOTOS)) as photo:
            photo.draft("RGB", (size[0] * 2, size[1] * 2))
            whole = photo.convert("RGB")
        width, height = (side * rng.uniform(0.5, 1) for side in whole.size)
        left, top = rng.uniform(0, whole.width - width), rng.uniform(0, whole.height - height)
        part = whole.resize(size, Image.Resampling.BILINEAR, (left, top, left + width, top + height))
        pixels = np.asarray(part, np.float32)
        if rng.random() < 0.5:
            pixels = pixels[:, ::-1]
        return np.rint(np.clip(pixels * rng.uniform(0.6, 1) + self._stripes(*size), 0, 255)).astype(np.uint8)

    def _stripes(self, width: int, height: int) -> Array:
        angle, length = self.number * 2.4, 12 + 5 * (self.number % 7)
        x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
        waves: Array = 25 * np.sin((x * np.cos(angle) + y * np.sin(angle)) / length)[..., None]
        return waves


# The kinds of requests: each makes what it sends, asks, and raises Wrong where the answer is not its own.


def colorize(visitor: Visitor, rng: random.Random, folder: Path) -> None:
    """A photo through ``/colorize``; sometimes again, to see that the same comes out."""
    path = folder / f"photo of {visitor.number}{rng.choice(('.jpg', '.png', '.webp'))}"
    image = Image.fromarray(visitor.picture(rng, rng.choice(SIZES)))
    if rng.random() < 0.4:
        image = image.convert("L")
    image.save(path, quality=90)
    with Image.open(path) as sent:
        own = np.asarray(sent.convert("RGB"))
    arguments = (*rng.choice(MODELS), round(rng.uniform(0.6, 1.6), 2))
    first = _colored(visitor, path, own, arguments)
    if rng.random() < AGAIN and not (first == _colored(visitor, path, own, arguments)).all():
        raise Wrong(f"the same picture with {arguments} came out otherwise the second time")


def _colored(visitor: Visitor, path: Path, own: Array, arguments: tuple[Any, ...]) -> Array:
    answer = Path(visitor.ask("colorize", handle_file(path), *arguments))
    try:
        with Image.open(answer) as image:
            if image.format != "PNG":
                raise Wrong(f"a {image.format} came back")
            pixels = np.asarray(image.convert("RGB"))
    finally:
        shutil.rmtree(answer.parent, ignore_errors=True)
    check_picture(own, pixels)
    return pixels


def video(visitor: Visitor, rng: random.Random, folder: Path) -> None:
    """A clip of one or two seconds through ``/video``."""
    path = folder / f"clip of {visitor.number}.mp4"
    rate, frames = rng.choice((8, 12, 15)), rng.randint(10, 20)
    make_clip(path, visitor, rng, rate, frames)
    own = read_clip(path)
    answer = Path(visitor.ask("video", handle_file(path), *rng.choice(CLIP_MODELS), round(rng.uniform(0.8, 1.6), 2)))
    try:
        check_clip(own, read_clip(answer))
    finally:
        shutil.rmtree(answer.parent, ignore_errors=True)


def compare(visitor: Visitor, rng: random.Random, folder: Path) -> None:
    """A photo through ``/compare``, with two models."""
    path = folder / f"photo of {visitor.number}.png"
    own = visitor.picture(rng, rng.choice(SIZES[:5]))
    Image.fromarray(own).save(path)
    names = [":".join(filter(None, model)) for model in rng.sample(MODELS, 2)]
    answers = visitor.ask("compare", handle_file(path), names, round(rng.uniform(0.6, 1.6), 2))
    if [each["caption"] for each in answers] != names:
        raise Wrong(f"{names} were asked for, {[each['caption'] for each in answers]} came")
    for each in answers:
        with Image.open(each["image"]) as image:
            check_picture(own, np.asarray(image.convert("RGB")))
        shutil.rmtree(Path(each["image"]).parent, ignore_errors=True)


def report(visitor: Visitor, rng: random.Random, folder: Path) -> None:
    """Two photos in color through ``/report``."""
    paths = [folder / f"photo {n} of visitor {visitor.number}.png" for n in range(2)]
    red_to_blue = np.linspace(60, -60, 320)[:, None] * (1, 0, -1)  # since only photos in color are compared
    for path in paths:
        pixels = visitor.picture(rng, (320, 240)) + red_to_blue
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    answer = Path(visitor.ask("report", [handle_file(path) for path in paths], ["fusion:faithful"]))
    text = answer.read_text(encoding="utf-8").replace("<wbr>", "")
    shutil.rmtree(answer.parent, ignore_errors=True)
    if not all(path.name in text for path in paths):
        raise Wrong("it is the report on other photos")


KINDS: dict[str, tuple[Callable[[Visitor, random.Random, Path], None], float]] = {
    "colorize": (colorize, 0.75),
    "compare": (compare, 0.1),
    "video": (video, 0.13),
    "report": (report, 0.02),
}

PHOTOS = sorted([*ROOT.joinpath("demo/examples").glob("*.jpg"), *ROOT.joinpath("tests/photos").glob("*.jpg")])


# What is checked


def lightness(pixels: Array) -> Array:
    """L of CIELAB, D65, of (H, W, 3) sRGB, uint8."""
    codes = np.arange(256) / 255
    linear = np.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4).astype(np.float32)
    Y = sum(weight * linear[pixels[..., n]] for n, weight in enumerate((0.2126729, 0.7151522, 0.0721750)))
    L: Array = np.where(Y > 216 / 24389, 116 * np.cbrt(Y) - 16, 24389 / 27 * Y)
    return L


def check_picture(own: Array, pixels: Array) -> None:
    """Whether ``pixels`` are ``own`` in color: both (H, W, 3), uint8."""
    if pixels.shape != own.shape:
        raise Wrong(f"its shape is {pixels.shape}, {own.shape} was sent")
    off = float(np.abs(lightness(own) - lightness(pixels)).mean())
    if not off < 1:
        raise Wrong(f"its lightness is off by {off:.2f} on average")
    chroma = float(np.ptp(pixels.astype(np.int16), axis=2).mean())
    if chroma < 1:
        raise Wrong(f"it is grey: channels {chroma:.2f} apart on average")


def make_clip(path: Path, visitor: Visitor, rng: random.Random, rate: int, frames: int) -> None:
    """A clip that pans over a picture of this visitor, with its stripes; in black and white."""
    width, height = rng.choice(CLIP_SIZES)
    wide = np.asarray(Image.fromarray(visitor.picture(rng, (width + 2 * frames, height))).convert("L"))
    with av.open(f"file:{path}", "w") as out:
        stream: Any = out.add_stream("libx264", rate=rate, options={"crf": "20", "preset": "veryfast", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for n in range(frames):
            part = np.ascontiguousarray(wide[:, 2 * n : 2 * n + width])
            out.mux(stream.encode(av.VideoFrame.from_ndarray(part, "gray8").reformat(format="yuv420p")))
        out.mux(stream.encode(None))


def read_clip(path: Path) -> tuple[Array, Array]:
    """The luma (N, H, W) and the chroma (N, H, W) of all frames of a clip of 4:2:0; uint8."""
    luma, chroma = [], []
    with av.open(f"file:{path}") as clip:
        for frame in clip.decode(video=0):
            planes = frame.to_ndarray(format="yuv420p")
            luma.append(planes[: frame.height])
            chroma.append(planes[frame.height :])
    return np.array(luma), np.array(chroma)


def check_clip(own: tuple[Array, Array], answer: tuple[Array, Array]) -> None:
    """Whether ``answer`` is ``own`` in color: both as `read_clip` gives them."""
    if answer[0].shape != own[0].shape:
        raise Wrong(f"frames, height, width are {answer[0].shape}, {own[0].shape} were sent")
    off = np.abs(own[0].astype(np.int16) - answer[0]).mean((1, 2))
    if not off.max() < 4:  # the encoder's
        raise Wrong(f"its luma is off by {off.max():.2f} on average in frame {off.argmax()}")
    chroma = float(np.abs(answer[1].astype(np.int16) - 128).mean())
    if chroma < 1:
        raise Wrong(f"it is grey: chroma of {chroma:.2f} on average")


# The run


def run(server: AppServer, folder: Path, clients: int, seconds: float, requests: int) -> dict[str, Any]:
    """What happened while ``clients`` visited."""
    tally = Tally()
    visitors = [Visitor(n, server.url, folder / f"visitor-{n}", tally) for n in range(clients)]
    before = server.sample()
    begin = before.at
    with ThreadPoolExecutor(clients) as pool:
        until = time.monotonic() + seconds
        for visit in [pool.submit(visitor.visit, until, requests) for visitor in visitors]:
            visit.result()
    end = server.sample()
    for visitor in visitors:
        visitor.client.close()
    time.sleep(SETTLE)
    after = server.sample()
    first = server.median_rss(*FIRST_MINUTE)
    at_end = round(after.rss / MB, 1)
    memory = {
        "before_mb": round(before.rss / MB, 1),
        "after_first_minute_mb": first,
        "last_20_seconds_mb": server.median_rss(end.at - 20, end.at),
        "after_all_mb": at_end,
        "peak_mb": server.peak_rss(),
        "ratio": round(at_end / first, 3) if first else None,
        "every_10_seconds_mb": [round(sample.rss / MB) for sample in server.samples[::10]],
    }
    return {
        "clients": clients,
        "seconds": round(end.at - begin, 1),
        "sent": dict(tally.sent),
        "done": dict(tally.done),
        "refused_by_the_queue": dict(tally.refused),
        "waiting_seconds": {kind: percentiles(waits) for kind, waits in sorted(tally.waits.items())},
        "wrong": len(tally.wrong),
        "errors": len(tally.errors),
        "first_wrong": tally.wrong[:5],
        "first_errors": tally.errors[:5],
        "memory": memory,
        "open_files": {"before": before.files, "after": after.files},
        "threads": {"before": before.threads, "after": after.threads},
        "processes": {"before": before.processes, "after": after.processes},
        "alive": server.alive(),
    }


def percentiles(values: list[float]) -> dict[str, float]:
    """Of waiting times."""
    p50, p95 = np.percentile(values, (50, 95))
    return {"p50": round(float(p50), 2), "p95": round(float(p95), 2), "max": round(max(values), 2), "n": len(values)}


def violations(report: dict[str, Any]) -> list[str]:
    """What must not be."""
    memory = report["memory"]
    found = {
        "wrong or crossed results": report["wrong"],
        "errors": report["errors"],
        "tracebacks in the log": len(report["tracebacks"]),
        "left in the folder for temporary files": len(report["temporary"]),
        "files left after SIGTERM": sum(folder["files"] for folder in report["left_after_sigterm"].values()),
        "it does not answer any more": not report["alive"],
        "memory grew by more than 10 %": (memory["ratio"] or 0) > GROWTH,
        "it had to be killed": report["sigterm"]["killed"],
    }
    return [f"{what}: {value}" for what, value in found.items() if value]


def main() -> int:
    """Start, visit, report; 1 where something was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=180, help="after which no visitor asks anew")
    parser.add_argument("--requests", type=int, default=60, help="that one client sends at most")
    parser.add_argument("--out", type=Path, help="a file for the JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with running(folder) as server:
            report = run(server, folder, options.clients, options.seconds, options.requests)
            report["left_at_the_end"] = server.left()
            report["temporary"] = [entry.name for entry in server.temporary_files()]
            report["sigterm"] = server.stop()
            report["left_after_sigterm"] = server.left()
            report["tracebacks"] = server.tracebacks()
    report["machine"] = machine()
    report["violations"] = violations(report)
    text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
    sys.stdout.write(text)
    if options.out:
        options.out.write_text(text, encoding="utf-8")
    return 1 if report["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
