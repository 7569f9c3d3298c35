"""Hundreds of hostile uploads, options and addresses against the running app. Not run by CI.

python tests/load/hostile.py [--only WORDS] [--limit 30] [--out FILE]

Each has to end, within the limit of seconds, with a message of the app that a visitor understands or, where the file is
odd but legal, with a result of the right size; the app has to answer afterwards, and nothing may be left behind but
uploads in Gradio's cache, which deletes them by age. Prints JSON with a table of name -> outcome, and ends with 1 where
anything was otherwise. Only 127.0.0.1 is asked, by this script; that the app asks nobody else is not seen from here.
"""

import argparse
import json
import os
import re
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import av
import hostile_clips
import hostile_pictures
import httpx
from app_server import MB, ROOT, AppServer, machine, running, tree
from hostile_pictures import Upload, encoded
from PIL import Image

Image.MAX_IMAGE_PIXELS = None
PATIENCE = 100  # seconds for what is at work to end, and for remains to be swept
EVERY = 5  # cases between two looks at the server's health
LONGEST = 400  # characters of a message that is still read
# What no visitor should read: bugs, Gradio's own words for them, folders and code of the server.
OPAQUE = re.compile(
    r"went wrong on our side|Could not preprocess|Traceback|Internal Server Error|object has no attribute|"
    r"site-packages|\.py\b|Errno|0x[0-9a-f]{6}|<class|NoneType|[a-f0-9]{40}"
)


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
        """What an endpoint answers."""
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


JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "multipart/form-data; boundary=hostile"}


def _multipart(name: bytes, data: bytes) -> bytes:
    head = b'--hostile\r\nContent-Disposition: form-data; name="files"; filename="' + name + b'"\r\n\r\n'
    return head + data + b"\r\n--hostile--\r\n"


class Report:
    """The table, and what in it must not be."""

    def __init__(self) -> None:
        self.table: dict[str, str] = {}
        self.violations: list[str] = []
        self.slowest: list[tuple[float, str]] = []

    def add(self, name: str, work: Callable[[], Outcome], judge: Callable[[Outcome], str]) -> None:
        """Do the ``work`` and write down how it ended; ``judge`` says what is wrong with that."""
        begin = time.monotonic()
        try:
            outcome = work()
            wrong = judge(outcome)
            words = f"{outcome.kind}: {outcome.text or outcome.size}"
        except (TimeoutError, httpx.TimeoutException):
            wrong, words = "no answer within the limit", "no answer"
        except Exception as error:
            wrong = words = f"{type(error).__name__}: {error}"
        while name in self.table:
            name += "'"
        self.table[name] = words[: LONGEST + 100]
        self.slowest = sorted([*self.slowest, (round(time.monotonic() - begin, 1), name)])[-8:]
        if wrong:
            self.violations.append(f"{name}: {wrong} ({words[:LONGEST]})")


def clear(message: str) -> str:
    """What is wrong with a message for a visitor; empty where nothing is."""
    if not message or message == "None":
        return "it says nothing"
    if OPAQUE.search(message):
        return "it is not for visitors"
    return "it is too long" if len(message) > LONGEST else ""


def judged(upload: Upload, named: str, outcome: Outcome) -> str:
    """What is wrong with how the upload of a file ended; it is ``named`` so on the server."""
    if outcome.kind == "done":
        if upload.may == "refuse":
            return "it was taken"
        return f"the size should be {upload.size}" if upload.size and outcome.size != upload.size else ""
    if upload.may == "done":
        return "it was refused"
    if outcome.text.startswith("HTTP 4"):
        return clear(outcome.text)
    names = (named[:60], repr(named)[1:50], f"{Path(named).stem[:60]}-")  # or that of what was made of it
    of_the_file = any(name in outcome.text for name in names)
    return clear(outcome.text) or ("" if of_the_file else "it does not name the file")


def send(guest: Guest, report: Report, endpoint: str, upload: Upload, model: str) -> None:
    """A file, through the endpoint."""
    named = ""

    def work() -> Outcome:
        nonlocal named
        path = guest.upload(upload.file, upload.data)
        if isinstance(path, Outcome):
            return path
        named = Path(path).name
        return guest.call(endpoint, [file(path), model, "", 1.0])

    report.add(f"{endpoint}: {upload.name}", work, lambda outcome: judged(upload, named, outcome))


def file(path: Any, **more: Any) -> dict[str, Any]:
    """A file as Gradio's clients name it."""
    return {"path": path, "meta": {"_type": "gradio.FileData"}, **more}


