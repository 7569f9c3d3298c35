"""What the app lets in: its own routes alone, files that were uploaded, uploads and jobs within limits."""

import asyncio
import json
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from PIL import Image
from visiting import AppError, Client, gr, handle_file, launched, offered, running

from demo import app, fairness, limits, models, refusals, uploads
from zoo.models.grayscale import Grayscale

pytestmark = running


class Slow(Grayscale):
    """Takes its time, as long as there is nobody to let it go."""

    held = True

    def predict_ab(self, L: Any, **options: Any) -> Any:
        until = time.monotonic() + 60
        while Slow.held and time.monotonic() < until:
            time.sleep(0.02)
        return super().predict_ab(L, **options)


@pytest.fixture(scope="module")
def url(tmp_path_factory: Any) -> Iterator[str]:
    with offered(slow=Slow), launched(tmp_path_factory) as url:
        yield url


@pytest.fixture(autouse=True)
def unbelieving(monkeypatch: Any) -> None:
    """What was measured in another test, with other limits, is not believed."""
    monkeypatch.setattr(uploads, "_FRESH", 0)


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def picture(tmp_path_factory: Any) -> Path:
    path = tmp_path_factory.mktemp("sent") / "picture.png"
    Image.linear_gradient("L").save(path)
    return Path(path)


def _upload(http: httpx.Client, *files: tuple[str, Any]) -> httpx.Response:
    return http.post("gradio_api/upload", files=[("files", file) for file in files])


def _number(http: httpx.Client, name: str) -> int:
    functions = http.get("config").json()["dependencies"]
    return int(next(function["id"] for function in functions if function["api_name"] == name))


def _used() -> int:
    return sum(path.stat().st_size for path in Path(uploads.get_upload_folder()).rglob("*") if path.is_file())


# Files that are not the visitor's


