"""For all tests: no network, fixed seeds, two threads, a registry that can be written to, made-up pictures."""

import atexit
import os
import random
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

# Read by libraries when they are imported, and inherited by the processes that tests start.
os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="colorzoo-")  # not where `colorzoo bench` keeps what is fastest here
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import torch
from hub_server import HubServer, point_client_at, serving

from zoo import contract, registry
from zoo.colorizer import Colorizer
from zoo.spec import WeightsSpec

torch.set_num_threads(min(2, torch.get_num_threads()))
atexit.register(shutil.rmtree, os.environ["HF_HOME"], ignore_errors=True)


def pytest_configure(config: pytest.Config) -> None:
    if "network" in config.option.markexpr and "not network" not in config.option.markexpr:
        del os.environ["HF_HUB_OFFLINE"]
        return
    _refuse_network()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    reasons = {}
    if "HF_HUB_OFFLINE" in os.environ:
        reasons["network"] = "the default run is offline; run with -m network"
    if not torch.cuda.is_available():
        reasons["gpu"] = "no GPU"
    for item in items:
        for mark, reason in reasons.items():
            if item.get_closest_marker(mark):
                item.add_marker(pytest.mark.skip(reason=reason))


def _refuse_network() -> None:
    """Connections and look-ups beyond this machine fail the test, past any `except Exception` on their way."""
    local = {None, "", "localhost", "0.0.0.0", "::1", "::", socket.gethostname()}

    def check(host: Any) -> None:
        host = host.decode() if isinstance(host, bytes) else host
        if host not in local and not str(host).startswith("127."):
            pytest.fail(f"a test reaches for the network: {host}")

    def guarded(method: Callable[..., Any]) -> Callable[..., Any]:
        def connect(self: socket.socket, address: Any) -> Any:
            if self.family in (socket.AF_INET, socket.AF_INET6):
                check(address[0])
            return method(self, address)

        return connect

    look_up = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        check(host)
        return look_up(host, *args, **kwargs)

    socket.socket.connect = guarded(socket.socket.connect)  # type: ignore[method-assign]
    socket.socket.connect_ex = guarded(socket.socket.connect_ex)  # type: ignore[method-assign]
    socket.getaddrinfo = getaddrinfo


@pytest.fixture(autouse=True)
def _seeds() -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  for libraries that still draw from it
    torch.manual_seed(0)


@pytest.fixture
def registry_sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The registry with everything in it, as it was again after the test."""
    registry.list_models()
    before = dict(registry._models)
    yield
    registry._models.clear()
    registry._models.update(before)


@pytest.fixture
def make_picture() -> Callable[..., npt.NDArray[Any]]:
    """`make_picture(height, width, dtype="uint8", seed=0)`: a made-up colour picture, (H, W, 3) sRGB."""

    def make(height: int, width: int, dtype: str = "uint8", seed: int = 0) -> npt.NDArray[Any]:
        rgb = contract.picture(height, width, seed)
        return rgb if dtype == "float32" else (rgb * np.iinfo(dtype).max).round().astype(dtype)

    return make


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A Hub on this machine that huggingface_hub asks, with its caches in ``tmp_path / "home"``."""
    with serving() as started:
        point_client_at(started.url, tmp_path / "home", monkeypatch)
        yield started


@pytest.fixture
def tiny() -> Colorizer[Any]:
    """A `regression` of the smallest configuration, whose weights half precision holds exactly."""
    return contract.maker("regression")().half().float()


@pytest.fixture
def register(tiny: Colorizer[Any], registry_sandbox: None) -> Callable[..., WeightsSpec]:
    """`register(repo_id=..., sha256=...)`: weights ``far`` of `regression` that fit `tiny`, its only ones."""

    def add(**place: Any) -> WeightsSpec:
        spec, cls = registry.find("regression")
        known = {"tag": "far", "sha256": None, "size_bytes": None, "license": "CC0-1.0", "commercial_use": True}
        weights = WeightsSpec(**known, training_data=("made up",), source_url=None, config=tiny.config)
        weights = replace(weights, **place)
        registry._models["regression"] = (replace(spec, weights=(weights,)), cls)
        registry.check(registry.find("regression")[0])
        return weights

    return add
