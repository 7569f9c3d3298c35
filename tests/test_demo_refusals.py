"""What visitors are told: short, and nothing of this machine."""

import tempfile
from pathlib import Path

import pytest
from visiting import gr

from demo.refusals import in_short
from zoo.errors import ImageError, ZooError


def _told(error: Exception, source: str = "photo.jpg") -> str:
    with pytest.raises(gr.Error) as caught, in_short(source):
        raise error
    return str(caught.value.message)


def test_folders_are_not_named(tmp_path: Path) -> None:
    made = Path(tempfile.gettempdir()) / "tmp1/inner/line-grey.png"
    assert _told(ImageError(f"{made}: cannot be written")).startswith(
        "line-grey.png: cannot be written. This app reads"
    )
    assert _told(ZooError(f"{tmp_path}/old film.mp4: damaged"), f"{tmp_path}/old film.mp4") == "old film.mp4: damaged."


def test_endless_words_are_cut_and_the_rest_is_told() -> None:
    message = _told(ZooError(f"no model named '{'x' * 10_000}' here", expected="fusion, regression"))
    assert len(message) < 200
    assert message.startswith("no model named 'xxx")
    assert message.endswith("… here. Expected: fusion, regression.")