@pytest.mark.parametrize(
    "kind",
    [
        *("application/json", "application/JSON", "APPLICATION/json; charset=utf-8", "application/vnd.api+json"),
        *("text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "", None),
    ],
)
def test_no_other_files_are_read_whatever_a_request_is_called(
    http: httpx.Client, tmp_path: Path, kind: str | None
) -> None:
    Image.new("L", (8, 6), 90).save(tmp_path / "secret.png")
    headers = {} if kind is None else {"content-type": kind}
    for more in ({}, {"meta": {}}, {"meta": {"_type": "gradio.FileData"}}):
        call = {"data": [{"path": str(tmp_path / "secret.png"), **more}, "tint", "", 1.0, None, None, 1]}
        for route in ("call/colorize", "call/v2/colorize", "queue/join", "run/colorize", "call/colorize/"):
            body = {**call, "session_hash": "x", "fn_index": _number(http, "colorize")}
            for encoding in ("utf-8", "utf-16"):
                answer = http.post(f"gradio_api/{route}", content=json.dumps(body).encode(encoding), headers=headers)
                assert (answer.status_code, answer.json()["detail"][:28]) == (403, "This file was not uploaded. ")


def test_what_is_not_json_or_too_long_is_refused(http: httpx.Client) -> None:
    deep = b"[" * 100_000
    form = b'--x\r\nContent-Disposition: form-data; name="data"\r\n\r\n{"path": "/etc/passwd"}\r\n--x--\r\n'
    for body in (b"path=/etc/passwd", form, deep, b"\xff\xff", b'{"data": [' + b"9" * 5000 + b"]}"):
        answer = http.post("gradio_api/call/colorize", content=body)
        assert (answer.status_code, answer.json()["detail"]) == (400, "The request is not JSON.")
    answer = http.post("gradio_api/queue/join", content=b" " * (limits.REQUEST_MEGABYTES * 2**20 + 1))
    assert (answer.status_code, answer.json()["detail"]) == (413, limits.REQUESTS_SIZE)
    assert http.post("gradio_api/call/colorize").status_code == 422


def test_nothing_is_fetched_from_elsewhere(http: httpx.Client) -> None:
    for address in ("http://192.0.2.1/a.png", "HTTPS://192.0.2.1/a.png"):  # of no machine
        answer = http.get(f"gradio_api/file={address}")
        assert (answer.status_code, answer.json()["detail"][:17]) == (403, "This app fetches ")


# Routes


def test_routes_that_the_app_does_not_need_are_closed(http: httpx.Client, url: str) -> None:
    for path in (
        *("gradio_api/deep_link?session_hash=x", "gradio_api/vibe-code", "gradio_api/vibe-code/", "monitoring"),
        *("monitoring/summary", "gradio_api/dev/reload", "gradio_api/token", "gradio_api/runs", "openapi.json"),
        *("gradio_api/custom_component/a/client/b/c", "gradio_api/proxy=https://x.hf.space/", "logout", "pwa_icon"),
        *("gradio_api/file//etc/passwd", "gradio_api/stream/a/b/c/playlist.m3u8", "gradio_api/profiling/traces"),
    ):
        assert http.get(path).status_code == 404, path
    for path in (
        "vibe-edit",
        "undo-vibe-edit/",
        "vibe-code",
        "vibe-starter-queries",
        "component_server",
        "api/colorize",
    ):
        answer = http.post(f"gradio_api/{path}", json={})
        assert (answer.status_code, answer.json()["detail"]) == (404, "This app has nothing there."), path
    for path in ("gradio_api/process_recording", "gradio_api/stream/x", "gradio_api/run-history/connect", "login"):
        assert http.post(path, json={}).status_code == 404, path
    with socket.create_connection(("127.0.0.1", httpx.URL(url).port or 80)) as line:  # as no client would write it
        line.sendall(b"GET /gradio_api/./deep_link HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b" 404 " in line.recv(1000)
    for path in ("", "config", "theme.css", "gradio_api/info", "gradio_api/queue/status", "gradio_api/startup-events"):
        assert http.get(path).status_code == 200, path


def test_colored_is_by_the_queue_alone(http: httpx.Client) -> None:
    blocks = app.build_demo()
    queued = {name for function in blocks.fns.values() if function.queue and (name := function.api_name)}
    assert {"colorize", "compare", "video", "report"} <= queued
    assert "tell" not in queued
    for name in queued:
        by_name = http.post(f"gradio_api/run/{name}", json={"data": []})
        by_number = http.post("gradio_api/run/predict", json={"data": [], "fn_index": _number(http, name)})
        assert (by_name.status_code, by_number.status_code) == (404, 404), name
    assert http.post("gradio_api/run/models", json={"data": []}).status_code == 200
    for route in ("run/nothing", "call/nothing", "call/v2/nothing"):
        answer = http.post(f"gradio_api/{route}", json={"data": []})
        assert answer.status_code == 404
    for number in (None, "5", 9999, -1, [1]):
        body = {"data": [], "session_hash": "x", "fn_index": number}
        answer = http.post("gradio_api/queue/join", json=body)
        assert (answer.status_code, answer.json()["detail"][:29]) == (404, "This app has no such function")


def test_the_endpoints_work(url: str, picture: Path) -> None:
    client = Client(url, verbose=False)
    assert Image.open(client.predict(handle_file(picture), "tint", api_name="/colorize")).size == (256, 256)
    assert client.predict(api_name="/models")["headers"]


# Uploads


def test_an_upload_may_have_so_many_files_and_bytes(http: httpx.Client, monkeypatch: Any) -> None:
    small = [(f"{n}.txt", b"x") for n in range(limits.UPLOAD_FILES + 1)]
    assert len(_upload(http, *small[:-1]).json()) == limits.UPLOAD_FILES
    folder = Path(uploads.get_upload_folder())
    before = set(folder.iterdir())
    answer = _upload(http, *[(name, b"another") for name, _ in small])
    assert (answer.status_code, answer.text) == (413, limits.UPLOADS)
    monkeypatch.setattr(limits, "UPLOAD_MEGABYTES", 1)
    answer = _upload(http, ("a", bytes(700_000)), ("b", bytes(700_000)))
    assert (answer.status_code, answer.text) == (413, limits.UPLOADS)

    def chunks() -> Iterator[bytes]:  # of which no header says how many
        yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="c"\r\n\r\n'
        for _ in range(20):
            yield bytes(100_000)
        yield b"\r\n--x--\r\n"

    answer = http.post(
        "gradio_api/upload", content=chunks(), headers={"content-type": "multipart/form-data; boundary=x"}
    )
    assert (answer.status_code, answer.text) == (413, limits.UPLOADS)
    assert set(folder.iterdir()) == before


def test_only_files_are_uploaded(http: httpx.Client) -> None:
    answer = http.post("gradio_api/upload", data={"files": "x" * 1000}, files={"files": b"x"})
    assert (answer.status_code, answer.text) == (400, "Only files can be uploaded.")
    for kind in ("multipart/form-data", "text/plain"):
        assert http.post("gradio_api/upload", content=b"x", headers={"content-type": kind}).status_code == 400


def test_what_would_fill_the_cache_is_refused(http: httpx.Client, monkeypatch: Any, caplog: Any) -> None:
    monkeypatch.setattr(limits, "UPLOAD_MEGABYTES", 1)
    used = _used()
    assert _upload(http, ("first", bytes(900_000))).status_code == 200
    monkeypatch.setattr(limits, "CACHE_GIGABYTES", (used + 2**20) / 2**30)
    answer = _upload(http, ("second", bytes(900_001)))  # the first is too young to go
    assert (answer.status_code, answer.text) == (507, limits.FULL)
    monkeypatch.setattr(uploads, "_EVERY", 0)
    assert _upload(http, ("second", bytes(900_001))).status_code == 200
    monkeypatch.setattr(limits, "CACHE_GIGABYTES", 8)
    monkeypatch.setattr(limits, "FREE_GIGABYTES", 1e9)
    assert _upload(http, ("third", b"x")).status_code == 507


def test_uploads_at_the_same_time_fill_no_more_than_there_is(http: httpx.Client, url: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(limits, "UPLOAD_MEGABYTES", 1)
    monkeypatch.setattr(limits, "CACHE_GIGABYTES", (_used() + 1_500_000) / 2**30)
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="c"\r\n\r\n'
    lines, answers = [], []
    for n in range(2):  # each has room when it begins
        line = socket.create_connection(("127.0.0.1", httpx.URL(url).port or 80))
        request = f"POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\nContent-Length: {len(head) + 900_009}\r\n"
        request += "Connection: close\r\nContent-Type: multipart/form-data; boundary=x\r\n\r\n"
        line.sendall(request.encode() + head + bytes([n]))
        lines.append(line)
        time.sleep(0.3)
    for line in lines:
        line.sendall(bytes(899_999) + b"\r\n--x--\r\n")
        time.sleep(0.3)
        with line:
            answers.append(line.recv(100).split()[1])
    assert sorted(answers) == [b"200", b"507"]


# The queue


def test_a_visitor_gets_no_more_than_so_many_places(http: httpx.Client, url: str, picture: Path) -> None:
    models.named.cache_clear()
    Slow.held = True
    path = _upload(http, ("picture.png", picture.read_bytes())).json()[0]
    number = _number(http, "colorize")

    def ask(session: str) -> httpx.Response:
        data = [{"path": path, "meta": {"_type": "gradio.FileData"}}, "slow", "", 1.0, None, None, 1]
        return http.post("gradio_api/queue/join", json={"data": data, "session_hash": session, "fn_index": number})

    async def ask_together(session: str, many: int) -> list[int]:
        data = [{"path": path, "meta": {"_type": "gradio.FileData"}}, "slow", "", 1.0, None, None, 1]
        body = {"data": data, "session_hash": session, "fn_index": number}
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as client:
            asked = (client.post("gradio_api/queue/join", json=body) for _ in range(many))
            return [answer.status_code for answer in await asyncio.gather(*asked)]

    try:
        with closing(asyncio.new_event_loop()) as loop:
            codes = loop.run_until_complete(ask_together("one", limits.JOBS + 3))
        assert sorted(codes) == [200] * limits.JOBS + [429] * 3
        refused = ask("one")
        assert (refused.status_code, refused.json()["detail"]) == (429, limits.JOBS_REACHED)
        assert ask("another").status_code == 200
        assert http.post("gradio_api/run/models", json={"data": []}).status_code == 200  # which needs none
    finally:
        Slow.held = False
    until = time.monotonic() + 60
    while ask("one").status_code != 200:
        assert time.monotonic() < until
        time.sleep(0.1)


def _event(session: str, client: str, forwarded: str = "", kind: str = fairness.HEAVY) -> Any:
    headers = [(b"x-forwarded-for", forwarded.encode())] if forwarded else []
    scope = {"client": (client, 1), "headers": headers}
    function = SimpleNamespace(concurrency_id=kind)
    return SimpleNamespace(session_hash=session, fn=function, request=SimpleNamespace(scope=scope))


def _refusal(events: list[Any], new: Any) -> str | None:
    waiting, running = events[::2], events[1::2]
    queue = SimpleNamespace(
        event_queue_per_concurrency_id={"model": SimpleNamespace(queue=waiting)}, active_jobs=[None, running]
    )
    return fairness.refusal(SimpleNamespace(_queue=queue), new.fn, new.session_hash, new.request.scope)


def test_places_are_counted_by_session_and_by_address() -> None:
    many = [_event("one", "127.0.0.1") for _ in range(limits.JOBS)]
    assert _refusal(many, _event("one", "127.0.0.1")) == limits.JOBS_REACHED
    assert _refusal(many[1:], _event("one", "127.0.0.1")) is None
    assert _refusal(many, _event("two", "127.0.0.1")) is None
    assert _refusal(many, _event("one", "127.0.0.1", kind="light")) is None
    light = [_event("one", "127.0.0.1", kind="light") for _ in range(limits.REQUESTS - limits.JOBS)]
    assert _refusal(many + light, _event("one", "127.0.0.1", kind="light")) == limits.REQUESTS_REACHED
    household = [_event(f"s{n}", "8.8.8.8") for n in range(limits.REQUESTS_OF_ADDRESS)]
    assert _refusal(household, _event("new", "8.8.8.8")) == limits.ADDRESS_REACHED
    assert _refusal(household, _event("new", "10.0.0.1", "1.2.3.4, 8.8.8.8")) == limits.ADDRESS_REACHED
    assert _refusal(household, _event("new", "8.8.4.4")) is None
    assert limits.REQUESTS_OF_ADDRESS < limits.QUEUE


@pytest.mark.parametrize(
    ("client", "forwarded", "expected"),
    [
        ("127.0.0.1", "", None),
        ("::1", "", None),
        ("8.8.8.8", "", "8.8.8.8"),
        ("8.8.8.8", "1.1.1.1", "8.8.8.8"),  # nobody's proxy
        ("127.0.0.1", "1.1.1.1", "1.1.1.1"),
        ("10.1.2.3", "9.9.9.9, 1.1.1.1, 10.0.0.4", "1.1.1.1"),  # the first is the visitor's own
        ("192.168.0.7", "", "192.168.0.7"),
        ("127.0.0.1", "nonsense", None),
        ("2a00:1450:4001:80b::200e", "", "2a00:1450:4001:80b::/64"),
        ("2a00:1450:4001:80b::1", "", "2a00:1450:4001:80b::/64"),
    ],
)
def test_an_address_is_that_of_the_visitor(client: str, forwarded: str, expected: str | None) -> None:
    assert fairness.address(_event("", client, forwarded).request.scope) == expected
    assert fairness.address({"client": None, "headers": []}) is None


# Bugs


def test_whatever_is_raised_becomes_a_number(tmp_path_factory: Any, monkeypatch: Any, caplog: Any) -> None:
    def broken(value: Any) -> Any:
        raise KeyError("/secret/place")

    def steps() -> Iterator[str]:
        yield "first"
        raise RuntimeError("/secret/step")

    def build() -> Any:
        with refusals.Blocks(analytics_enabled=False) as demo:
            text, bad, worse = gr.Textbox(), gr.Textbox(), gr.Textbox()
            bad.preprocess = worse.postprocess = broken
            gr.Button().click(lambda value: value, bad, text, api_name="before")
            gr.Button().click(lambda value: value, text, worse, api_name="after")
            gr.Button().click(steps, None, text, api_name="steps")
        return demo.queue(api_open=False)

    monkeypatch.setattr(app, "build_demo", build)
    with caplog.at_level(logging.WARNING), launched(tmp_path_factory) as url:
        client = Client(url, verbose=False)
        for name, arguments in (("before", ["x"]), ("after", ["x"]), ("steps", [])):
            with pytest.raises(AppError) as error:
                client.predict(*arguments, api_name=f"/{name}")
            words = str(error.value)
            assert words.startswith(refusals.NOT_UNDERSTOOD if name == "before" else "Something went wrong on our side")
            reference = words.split()[-1].rstrip(".")
            assert any(reference in record.getMessage() and record.exc_info for record in caplog.records), name
            assert "secret" not in words
