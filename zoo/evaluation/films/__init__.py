"""The evaluator for films: how close the colours of moving pictures come to the true ones, and how steady they are.

Measuring needs the extra ``video``; what is read and reported from results does not.
"""

from typing import Any

from zoo.errors import VideoError

__all__ = ["evaluate_films"]


def __getattr__(name: str) -> Any:
    if name != "evaluate_films":
        raise AttributeError(f"module 'zoo.evaluation.films' has no attribute {name!r}")
    try:
        from zoo.evaluation.films.run import evaluate_films
    except ImportError as error:
        if error.name in ("av", "cv2"):
            raise VideoError("films need more packages", found=error, remedy="pip install 'colorzoo[video]'") from error
        raise
    return evaluate_films
