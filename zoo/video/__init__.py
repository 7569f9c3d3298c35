"""Colour film: the source's luma is written through, its chroma comes from a model's ab. Needs the extra ``video``."""

from typing import TYPE_CHECKING, Any

from zoo.errors import VideoError

if TYPE_CHECKING:
    from zoo.video.transcode import Look, Progress, Report, colorize_video

__all__ = ["Look", "Progress", "Report", "colorize_video"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'zoo.video' has no attribute {name!r}")
    try:
        from zoo.video import transcode
    except ImportError as error:
        if (error.name or "").partition(".")[0] in ("av", "cv2"):  # not there, or too old
            raise VideoError("films need more packages", found=error, remedy="pip install 'colorzoo[video]'") from error
        raise
    return getattr(transcode, name)
