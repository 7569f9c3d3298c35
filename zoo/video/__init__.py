"""Colour film: the source's luma is written through, its chroma comes from a model's ab. Needs the extra ``video``."""

from typing import Any

from zoo.errors import VideoError

__all__ = ["colorize_video"]


def __getattr__(name: str) -> Any:
    if name != "colorize_video":
        raise AttributeError(f"module 'zoo.video' has no attribute {name!r}")
    try:
        from zoo.video.transcode import colorize_video
    except ImportError as error:
        if error.name in ("av", "cv2"):
            raise VideoError("films need more packages", found=error, remedy="pip install 'colorzoo[video]'") from error
        raise
    return colorize_video
