"""Files from the network: the Hugging Face Hub through its own client, and other addresses; used only when right.

The client accepts wrong bytes of the right length, so that every file is hashed here. Tokens are its business alone:
they come from where it keeps them, and what it says is shown without addresses' signatures.
"""

import hashlib
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from zoo.errors import WeightsError
from zoo.spec import WEIGHTS_DIR, WeightsSpec

CONFIG_FILE, STATE_FILE = "config.json", "model.safetensors"
PICKLES = (".bin", ".pth", ".pt", ".ckpt", ".pkl", ".pickle")
_CODE = (".py", ".pyc", ".so", ".dll")
_CONNECT, _LOOK, _ANSWER = 4.0, 2.0, 10.0  # seconds to wait for a connection; for an answer when looking; for answers

_log = logging.getLogger(__name__)
_COMMIT = re.compile(r"[0-9a-f]{40}\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_HUB_FILE = re.compile(
    r"https://(?:huggingface\.co|hf\.co)/([\w.-]+/[\w.-]+)/(?:resolve|blob|raw)/([^/?#]+)/([^?#]+)(?:\?download=true)?"
)
_SECRET = re.compile(r"\bhf_\w+|(?<=\?)[^\s'\")]+|(?i:\bbearer\s+)\S+")
_NO_NETWORK = "check the connection (HTTPS_PROXY, HF_ENDPOINT), or bring the files by hand: 'local-dir:PATH'"
_REMEDIES = {  # the first that fits; by name, because importing the library is put off until it is needed
    "GatedRepoError": "ask for access on its page, then log in with `hf auth login`",
    "RepositoryNotFoundError": "check the name; a private repository needs `hf auth login`",
    "RevisionNotFoundError": "check the commit",
    "RemoteEntryNotFoundError": "the repository holds no such file: is it one of colorzoo's?",
    "OfflineModeIsEnabled": "it is not in the cache: go online once (HF_HUB_OFFLINE unset), or use 'local-dir:PATH'",
    "LocalEntryNotFoundError": "it is not in the cache: go online once (HF_HUB_OFFLINE unset), or use 'local-dir:PATH'",
    "HFValidationError": "a repository's name is OWNER/REPO",
    "ConnectError": _NO_NETWORK,
    "ConnectTimeout": _NO_NETWORK,
    "ProxyError": _NO_NETWORK,
}


class HubFile(NamedTuple):
    """A file of a repository on the Hub."""

    repo_id: str
    revision: str  # a commit, or a branch
    filename: str


def packaged_path(weights: WeightsSpec) -> Path:
    """The file of weights that come with the package.

    Raises:
        WeightsError: It is not there.
    """
    path = WEIGHTS_DIR / str(weights.packaged)
    if not path.is_file():
        raise WeightsError(
            f"packaged weights {weights.tag!r} are missing",
            expected=path,
            remedy="reinstall the package, or train and package them",
        )
    return path


def has_packaged(weights: WeightsSpec) -> bool:
    """Whether the file of weights that come with the package is there; it is not read."""
    return (WEIGHTS_DIR / str(weights.packaged)).is_file()


def sha256_of(path: Path) -> str:
    """The sha256 of a file's content, 64 hex digits.

    Raises:
        WeightsError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read", found=error.strerror) from error


def verify_sha256(path: Path, expected: str) -> str:
    """Refuse a file whose content is not the expected; returns its sha256.

    Args:
        path: The file.
        expected: 64 hex digits, or as many of the first as are known.

    Raises:
        WeightsError: The file hashes to something else, or cannot be read.
    """
    found = sha256_of(path)
    if not found.startswith(expected):
        raise WeightsError(
            f"{path} has the wrong sha256",
            found=found,
            expected=expected if len(expected) == 64 else f"{expected}...",
            remedy="it is damaged or not the file it is taken for, and is not used",
        )
    return found


def home() -> Path:
    """The folder for what colorzoo itself keeps, in the folder of huggingface_hub's caches (HF_HOME)."""
    from huggingface_hub import constants

    return Path(constants.HF_HOME) / "colorzoo"


def file_at(url: str) -> HubFile | None:
    """The file of a repository that an address on the Hub means; None where it is no such address."""
    match = _HUB_FILE.fullmatch(url)
    return HubFile(*match.groups()) if match else None


def is_commit(revision: str | None) -> bool:
    """Whether a revision is the 40 digits of a commit, which stay what they are."""
    return revision is not None and _COMMIT.match(revision) is not None


