"""What a model is measured against: Pillow's file work, a film that is only decoded and encoded, other networks."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from zoo import loading
from zoo.bench import ways
from zoo.bench.subjects import QUALITY
from zoo.colorizer import Colorizer
from zoo.evaluation.speed.results import DDCOLOR_TINY, ECCV16

PEERS = (ECCV16, DDCOLOR_TINY)  # whose published networks are compared, with random weights: time does not see them
CRF, PRESET = 18, "medium"  # of `zoo.colorize_video`


def forward(predict: Callable[[torch.Tensor], torch.Tensor], size: int) -> Callable[[], object]:
    """A job: from L (1, 1, ``size``, ``size``) to the ab that a network answers, at its own size."""
    L = torch.rand(1, 1, size, size, generator=torch.Generator().manual_seed(0)) * 100

    def run() -> None:
        with torch.inference_mode():
            predict(L)

    return run


def peer(name: str) -> Colorizer[Any]:
    """The network of a model of others with random weights, run by torch in the dtype that the processor is best at.

    The computation is that of the published code: of eccv16 the logits, their softmax and the mean of its 313 colours,
    of which the published code enlarges the answer four times besides; that is left to the pipeline, as of every model.
    """
    network = loading.network(name).eval().to(memory_format=torch.channels_last)
    return ways.attached(network, ways.of_peer())


def pillow(source: Path, target: Path, colored: Image.Image) -> Callable[[], object]:
    """A job: decode the grey JPEG ``source``, encode ``colored``, of the same size, to the JPEG ``target``."""

    def run() -> None:
        with Image.open(source) as image:
            image.load()
        colored.save(target, quality=QUALITY, subsampling="4:2:0")

    return run


def transcode(source: Path, target: Path) -> int:
    """Decode a film's pictures and encode them as `zoo.colorize_video` does, colours apart; how many they are.

    Sound and all else are left out.
    """
    import av

    count = 0
    with av.open(str(source)) as film, av.open(str(target), "w", format="mp4") as out:
        video = film.streams.video[0]
        video.thread_type = "AUTO"
        stream: Any = None
        for frame in film.decode(video):
            if stream is None:
                options = {"crf": str(CRF), "preset": PRESET}
                stream = out.add_stream("libx264", rate=video.average_rate or Fraction(25), options=options)
                stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "yuv420p"
                stream.time_base = stream.codec_context.time_base = video.time_base
                stream.codec_context.color_range = frame.color_range
            plain = frame if frame.format.name == "yuv420p" else frame.reformat(format="yuv420p")
            plain.pict_type = 0  # the encoder chooses, as it does of a new frame
            out.mux(stream.encode(plain))
            count += 1
        if stream is not None:
            out.mux(stream.encode(None))
    return count


def film(model: Colorizer[Any], source: Path, target: Path) -> Callable[[], object]:
    """A job: colour the film ``source``.

    Raises:
        VideoError: The extra ``video`` is not installed.
    """
    from zoo.video import colorize_video

    return lambda: colorize_video(source, target, model=model, crf=CRF, preset=PRESET, force=True)
