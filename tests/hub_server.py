"""A small server that speaks the Hugging Face Hub's protocol, for huggingface_hub's own client on this machine."""

import base64
import hashlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

TOKEN = "hf_testtokenOfNobody"  # what it takes for a token


@dataclass
class Repository:
    """Commits, the newest last: 40 digits and the files, by path."""

    commits: list[tuple[str, dict[str, bytes]]] = field(default_factory=list)
    gated: bool = False
    private: bool = False

    def add(self, files: dict[str, bytes]) -> str:
        """A commit of these files and all before; its digits."""
        every = {**(self.commits[-1][1] if self.commits else {}), **files}
        contents = sorted((name, _oid(data)) for name, data in every.items())
        digest = hashlib.sha1(repr((len(self.commits), contents)).encode()).hexdigest()
        self.commits.append((digest, every))
        return digest

    def at(self, revision: str) -> dict[str, bytes] | None:
        """The files of a commit, or of ``main``."""
        if revision == "main":
            return self.commits[-1][1] if self.commits else {}
        return next((files for commit, files in self.commits if commit == revision), None)


@dataclass
class HubServer:
    """What it holds, how it misbehaves, and what it was asked.

    Attributes:
        url: Its address.
        repositories: By OWNER/REPO.
        plain: Files at ``/plain/NAME``, as a server that is no Hub has them.
        spoiled: By file name, how many times it goes out with its last byte wrong.
        cut: By file name, after how many bytes the connection breaks, the first time.
        delay: Seconds before each answer.
        lfs: Whether weights come by git's protocol for large files, as the Hub itself wants, rather than in the commit.
        large: What came so, by its sha256.
        says: Text of errors, by error code; it is what the Hub adds in a header.
        requests: All of them, method and path.
        tokens: Of those with one, by path.
    """

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    plain: dict[str, bytes] = field(default_factory=dict)
    spoiled: dict[str, int] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    delay: float = 0.0
    lfs: bool = False
    large: dict[str, bytes] = field(default_factory=dict)
    says: dict[str, str] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def fetched(self) -> list[str]:
        """The names of the files whose bytes were asked for, one for each time."""
        got = [request for request in self.requests if request.startswith("GET")]
        return [r.rsplit("/", 1)[1] for r in got if "/resolve/" in r or "/plain/" in r]

    def add(self, repo_id: str, files: dict[str, bytes]) -> str:
        """A commit to a repository, which is made where there is none; its 40 digits."""
        return self.repositories.setdefault(repo_id, Repository()).add(files)

    def environment(self, home: Path) -> dict[str, str]:
        """For a process that is to ask this server, and keep its caches in ``home``."""
        own = {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }
        return {**{k: v for k, v in os.environ.items() if not k.startswith("HF_")}, **own}


