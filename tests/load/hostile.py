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
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import hostile_clips
import hostile_pictures
import httpx
from app_server import MB, AppServer, machine, running, tree
from hostile_guest import Guest, Outcome, file, get, leavers
from hostile_pictures import Upload, encoded
from hostile_requests import addresses, files_of_others, legal_options, options, ways_around

PATIENCE = 100  # seconds for what is at work to end, and for remains to be swept
EVERY = 5  # cases between two looks at the server's health
LONGEST = 400  # characters of a message that is still read
# What no visitor should read: bugs, Gradio's own words for them, folders and code of the server.
OPAQUE = re.compile(
    r"went wrong on our side|Could not preprocess|Traceback|Internal Server Error|object has no attribute|"
    r"site-packages|\.py\b|Errno|0x[0-9a-f]{6}|<class|NoneType|[a-f0-9]{40}"
)


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


class Case(NamedTuple):
    """What is done, and what is wrong with how it ended, if anything."""

    name: str
    work: Callable[[], Outcome]
    judge: Callable[[Outcome], str]


def cases(guest: Guest, picture: dict[str, Any], clip: dict[str, Any]) -> Iterator[Case]:
    """All of them; ``picture`` and ``clip`` are good."""
    for endpoint, uploads in (("colorize", hostile_pictures.uploads()), ("video", hostile_clips.uploads())):
        for upload in uploads:
            yield sent(guest, endpoint, upload)
    for endpoint, good in (("colorize", picture), ("video", clip)):
        for name, arguments in options(good):
            yield Case(f"{endpoint}: {name}", partial(guest.call, endpoint, arguments), refused_clearly)
        for name, arguments in legal_options(good):
            yield Case(f"{endpoint}: {name}", partial(guest.call, endpoint, arguments), taken)
        for name, value in files_of_others(guest.server):
            yield Case(f"{endpoint}: {name}", partial(guest.call, endpoint, [value, "fusion", "", 1.0]), refused)
        for n in (0, 1, 3, 10):
            yield Case(f"{endpoint}: {n} arguments", partial(guest.call, endpoint, [good] * n), refused)
    for name, work in guest.every_function({"path": str(guest.server.cache.parent / "outside.jpg")}):
        yield Case(f"{name}: a file of others", work, refused)
    for name, *request in ways_around(guest.server):
        yield Case(f"POST {name}", partial(guest.post, *request), refused_clearly)
    for address in addresses(guest.server):
        yield Case(f"GET {address}", partial(get, guest, address), refused)
    for name, work in leavers(guest, picture, clip):
        yield Case(f"left: {name}", work, taken)


def sent(guest: Guest, endpoint: str, upload: Upload) -> Case:
    """A file, through the endpoint."""
    named = ""

    def work() -> Outcome:
        nonlocal named
        path = guest.upload(upload.file, upload.data)
        if isinstance(path, Outcome):
            return path
        named = Path(path).name
        return guest.call(endpoint, [file(path), "fusion", "", 1.0])

    return Case(f"{endpoint}: {upload.name}", work, lambda outcome: judged(upload, named, outcome))


def taken(outcome: Outcome) -> str:
    """What is wrong where there should be a result."""
    return "" if outcome.kind == "done" else "it was refused"


def refused(outcome: Outcome) -> str:
    """What is wrong where there should be none."""
    return "" if outcome.kind == "refused" else "it was taken"


def refused_clearly(outcome: Outcome) -> str:
    """What is wrong where there should be a message for a visitor."""
    return refused(outcome) or clear(outcome.text)


def run(server: AppServer, limit: float, only: str) -> dict[str, Any]:
    """The whole visit; ``only`` what has those words in its name, where there are some."""
    report, guest = Report(), Guest(server, limit)
    picture = file(guest.upload("good.jpg", encoded("JPEG")))
    clip = file(guest.upload("good.mp4", hostile_clips.clip(frames=60)))
    guest.call("colorize", [picture, "fusion", "", 1.0])  # loads the model
    guest.call("video", [clip, "fusion", "", 1.0])
    begin = server.sample()
    for n, case in enumerate(case for case in cases(guest, picture, clip) if only in case.name):
        report.add(*case)
        if n % EVERY == 0 and not server.alive(limit):
            report.violations.append(f"after {case.name}: the app does not answer")
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
