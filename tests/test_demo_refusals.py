"""What visitors are told: short, and nothing of this machine."""

import tempfile
from pathlib import Path

import pytest
from visiting import gr

from demo import refusals
from demo.refusals import in_short, refusal, warn
from zoo.errors import ImageError, VideoError, ZooError


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


@pytest.mark.parametrize("kind", [ImageError, VideoError])
def test_an_upload_that_was_deleted_meanwhile_is_to_be_uploaded_again(kind: type[ZooError], tmp_path: Path) -> None:
    gone = str(tmp_path / "gone.jpg")
    assert _told(kind(f"{gone}: no such file", remedy="check the path"), gone) == (
        "gone.jpg: no longer here. Uploads are deleted after an hour or two: upload it again."
    )


def test_messages_do_not_stay_over_what_follows() -> None:
    assert refusal("Tick a model.").duration < 10  # Gradio's own


def test_many_reasons_are_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    warned: list[str] = []
    monkeypatch.setattr(refusals.gr, "Warning", lambda message, **_: warned.append(message))
    warn([])
    warn([f"{n}.jpg: bad." for n in range(3)])
    warn([f"{n}.jpg: bad." for n in range(20)])
    few = "0.jpg: bad.\n1.jpg: bad.\n2.jpg: bad."
    assert warned == [few, f"{few}\nAnd 17 more."]
