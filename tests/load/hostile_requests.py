"""What guests ask for that is not theirs: wrong arguments, files of the machine, addresses."""

from collections.abc import Iterator
from typing import Any

import hostile_clips
from app_server import ROOT, AppServer
from hostile_guest import file
from hostile_pictures import encoded


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


def ways_around(server: AppServer) -> Iterator[tuple[str, str, dict[str, str], Any]]:
    """Ways to name a file of the machine that are not an endpoint's own: route, headers, body, each with a name."""
    outside = {"path": str(server.cache.parent / "outside.jpg")}
    call = {"data": [outside, "fusion", "", 1.0, None, None], "session_hash": "around", "fn_index": 9}
    kinds = ("application/JSON", "application/vnd.api+json", "text/plain", "", "multipart/form-data; boundary=x")
    for route in ("call/colorize", "call/v2/colorize", "queue/join", "run/colorize", "run/predict", "api/colorize"):
        for kind in kinds:
            yield f"{route} as {kind!r}", route, {"Content-Type": kind}, call
    part = {"data": {"path": "/etc/passwd"}, "component_id": 1, "fn_name": "load", "session_hash": "around"}
    for route in (
        "component_server",
        "vibe-edit",
        "vibe-code",
        "process_recording",
        "stream/around",
        "run-history/connect",
    ):
        yield route, route, {"Content-Type": "application/json"}, part


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
    yield from (f"{api}/deep_link?session_hash=x", f"{api}/vibe-code", f"{api}/token", "/monitoring", "/openapi.json")
    yield from ("/theme/../../etc/passwd", "/.env", "/.git/config")