def resolve(repo_id: str, revision: str | None = None) -> str:
    """The 40-digit commit that ``revision`` (None: the main branch) of a repository is at now.

    Raises:
        WeightsError: The Hub does not know it or cannot be asked.
    """
    if revision is not None and is_commit(revision):
        return revision
    where = f"hf-hub:{repo_id}: no commit of {revision or 'main'}"
    try:
        from huggingface_hub import HfApi

        commit = HfApi().model_info(repo_id, revision=revision, timeout=_timeout()).sha
    except Exception as error:
        said = hub_error(where, error)
        here = [f"'hf-hub:{repo_id}@{each}'" for each in cached_commits(repo_id)]
        if here and _is_unreachable(error):
            said = WeightsError(where, found=said.found, remedy=f"in the cache is {' and '.join(here)}")
        raise said from error
    if commit is None:
        raise WeightsError(f"hf-hub:{repo_id}: the Hub names no commit", remedy=f"write 'hf-hub:{repo_id}@COMMIT'")
    _log.warning("hf-hub:%s is not pinned; this is hf-hub:%s@%s", repo_id, repo_id, commit)
    return commit


def check_repository(repo_id: str, revision: str) -> None:
    """Refuse a repository that does not hold a model of colorzoo and nothing to run, before a file of it is fetched.

    Raises:
        WeightsError: It holds code, or a pickle in place of safetensors, or no ``config.json``; or cannot be asked.
    """
    where = f"hf-hub:{repo_id}@{revision}"
    try:
        from huggingface_hub import HfApi

        siblings = HfApi().model_info(repo_id, revision=revision, timeout=_timeout()).siblings or []
    except Exception as error:
        raise hub_error(where, error) from error
    names = sorted(sibling.rfilename for sibling in siblings)
    check_files(names, where)


def check_files(names: list[str], where: str) -> None:
    """Refuse what a repository or folder holds, by the names of its files.

    Raises:
        WeightsError: Code, or a pickle in place of safetensors, or no ``config.json``.
    """
    expected = f"{CONFIG_FILE} and {STATE_FILE}"
    if code := [name for name in names if name.endswith(_CODE)]:
        raise WeightsError(
            f"{where} holds code, which is not run",
            found=_few(code),
            expected=f"{expected}, and nothing to run",
            remedy="a network of its own comes as a plug-in package",
        )
    if STATE_FILE not in names and (pickles := [name for name in names if name.endswith(PICKLES)]):
        raise WeightsError(
            f"{where} holds a pickle, which is not opened",
            found=_few(pickles),
            expected=expected,
            remedy="load it where it was trained and save it with model.save(PATH), or "
            "`colorzoo convert FILE --as NAME` where it is one that colorzoo lists",
        )
    if missing := [name for name in (CONFIG_FILE, STATE_FILE) if name not in names]:
        raise WeightsError(
            f"{where} holds no {missing[0]}",
            found=_few(names) or "no files",
            expected=expected,
            remedy="is it one of colorzoo's?",
        )


def cached(repo_id: str, revision: str, filename: str) -> Path | None:
    """A file of a repository where it lies in huggingface_hub's cache; None where it does not. Asks no network."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(repo_id, filename, revision=revision)
    except HFValidationError:
        return None
    return Path(found) if isinstance(found, str) else None


def cached_commits(repo_id: str) -> list[str]:
    """The commits of a repository of which ``config.json`` lies in huggingface_hub's cache."""
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE) / f"models--{repo_id.replace('/', '--')}" / "snapshots"
    return sorted(path.parent.name for path in folder.glob(f"*/{CONFIG_FILE}"))


def download(repo_id: str, revision: str, filename: str, sha256: str | None) -> Path:
    """A file of a repository on the Hub, from the local cache or else from the network, checked.

    A file that fails the check is thrown away and fetched once more. Of several processes one does so; the others
    wait for it.

    Args:
        repo_id: OWNER/REPO.
        revision: A 40-digit commit; a cached file of it is found without asking the network.
        filename: Its path in the repository.
        sha256: What it must hash to; None is what the Hub says of it, which it does for large files only.

    Raises:
        WeightsError: It cannot be had, or is not what was expected.
    """
    where = f"hf-hub:{repo_id}@{revision}: {filename}"
    path = cached(repo_id, revision, filename)
    if path is not None and _is_right(path, sha256):
        return path
    from huggingface_hub import constants

    with locked(Path(constants.HF_HUB_CACHE) / ".locks" / "colorzoo", f"{repo_id}@{revision}/{filename}"):
        path = cached(repo_id, revision, filename)  # by now perhaps another process has brought it
        if path is not None:
            if _is_right(path, sha256):
                return path
            _throw_away(path, where)
        for last in (False, True):
            path = _fetch(repo_id, revision, filename, where, force=last)
            try:
                _verify(path, sha256)
                return path
            except WeightsError:
                _throw_away(path, where)
                if last:
                    raise
    raise AssertionError  # the second turn returns or raises


