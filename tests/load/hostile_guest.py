"""A guest who sends the app what it likes, looks where it has no business, and leaves in the middle."""

import json
import secrets
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import av
import httpx
from app_server import AppServer
from PIL import Image

Image.MAX_IMAGE_PIXELS = None

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "multipart/form-data; boundary=hostile"}
TOLD = 4  # picture or clip, model, style, saturation
DEFAULTS = {"colorize": (None, None)}  # temperature, working size
FILES = ("image", "video", "file", "gallery", "imageslider", "imageeditor", "uploadbutton", "audio", "html")


class Outcome(NamedTuple):
    """How a request ended: ``"done"`` with the size of the answer, or ``"refused"`` with the message."""

    kind: str
    text: str = ""
    size: tuple[int, int] | None = None


class Guest:
    """A client that sends what it likes: by HTTP, and without Gradio's client, which would not.

    Args:
        server: To be visited.
        limit: Seconds that it may take to answer.
    """

    def __init__(self, server: AppServer, limit: float) -> None:
        self.server, self.limit = server, limit
        self.http = httpx.Client(base_url=f"{server.url}/gradio_api", timeout=limit, trust_env=False)

    def upload(self, name: str, data: bytes) -> str | Outcome:
        """The path that the server gives to a file, or its refusal."""
        raw = name.encode("utf-8", "surrogateescape").replace(b"\\", b"\\\\").replace(b'"', b'\\"')
        answer = self.http.post("/upload", content=_multipart(raw, data), headers=FORM)
        if answer.status_code != 200:
            return Outcome("refused", f"HTTP {answer.status_code}: {answer.text}")
        paths = answer.json()
        if not paths:
            return Outcome("refused", "HTTP 200: no file was taken")
        return str(paths[0])

    def call(self, endpoint: str, arguments: Any) -> Outcome:
        """What an endpoint answers; to four arguments of one that takes more, its defaults are added."""
        if len(arguments) == TOLD:
            arguments = [*arguments, *DEFAULTS.get(endpoint, ())]
        joined = self.http.post(f"/call/{endpoint}", content=json.dumps({"data": arguments}), headers=JSON)
        if joined.status_code != 200:
            return Outcome("refused", f"HTTP {joined.status_code}: {joined.text[:300]}")
        event, begin = "", time.monotonic()
        with self.http.stream("GET", f"/call/{endpoint}/{joined.json()['event_id']}") as stream:
            for line in stream.iter_lines():
                if time.monotonic() - begin > self.limit:
                    raise TimeoutError
                if line.startswith("event: "):
                    event = line.removeprefix("event: ")
                elif line.startswith("data: ") and event in ("complete", "error"):
                    return self._outcome(event, json.loads(line.removeprefix("data: ")))
        return Outcome("refused", "the answer broke off")

    def _outcome(self, event: str, data: Any) -> Outcome:
        if event == "error":
            return Outcome("refused", str(data.get("error") if isinstance(data, dict) else data))
        return Outcome("done", size=self._size(data[0]))

    def _size(self, file: dict[str, Any]) -> tuple[int, int]:
        """Of the picture or the clip in an answer."""
        answer = self.http.get(f"/file={quote(file['path'])}")
        with tempfile.NamedTemporaryFile() as copy:
            copy.write(answer.content)
            copy.flush()
            if Path(file["path"]).suffix == ".png":
                with Image.open(copy.name) as image:
                    image.load()
                    return image.size
            with av.open(f"file:{copy.name}") as film:
                frame = next(film.decode(video=0))
                return frame.width, frame.height

    def every_function(self, picture: Any) -> Iterator[tuple[str, Callable[[], Outcome]]]:
        """Calls of all functions that take files, those that are in no list too, with ``picture`` wherever one goes."""
        config = self.http.get(f"{self.server.url}/config").json()
        kinds = {component["id"]: component["type"] for component in config["components"]}
        for function in config["dependencies"]:
            inputs = [kinds[number] for number in function["inputs"]]
            if function["backend_fn"] and set(inputs) & set(FILES):
                arguments = [picture if kind in FILES else None for kind in inputs]
                yield (
                    f"function {function['id']}, {function['api_name']}",
                    partial(self._join, function["id"], arguments),
                )

    def post(self, route: str, headers: dict[str, str], body: Any) -> Outcome:
        """The answer to what is sent to a route."""
        answer = self.http.post(f"/{route}", content=json.dumps(body), headers=headers)
        return Outcome("done" if answer.status_code < 400 else "refused", f"HTTP {answer.status_code}: {answer.text}")

    def _join(self, function: int, arguments: list[Any]) -> Outcome:
        body = {"fn_index": function, "session_hash": secrets.token_hex(8), "data": arguments}
        joined = self.http.post("/queue/join", json=body)
        if joined.status_code != 200:
            return Outcome("refused", f"HTTP {joined.status_code}: {joined.text[:300]}")
        with self.http.stream("GET", "/queue/data", params={"session_hash": body["session_hash"]}) as stream:
            for line in stream.iter_lines():
                message = json.loads(line.removeprefix("data: ") or "{}")
                if message.get("msg") == "process_completed":
                    return Outcome("done" if message["success"] else "refused", str(message["output"])[:300])
        return Outcome("refused", "the answer broke off")


