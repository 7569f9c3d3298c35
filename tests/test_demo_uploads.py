"""The app's uploads: only they are read, and what is left of them goes."""

import asyncio
import os
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import HTTPException

from demo import limits, uploads


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: Any) -> Path:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


def _file(path: Path, size: int = 1, age: float = 0) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bytes(size))
    then = time.time() - age
    os.utime(path, (then, then))
    os.utime(path.parent, (then, then))
    return path


def _refused(body: Any) -> bool:
    try:
        uploads.refuse_other_files(body)
    except HTTPException as error:
        return error.status_code == 403
    return False


def test_only_what_was_uploaded_is_taken(cache: Path) -> None:
    mine, secret = _file(cache / "ab12/photo.jpg"), _file(cache.parent / "secret.jpg")
    (cache / "link.jpg").symlink_to(secret)
    others = (
        secret,
        f"{cache}/../secret.jpg",
        cache / "link.jpg",
        "photo.jpg",
        f"{cache}2/x.jpg",
        "a\0b",
        "x" * 10_000,
    )
    for path in (*others, "http://127.0.0.1/x.jpg"):
        for picture in ({"path": str(path)}, {"image": {"path": str(path), "meta": {"_type": "gradio.FileData"}}}):
            assert _refused({"data": [[picture], 1.0]})
    for picture in (None, {"path": None}, {"path": ""}, {"path": str(mine)}, {"path": 5}, "/etc/passwd"):
        assert not _refused({"data": [picture], "fn_index": 2})


def test_uploads_that_broke_off_and_empty_folders_are_removed(cache: Path) -> None:
    broken, running = _file(cache / "tmpabc", age=700), _file(cache / "tmpdef", age=5)
    whole = _file(cache / "12/photo.jpg", age=700)
    (cache / "34").mkdir()
    os.utime(cache / "34", (0, 0))
    (cache / "56").mkdir()
    uploads.remove_remains(cache)
    assert not broken.exists()
    assert running.exists()
    assert whole.exists()
    assert sorted(p.name for p in cache.iterdir()) == ["12", "56", "tmpdef"]
    uploads.remove_remains(cache / "nowhere")


def test_the_oldest_files_are_removed_where_there_are_too_many(cache: Path, monkeypatch: Any) -> None:
    files = []
    for n in range(4):
        files.append(_file(cache / f"{n}/photo.jpg", 100))
        time.sleep(0.02)  # by when a file was made, which cannot be set
    uploads.remove_oldest([*files, cache / "gone.jpg"], 250)
    assert all(file.exists() for file in files)  # somebody may still wait for them
    monkeypatch.setattr(uploads, "_EVERY", 0)
    uploads.remove_oldest([*files, cache / "gone.jpg"], 250)
    assert [file.exists() for file in files] == [False, False, True, True]


def test_the_running_app_is_swept_and_what_it_keeps_stays(cache: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(uploads, "_EVERY", 0.01)
    monkeypatch.setattr(limits, "CACHE_GIGABYTES", 0)
    broken, sent, kept = _file(cache / "tmpabc", age=700), _file(cache / "1/sent.jpg"), _file(cache / "2/kept.jpg")
    block = SimpleNamespace(keep_in_cache={str(kept)})
    blocks = SimpleNamespace(blocks={1: block}, temp_file_sets=[{str(sent), str(kept)}])

    async def run() -> None:
        async with uploads.sweeping(SimpleNamespace(get_blocks=lambda: blocks)):
            for _ in range(200):
                await asyncio.sleep(0.02)
                if not (broken.exists() or sent.exists()):
                    return

    with closing(asyncio.new_event_loop()) as loop:  # asyncio.run would drop the loop that others have left open
        loop.run_until_complete(run())
        loop.run_until_complete(loop.shutdown_default_executor())
    assert [broken.exists(), sent.exists(), kept.exists()] == [False, False, True]