def fetch(url: str, target: Path, *, resume: bool) -> None:
    """Download from an address that is not the Hub's; no token goes there.

    Args:
        url: http or https.
        target: Where to; what is not yet whole lies beside it, with ``.part`` added to its name.
        resume: Whether to go on from such a part; else it is begun anew.

    Raises:
        WeightsError: It cannot be had.
    """
    part = target.with_name(f"{target.name}.part")
    try:
        from huggingface_hub.file_download import http_get

        target.parent.mkdir(parents=True, exist_ok=True)
        if not resume:
            part.unlink(missing_ok=True)
        _reach(url)
        headers = {"Accept-Encoding": "identity"}
        with part.open("ab") as file:
            http_get(url, file, resume_size=file.tell(), headers=headers, displayed_filename=target.name)
        part.replace(target)
    except Exception as error:
        if resume and getattr(getattr(error, "response", None), "status_code", None) == 416:  # the part is no part
            return fetch(url, target, resume=False)
        raise hub_error(url, error) from error


def forget(path: Path) -> None:
    """Delete a file, in huggingface_hub's cache or elsewhere, and what it is a link to."""
    path.resolve().unlink(missing_ok=True)
    path.unlink(missing_ok=True)


@contextmanager
def locked(folder: Path, name: str) -> Iterator[None]:
    """Keep other processes, and threads, from what ``name`` stands for; ``folder`` holds the lock.

    Raises:
        WeightsError: The folder cannot be written.
    """
    from filelock import FileLock

    lock = FileLock(folder / f"{quote(name, safe='')}.lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise WeightsError(f"{folder} cannot be written", found=error.strerror, remedy="set HF_HOME") from error
    try:
        yield
    finally:
        lock.release()


def hub_error(where: str, error: Exception) -> WeightsError:
    """What a user can do about what the client raised; without secrets that addresses and headers may hold."""
    names = [cls.__name__ for cls in type(error).__mro__]
    status = getattr(getattr(error, "response", None), "status_code", None)
    other = "log in with `hf auth login`, with a token that may do so" if status in (401, 403) else "try again later"
    remedy = next((text for name, text in _REMEDIES.items() if name in names), other)
    lines = str(error).strip().splitlines()
    said = _SECRET.sub("...", lines[0]) if lines else ""
    return WeightsError(_SECRET.sub("...", where), found=f"{names[0]}: {said}", remedy=remedy)


def _is_right(path: Path, sha256: str | None) -> bool:
    try:
        _verify(path, sha256)
    except WeightsError:
        return False
    return True


def _verify(path: Path, sha256: str | None) -> None:
    name = path.resolve().name  # the cache names a large file by the sha256 that the Hub announced
    expected = sha256 or (name if _SHA256.match(name) else None)
    if expected is not None:
        verify_sha256(path, expected)


def _throw_away(path: Path, where: str) -> None:
    _log.warning("%s has the wrong sha256 and is thrown away", where)
    forget(path)


def _fetch(repo_id: str, revision: str, filename: str, where: str, *, force: bool) -> Path:
    try:
        from huggingface_hub import hf_hub_download, hf_hub_url

        _reach(hf_hub_url(repo_id, filename, revision=revision))
        return Path(hf_hub_download(repo_id, filename, revision=revision, force_download=force))
    except Exception as error:  # whatever the library, its transports and the disk raise
        raise hub_error(where, error) from error


def _reach(url: str) -> None:
    """Find out at once that there is no connection: the client would try again for half a minute."""
    from huggingface_hub import get_session

    try:
        get_session().head(url, timeout=(_CONNECT, _LOOK, _LOOK, _LOOK), follow_redirects=False)
    except Exception as error:
        if _is_unreachable(error):
            raise
        _log.debug("%s answers HEAD with %s", url, type(error).__name__)  # slow: the client has patience


def _is_unreachable(error: Exception) -> bool:
    names = {cls.__name__ for cls in type(error).__mro__}
    return bool(names & {"ConnectError", "ConnectTimeout", "ProxyError", "OfflineModeIsEnabled", "UnsupportedProtocol"})


def _timeout() -> float:
    return _CONNECT, _ANSWER, _ANSWER, _ANSWER  # type: ignore[return-value]  # declared a float, and handed on to a client that takes both


def _few(names: list[str], limit: int = 5) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