def _multipart(name: bytes, data: bytes) -> bytes:
    head = b'--hostile\r\nContent-Disposition: form-data; name="files"; filename="' + name + b'"\r\n\r\n'
    return head + data + b"\r\n--hostile--\r\n"


def file(path: Any, **more: Any) -> dict[str, Any]:
    """A file as Gradio's clients name it."""
    return {"path": path, "meta": {"_type": "gradio.FileData"}, **more}


def get(guest: Guest, address: str) -> Outcome:
    """The answer to a GET whose path is sent as it is."""
    host = httpx.URL(guest.server.url)
    with socket.create_connection((host.host, host.port or 80), guest.limit) as line:
        line.settimeout(guest.limit)
        line.sendall(f"GET {address} HTTP/1.1\r\nHost: {host.host}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while part := line.recv(65536):
            answer += part
            if len(answer) > 1 << 20:
                break
    head, _, body = answer.partition(b"\r\n\r\n")
    code = int(head.split()[1])
    refused = code >= 400 or b"event: error" in body
    return Outcome("refused" if refused else "done", f"HTTP {code}: {body[:200].decode(errors='replace')}")


def leavers(guest: Guest, picture: Any, clip: Any) -> Iterator[tuple[str, Callable[[], Outcome]]]:
    """Guests who leave in the middle."""
    host = httpx.URL(guest.server.url)

    def half_an_upload() -> Outcome:
        body = _multipart(b"half.jpg", bytes(5_000_000))
        with socket.create_connection((host.host, host.port or 80)) as line:
            head = f"POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
            line.sendall(f"{head}Content-Type: {FORM['Content-Type']}\r\n\r\n".encode() + body[:3_000_000])
            time.sleep(0.5)
        return Outcome("done")

    def call_and_leave(endpoint: str, argument: dict[str, Any], listen: bool) -> Callable[[], Outcome]:
        def work() -> Outcome:
            body = {"data": [argument, "fusion", "", 1.0, *DEFAULTS.get(endpoint, ())]}
            event = guest.http.post(f"/call/{endpoint}", json=body).json()["event_id"]
            if listen:
                with suppress(httpx.TimeoutException):
                    guest.http.get(f"/call/{endpoint}/{event}", timeout=0.2)
            return Outcome("done")

        return work

    for n in range(3):
        yield f"half an upload, {n}", half_an_upload
        yield f"a picture and gone, {n}", call_and_leave("colorize", picture, listen=False)
        yield f"a picture, listening, and gone, {n}", call_and_leave("colorize", picture, listen=True)
        yield f"a clip and gone, {n}", call_and_leave("video", clip, listen=False)
        yield f"a clip, listening, and gone, {n}", call_and_leave("video", clip, listen=True)