def folder_files(folder: Path) -> dict[str, bytes]:
    """A folder's files, as a commit holds them."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextmanager
def serving() -> Iterator[HubServer]:
    """A server on a free port of this machine."""
    hub = HubServer()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def point_client_at(url: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let huggingface_hub ask ``url`` and keep its caches in ``home``; it read its environment when imported."""
    from huggingface_hub import constants

    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.partition("/{repo_id}")[2]
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{url}/{{repo_id}}{template}")
    monkeypatch.setattr(constants, "HF_HOME", str(home))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    monkeypatch.setattr(constants, "HF_STORED_TOKENS_PATH", str(home / "stored_tokens"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # clients may go before the answer comes
            super().handle_error(request, client_address)


def _oid(data: bytes) -> str:
    """What git calls a file with this content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubServer

    def log_message(self, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        data = self._body()
        self.hub.requests.append(f"PUT {self.path}")
        self.hub.large[hashlib.sha256(data).hexdigest()] = data
        self._reply(200, {}, b"")

    def _answer(self) -> None:
        hub = self.hub
        body = self._body()
        path = unquote(urlsplit(self.path).path)
        hub.requests.append(f"{self.command} {path}")
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token:
            hub.tokens[path] = token
        time.sleep(hub.delay)
        if path.startswith("/plain/"):
            return self._file(hub.plain.get(path.removeprefix("/plain/")), path.rsplit("/", 1)[1], {})
        if self.command == "POST":
            return self._written(path, body, token)
        if path.startswith("/api/models/"):
            owner, name, *rest = path.removeprefix("/api/models/").split("/")
            what, revision = rest if rest else ("revision", "main")
            return self._described(f"{owner}/{name}", what, revision, token)
        repo_id, _, rest = path.strip("/").partition("/resolve/")
        revision, _, name = rest.partition("/")
        return self._resolved(repo_id, revision, name, token)

    def _described(self, repo_id: str, what: str, revision: str, token: str) -> None:
        """The answer of ``/api/models/OWNER/REPO[/revision/REVISION]``, or of ``/tree/REVISION``."""
        repository = self.hub.repositories.get(repo_id)
        if repository is None or (repository.private and token != TOKEN):
            return self._refuse(404 if token else 401, "RepoNotFound")
        files = repository.at(revision)
        if files is None:
            return self._refuse(404, "RevisionNotFound")
        commit = revision if revision != "main" else repository.commits[-1][0]
        if what == "tree":
            return self._json([{"type": "file", "path": n, "size": len(d), "oid": _oid(d)} for n, d in files.items()])
        table = {"id": repo_id, "sha": commit, "siblings": [{"rfilename": name} for name in sorted(files)]}
        return self._json(table)

    def _resolved(self, repo_id: str, revision: str, name: str, token: str) -> None:
        """A file."""
        repository = self.hub.repositories.get(repo_id)
        if repository is None or (repository.private and token != TOKEN):
            return self._refuse(404 if token else 401, "RepoNotFound")
        if repository.gated and token != TOKEN:
            return self._refuse(403 if token else 401, "GatedRepo")
        files = repository.at(revision)
        if files is None:
            return self._refuse(404, "RevisionNotFound")
        commit = revision if revision != "main" else repository.commits[-1][0]
        if name not in files:
            return self._refuse(404, "EntryNotFound", {"X-Repo-Commit": commit})
        data = files[name]
        large = name.endswith((".safetensors", ".bin", ".pth"))  # only those are announced with their sha256
        etag = hashlib.sha256(data).hexdigest() if large else _oid(data)
        return self._file(data, name, {"ETag": f'"{etag}"', "X-Repo-Commit": commit})

    def _file(self, data: bytes | None, name: str, headers: dict[str, str]) -> None:
        if data is None:
            return self._reply(404, {}, b"")
        if self.command == "GET" and self.hub.spoiled.get(name, 0) > 0:
            self.hub.spoiled[name] -= 1
            data = data[:-1] + bytes([data[-1] ^ 1])
        first, status, size = 0, 200, len(data)
        if asked := self.headers.get("Range"):
            self.hub.ranges.append(asked)
            first, status = int(asked.removeprefix("bytes=").rstrip("-")), 206
            if first >= size:
                return self._reply(416, {"Content-Range": f"bytes */{size}"}, b"")
            headers = {**headers, "Content-Range": f"bytes {first}-{size - 1}/{size}"}
        return self._reply(status, {**headers, "Accept-Ranges": "bytes"}, data[first:], name)

    def _written(self, path: str, body: bytes, token: str) -> None:
        """The answers to what an upload consists of."""
        if path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        if token != TOKEN:
            return self._refuse(401, "")
        if path == "/api/repos/create":
            asked = json.loads(body)
            repo_id = f"{asked['organization']}/{asked['name']}"
            known = repo_id in self.hub.repositories
            private = asked.get("visibility") == "private" or bool(asked.get("private"))
            self.hub.repositories.setdefault(repo_id, Repository(private=private))
            return self._json({"url": f"{self.hub.url}/{repo_id}"}, 409 if known else 200)
        if path.endswith(".git/info/lfs/objects/batch"):
            objects = [
                {**each, "actions": {"upload": {"href": f"{self.hub.url}/large/{each['oid']}"}}}
                for each in json.loads(body)["objects"]
            ]
            return self._json({"transfer": "basic", "objects": objects})
        repo_id, _, rest = path.removeprefix("/api/models/").partition("/preupload/")
        if rest:
            names = [file["path"] for file in json.loads(body)["files"]]
            large = {name for name in names if self.hub.lfs and name.endswith(".safetensors")}
            files = [
                {"path": name, "uploadMode": "lfs" if name in large else "regular", "shouldIgnore": False, "oid": None}
                for name in names
            ]
            return self._json({"files": files})
        repo_id = path.removeprefix("/api/models/").partition("/commit/")[0]
        lines = [json.loads(line) for line in body.splitlines() if line.strip()]
        sent = {
            line["value"]["path"]: base64.b64decode(line["value"]["content"])
            if line["key"] == "file"
            else self.hub.large[line["value"]["oid"]]
            for line in lines
            if line["key"] in ("file", "lfsFile")
        }
        commit = self.hub.repositories[repo_id].add(sent)
        return self._json(
            {"success": True, "commitUrl": f"{self.hub.url}/{repo_id}/commit/{commit}", "commitOid": commit}
        )

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        whole = bytearray()
        while size := int(self.rfile.readline().split(b";")[0], 16):
            whole += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return bytes(whole)

    def _refuse(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
        said = {"X-Error-Message": self.hub.says[code]} if code in self.hub.says else {}
        self._reply(status, {"X-Error-Code": code, **said, **(headers or {})}, b"")

    def _json(self, table: Any, status: int = 200) -> None:
        self._reply(status, {"Content-Type": "application/json"}, json.dumps(table).encode())

    def _reply(self, status: int, headers: dict[str, str], data: bytes, name: str = "") -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        stop = self.hub.cut.pop(name, None)
        try:
            self.wfile.write(data[:stop])
        except OSError:  # the client has gone
            stop = 0
        if stop is not None:
            self.close_connection = True
