"""What visitors are told when something goes wrong: refusals become short messages, bugs a number."""

import logging
import re
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr

from demo import limits
from zoo.errors import ImageError, ZooError

_log = logging.getLogger(__name__)

SECONDS = 6  # that a message stays, lest it lies over the results that follow
NOT_UNDERSTOOD = "What was sent is not what this function takes; the tab Code lists what each takes."
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
        raise refusal(bug(error)) from error


def bug(error: BaseException) -> str:
    """What a visitor is told of what should not have been raised; the log has the rest under the same number."""
    reference = secrets.token_hex(4)
    _log.error("reference %s", reference, exc_info=error)
    return f"Something went wrong on our side. If it happens again, report it with the reference {reference}."


class Blocks(gr.Blocks):
    """Gradio's, where whatever is raised at the request of a visitor ends as a message with a number."""

    async def process_api(self, *args: Any, **options: Any) -> dict[str, Any]:
        """Gradio's: from what was sent to what is sent back.

        Raises:
            gr.Error: Anything was raised on the way.
        """
        try:
            return await super().process_api(*args, **options)
        except gr.Error:
            raise
        except Exception as error:
            raise refusal(bug(error)) from error

    async def preprocess_data(self, *args: Any, **options: Any) -> list[Any]:
        """Gradio's: from what was sent to what a function takes.

        Raises:
            gr.Error: It is not what the function takes.
        """
        try:
            return list(await super().preprocess_data(*args, **options))
        except gr.Error:
            raise
        except Exception as error:  # which is raised by the components, each in its own way
            reference = secrets.token_hex(4)
            _log.warning("reference %s: what was sent is not understood", reference, exc_info=error)
            raise refusal(f"{NOT_UNDERSTOOD} Reference: {reference}.") from error


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
