"""Colour film: the source's luma is written through, its chroma comes from a model's ab. Needs the extra ``video``."""

from typing import TYPE_CHECKING, Any

from zoo.errors import VideoError

if TYPE_CHECKING:
    from zoo.video.transcode import Look, Progress, Report, colorize_video

__all__ = ["SUFFIXES", "Look", "Progress", "Report", "colorize_video"]

SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".vob"}
    | {".wmv", ".flv", ".ogv", ".3gp", ".mxf", ".dv"}
)  # of the films in a folder


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
