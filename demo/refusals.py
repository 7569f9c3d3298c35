"""What visitors are told when something goes wrong: refusals become short messages, bugs a number."""

import logging
import re
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import gradio as gr

from demo import limits
from zoo.errors import ImageError, ZooError

_log = logging.getLogger(__name__)

SECONDS = 6  # that a message stays, lest it lies over the results that follow

_WORD = 80  # characters; what is longer nobody reads
_TOGETHER = 3  # reasons that one message tells


def refusal(text: str) -> gr.Error:
    """What is raised to tell a visitor why something is not done."""
    return gr.Error(text, duration=SECONDS, print_exception=False)


def warn(reasons: Sequence[str]) -> None:
    """Tell a visitor in one message what was left out: as many messages as files would cover the page."""
    if reasons:
        rest = len(reasons) - _TOGETHER
        more = [f"And {rest} more."] if rest > 0 else []
        gr.Warning("\n".join([*reasons[:_TOGETHER], *more]), duration=SECONDS)


@contextmanager
def in_short(source: str) -> Iterator[None]:
    """Turns what goes wrong into a message for the visitor, which names no folder of this machine.

    Raises:
        gr.Error: Anything else that was raised.
    """
    try:
        yield
    except gr.Error:
        raise
    except ZooError as error:
        raise refusal(_shown(_told(error, source), source)) from error
    except Exception as error:
        reference = secrets.token_hex(4)
        _log.exception("reference %s", reference)
        text = f"Something went wrong on our side. If it happens again, report it with the reference {reference}."
        raise refusal(text) from error


def _told(error: ZooError, source: str) -> str:
    if str(error.what).endswith("no such file") and not Path(source).exists():
        return f"{source}: no longer here. Uploads are deleted after an hour or two: upload it again."
    if isinstance(error, ImageError):
        return " ".join(filter(None, (f"{error.what}.", _sentence(error.remedy), f"This app reads {limits.PHOTOS}.")))
    expected = error.expected and f"expected: {error.expected}"
    return " ".join(filter(None, (f"{error.what}.", _sentence(expected), _sentence(error.remedy))))


def _shown(text: str, source: str) -> str:
    """``text`` without the folders of the ``source`` and of temporary files, and without endless words."""
    text = text.replace(source, Path(source).name)
    text = re.sub(rf"{re.escape(tempfile.gettempdir())}/(?:[^/\s]+/)*", "", text)
    return re.sub(rf"(\S{{{_WORD}}})\S+", r"\1…", text)


def _sentence(text: object) -> str:
    words = str(text or "")
    return words and words[0].upper() + words[1:].rstrip(".") + "."
