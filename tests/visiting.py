"""The app as tests visit it: with models of which the result tells which it was, launched, and in a browser."""

import gc
import os
import re
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from zoo import reference, registry
from zoo.colorizer import Colorizer
from zoo.errors import WeightsError
from zoo.models.grayscale import Grayscale
from zoo.spec import WeightsSpec
from zoo.spread import Spread

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of Gradio's own dependencies
    gr = pytest.importorskip("gradio")
    from gradio_client import Client, handle_file
    from gradio_client.exceptions import AppError

from demo import app, models, touching
from demo.keeping import Kept

__all__ = ["AppError", "Client", "gr", "handle_file"]

# Not ours: Gradio's use of pandas, its and its client's event loops, pictures that it opens and lets go.
running = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning:gradio",
    "ignore:unclosed:ResourceWarning",
    "ignore:.*FileIO:pytest.PytestUnraisableExceptionWarning",
)

PATTERN = {"warm": (30.0, 40.0), "cool": (-20.0, -40.0)}


class Tint(Grayscale):
    """One color all over, which says whose and in which style the result is."""

    def predict_ab(self, L: Tensor, **options: Any) -> Tensor:
        ab = PATTERN[options.get("style", "warm")]
        return torch.tensor(ab).view(1, 2, 1, 1).expand(L.shape[0], 2, *L.shape[2:])

    def spread(self, L: Tensor, **options: Any) -> Spread:
        return Colorizer.spread(self, L, **options)


class Broken(Grayscale):
    """Has a bug."""

    def predict_ab(self, L: Tensor, **options: Any) -> Tensor:
        raise RuntimeError("a bug in /secret/place")


class Refusing(Grayscale):
    """Refuses, in words for a user."""

    def predict_ab(self, L: Tensor, **options: Any) -> Tensor:
        raise WeightsError("the weights are damaged", remedy="install them again")


@contextmanager
def offered(**more: type[Grayscale]) -> Iterator[None]:
    """A context in which, of the zoo's models, those above and ``more`` alone have weights."""
    registry.list_models()
    before = dict(registry._models)
    weights = WeightsSpec(
        tag="none",
        sha256="0" * 64,
        size_bytes=12_000_000,
        license="CC0-1.0",
        commercial_use=True,
        training_data=("none",),
        source_url=None,
        packaged=__file__,  # a file that is there; nothing of it is read, since these models have no tensors
    )
    for name, (spec, cls) in before.items():
        registry._models[name] = (replace(spec, weights=()), cls)
    grey = replace(before["grayscale"][0], weights=(weights,))
    for name, model in {"broken": Broken, "refusing": Refusing, **more}.items():
        registry._models[name] = (replace(grey, name=name, summary=name), model)
    styled = replace(grey, name="tint", summary="tint", styles=tuple(PATTERN), supports=frozenset({"style"}))
    registry._models["tint"] = (styled, Tint)
    models.named.cache_clear()
    yield
    registry._models.clear()
    registry._models.update(before)
    models.named.cache_clear()


@contextmanager
def launched(tmp_path_factory: Any) -> Iterator[str]:
    """The address of the app, whose files go into a folder of the test and which is started from another."""
    patch = pytest.MonkeyPatch()
    patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("gradio")))
    patch.chdir(tmp_path_factory.mktemp("elsewhere"))
    patch.setenv("GRADIO_SERVER_NAME", "127.0.0.1")
    demo = app.build_demo()
    _, local, _ = demo.launch(**app.launch_options(), prevent_thread_lock=True, quiet=True)
    yield local
    demo.close()
    patch.undo()
    gc.collect()  # what is left unclosed complains now, while that is expected


SCREENSHOTS = Path(__file__).parents[1] / "artifacts" / "screenshots"


@contextmanager
def visited(url: str, width: int = 390, theme: str = "light") -> Iterator[tuple[Any, Any]]:
    """A page on which the app is open, by default of a phone's width, and Playwright's `expect`.

    At the end, where the page is photographed, nothing was asked of anyone else, no script has failed, and the page is
    no wider than the window.
    """
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api")
    off = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic")
    playwright.expect.set_options(timeout=20_000)  # a busy machine answers late
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--no-first-run", *off]
        )
        page = browser.new_page(viewport={"width": width, "height": 844})
        requests: list[str] = []
        errors: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{url}?__theme={theme}")
        try:
            yield page, playwright.expect
        finally:
            test = re.sub(r"\W+", "-", os.environ["PYTEST_CURRENT_TEST"].split("::")[-1].split(" ")[0]).strip("-")
            SCREENSHOTS.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=SCREENSHOTS / f"{test}-{width}-{theme}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert [r for r in requests if not r.startswith((url, "data:", "blob:"))] == []
        assert [r for r in requests if "ffmpeg" in r] == []  # 30 MB of it
        assert errors == []
        browser.close()


@pytest.fixture(scope="module")
def matching_models() -> Iterator[None]:
    """The models of `offered`, and the network by which references are compared."""
    reference._matcher()  # of which the weights are there before they are hidden
    with offered():
        yield


@pytest.fixture
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept of the pictures that visitors touch up is the test's own."""
    monkeypatch.setattr(touching, "_kept", Kept(64 << 20, 16))
    monkeypatch.setattr(touching, "leave", touching._kept.drop)
