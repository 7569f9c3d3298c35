"""What visitors are told when something goes wrong: refusals become short messages, bugs a number."""

import logging
import re
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gradio as gr

from demo import limits
from zoo.errors import ImageError, ZooError

_log = logging.getLogger(__name__)

_WORD = 80  # characters; what is longer nobody reads


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
    except ImageError as error:
        text = " ".join(filter(None, (f"{error.what}.", _sentence(error.remedy), f"This app reads {limits.PHOTOS}.")))
        raise gr.Error(_shown(text, source), print_exception=False) from error
    except ZooError as error:
        expected = error.expected and f"expected: {error.expected}"
        text = " ".join(filter(None, (f"{error.what}.", _sentence(expected), _sentence(error.remedy))))
        raise gr.Error(_shown(text, source), print_exception=False) from error
    except Exception as error:
        reference = secrets.token_hex(4)
        _log.exception("reference %s", reference)
        text = f"Something went wrong on our side. If it happens again, report it with the reference {reference}."
        raise gr.Error(text, print_exception=False) from error


def _shown(text: str, source: str) -> str:
    """``text`` without the folders of the ``source`` and of temporary files, and without endless words."""
    text = text.replace(source, Path(source).name)
    text = re.sub(rf"{re.escape(tempfile.gettempdir())}/(?:[^/\s]+/)*", "", text)
    return re.sub(rf"(\S{{{_WORD}}})\S+", r"\1…", text)


def _sentence(text: object) -> str:
    words = str(text or "")
    return words and words[0].upper() + words[1:].rstrip(".") + "."