def options(picture: dict[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    """Arguments that are wrong, with a good picture."""
    long = "x" * 100_000
    names = ("", None, "../x", "local-dir:/etc", "hf-hub:a/b", "grayscale", "fusion:vivid", "fusion.long", "fusion\n")
    for model in (*names, long, "__class__", "🙂", 5, True, ["fusion"], {"a": 1}):
        yield f"model {str(model)[:20]!r}", [picture, model, "faithful", 1.0]
    for style in ("nonsense", 5, ["faithful"], "faithful:vivid", long, {"a": "b"}, "../../x"):
        yield f"style {str(style)[:20]!r}", [picture, "fusion", style, 1.0]
    for saturation in (float("nan"), float("inf"), float("-inf"), 1e9, -1, "abc", "1.5", [1], {}, 1e308, 10**400):
        yield f"saturation {str(saturation)[:20]!r}", [picture, "fusion", "", saturation]


def legal_options(picture: dict[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    """Arguments that look odd and mean something."""
    yield "style None", [picture, "fusion", None, 1.0]
    yield "saturation -0.0", [picture, "fusion", "", -0.0]
    yield "saturation 2", [picture, "fusion", "vivid", 2]


def files_of_others(server: AppServer) -> Iterator[tuple[str, Any]]:
    """What is not the guest's to name as a picture: files of the machine, addresses, things of the wrong type."""
    outside = server.cache.parent / "outside.jpg"
    outside.write_bytes(encoded("JPEG"))
    outside.with_suffix(".mp4").write_bytes(hostile_clips.clip())
    link_local, itself = "http://169.254.169.254/latest/meta-data/", f"{server.url}/config"
    paths = (
        *(str(outside), str(outside.with_suffix(".mp4")), f"{server.cache}/../outside.jpg", str(ROOT / "demo/app.py")),
        *("/etc/passwd", "/proc/self/environ", "/dev/zero", "demo/app.py", "../demo/app.py", str(server.log), "."),
        *(str(server.cache), "file:///etc/passwd", link_local, itself, "http://[::1]/x.png", "http://0x7f000001/x.png"),
        *("", "\0", "/etc/passwd\0.png", "x" * 100_000, 5, None),
    )
    for path in paths:
        yield f"path {str(path)[-40:]!r}", file(path)
        yield f"path {str(path)[-40:]!r} without meta", {"path": path}
    for address in (link_local, itself, "http://127.0.0.1:9/x.png", "file:///etc/passwd", "gopher://x", "data:,x"):
        yield f"url {address[:40]!r}", {"url": address, "meta": {"_type": "gradio.FileData"}}
        yield f"url {address[:40]!r} with a path", file("x.png", url=address)
    for value in ("/etc/passwd", 5, [], {}, [file("/etc/passwd")], True, {"meta": {"_type": "gradio.FileData"}}):
        yield f"picture {str(value)[:40]!r}", value


def addresses(server: AppServer) -> Iterator[str]:
    """What is not to be had from the server."""
    for path in (
        *("/etc/passwd", "//etc/passwd", "../../../../etc/passwd", "%2fetc%2fpasswd", "..%2f..%2fetc%2fpasswd"),
        *(str(ROOT / "demo/app.py"), str(ROOT / "zoo/weights/MANIFEST.toml"), "demo/app.py", f"{ROOT}/demo/examples"),
        *(f"{ROOT}/demo/examples/../app.py", str(server.cache), f"{server.cache}/../app.log", str(server.log)),
        *(f"{server.cache}/..%2fapp.log", "/proc/self/environ", "/proc/self/cmdline", "/etc/passwd%00.png", "%00", ""),
        *(
            "file:///etc/passwd",
            "http://169.254.169.254/",
            f"{server.url}/config",
            "http://localhost/",
            "http://[::1]/",
        ),
        *("http://0x7f000001/", "http://2130706433/", "C:\\x"),
    ):
        yield f"/gradio_api/file={path}"
    api = "/gradio_api"
    yield from (f"{api}/file/etc/passwd", f"{api}/proxy=http://169.254.169.254/", f"{api}/stream/a/b/c/playlist.m3u8")
    yield from (f"{api}/custom_component/a/b/c/d", f"{api}/monitoring", f"{api}/call/unknown/x", f"{api}/call/video/x")
    yield from ("/static/../../../../etc/passwd", "/assets/..%2f..%2f..%2fetc/passwd", "/svelte/../../app.py")
    yield from ("/theme/../../etc/passwd", "/.env", "/.git/config")


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
            body = {"data": [argument, "fusion", "", 1.0]}
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


def run(server: AppServer, limit: float, only: str) -> dict[str, Any]:
    """The whole visit; ``only`` what has those words in its name, where there are some."""
    report, guest = Report(), Guest(server, limit)
    picture = file(guest.upload("good.jpg", encoded("JPEG")))
    clip = file(guest.upload("good.mp4", hostile_clips.clip(frames=60)))
    guest.call("colorize", [picture, "fusion", "", 1.0])  # loads the model
    guest.call("video", [clip, "fusion", "", 1.0])
    begin = server.sample()

    def refused(outcome: Outcome) -> str:
        return "it was taken" if outcome.kind != "refused" else ""

    def refused_clearly(outcome: Outcome) -> str:
        return refused(outcome) or clear(outcome.text)

    def works() -> Iterator[Callable[[], None]]:
        for endpoint, uploads in (("colorize", hostile_pictures.uploads()), ("video", hostile_clips.uploads())):
            for upload in uploads:
                if only in upload.name:
                    yield lambda e=endpoint, u=upload: send(guest, report, e, u, "fusion")  # type: ignore[misc]
        jobs: list[tuple[str, Callable[[], Outcome], Callable[[Outcome], str]]] = []
        for endpoint, good in (("colorize", picture), ("video", clip)):
            for name, arguments in options(good):
                jobs.append((f"{endpoint}: {name}", lambda e=endpoint, a=arguments: guest.call(e, a), refused_clearly))  # type: ignore[misc]
            for name, arguments in legal_options(good):
                jobs.append((f"{endpoint}: {name}", lambda e=endpoint, a=arguments: guest.call(e, a), taken))  # type: ignore[misc]
            for name, value in files_of_others(server):
                arguments = [value, "fusion", "", 1.0]
                jobs.append((f"{endpoint}: {name}", lambda e=endpoint, a=arguments: guest.call(e, a), refused))  # type: ignore[misc]
            for n in (0, 1, 3, 10):
                jobs.append((f"{endpoint}: {n} arguments", lambda e=endpoint, a=[good] * n: guest.call(e, a), refused))  # type: ignore[misc]
        for address in addresses(server):
            jobs.append((f"GET {address}", lambda a=address: get(guest, a), refused))  # type: ignore[misc]
        jobs += [(f"left: {name}", work, taken) for name, work in leavers(guest, picture, clip)]
        for job in jobs:
            if only in job[0]:
                yield lambda j=job: report.add(*j)  # type: ignore[misc]

    def taken(outcome: Outcome) -> str:
        return "" if outcome.kind == "done" else "it was refused"

    for n, work in enumerate(works()):
        work()
        if n % EVERY == 0 and not server.alive(limit):
            report.violations.append(f"after {list(report.table)[-1]}: the app does not answer")
            if server.process.poll() is not None:
                break
    return finished(server, report, begin)


def finished(server: AppServer, report: Report, begin: Any) -> dict[str, Any]:
    """The report, with what is left of it all."""
    limit = time.monotonic() + PATIENCE
    while server.temporary_files() and time.monotonic() < limit:
        time.sleep(1)  # what guests who left have started ends
    strays = [entry for entry in server.cache.iterdir() if entry.is_file()]
    broken_off = len(strays)
    for stray in strays:  # as if they had been there for an hour: the app removes what has not grown for a while
        os.utime(stray, (0, 0))
    while any(stray.exists() for stray in strays) and time.monotonic() < limit:
        time.sleep(1)
    strays = [stray for stray in strays if stray.exists()]
    alive, end = server.alive(), server.sample()
    left = server.left()
    zombies = [pid for pid in tree(server.process.pid) if _state(pid) == "Z"]
    wrong = {
        "it does not answer at the end": not alive,
        f"left for good: {left['temporary']}": len(server.temporary_files()),
        "uploads that broke off and stay": len(strays),
        "zombies": len(zombies),
        "processes more than at the beginning": max(0, end.processes - begin.processes),
        "open files more than at the beginning": max(0, end.files - begin.files - 10),
        "threads more than at the beginning": max(0, end.threads - begin.threads - 40),  # those of Gradio's pool
    }
    report.violations += [f"{what}: {value}" for what, value in wrong.items() if value]
    return {
        "cases": len(report.table),
        "outcomes": dict(Counter(words.partition(":")[0] for words in report.table.values())),
        "violations": report.violations,
        "memory_mb": {
            "begin": round(begin.rss / MB, 1), "end": round(end.rss / MB, 1), "peak": server.peak_rss()
        },
        "threads": {"begin": begin.threads, "end": end.threads},
        "open_files": {"begin": begin.files, "end": end.files},
        "slowest_seconds": report.slowest[::-1],
        "left": left,
        "uploads_that_broke_off": {"found": broken_off, "after_the_sweep": len(strays)},
        "tracebacks": dict(Counter(server.tracebacks())),
        "table": report.table,
    }  # fmt: skip


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def main() -> int:
    """Start, visit, report; 1 where something was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="cases whose names have this in them")
    parser.add_argument("--limit", type=float, default=30, help="seconds for each")
    parser.add_argument("--out", type=Path, help="a file for the JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, running(Path(name)) as server:
        report = run(server, arguments.limit, arguments.only)
        report["sigterm"] = server.stop()
        report["left_after_sigterm"] = server.left()
    report["machine"] = machine()
    text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
    sys.stdout.write(text.encode("utf-8", "replace").decode())
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8", errors="replace")
    return 1 if report["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
