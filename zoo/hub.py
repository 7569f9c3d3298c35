"""Files from the network: the Hugging Face Hub through its own client, and other addresses; used only when right.

The client accepts wrong bytes of the right length, so that every file is hashed here. Tokens are its business alone:
they come from where it keeps them, and what it says is shown without addresses' signatures.
"""

import errno
import logging
import re
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from zoo.digests import is_digest, verify_announced, verify_sha256
from zoo.errors import WeightsError
from zoo.locks import locked
from zoo.spec import WEIGHTS_DIR, WeightsSpec

CONFIG_FILE, STATE_FILE = "config.json", "model.safetensors"
PICKLES = (".bin", ".pth", ".pt", ".ckpt", ".pkl", ".pickle")
_CODE = (".py", ".pyc", ".so", ".dll")
_CONNECT, _LOOK, _ANSWER = 4.0, 2.0, 10.0  # seconds to wait for a connection; for an answer when looking; for answers

_log = logging.getLogger(__name__)
_COMMIT = re.compile(r"[0-9a-f]{40}\Z")
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
_FULL = "make room on the disk, or set HF_HOME to a folder with more"
_READ_ONLY = "the cache cannot be written: set HF_HOME to a folder that can"
_DISK = {errno.ENOSPC: _FULL, errno.EDQUOT: _FULL} | dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), _READ_ONLY)


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


def cached(repo_id: str, revision: str, filename: str, folder: Path | None = None) -> Path | None:
    """A file of a repository in huggingface_hub's cache, or that in ``folder``; None: not there. Asks no network."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(repo_id, filename, revision=revision, cache_dir=folder)
    except HFValidationError:
        return None
    except OSError as error:
        raise hub_error(f"hf-hub:{repo_id}@{revision}: {filename}", error) from error
    return Path(found) if isinstance(found, str) else None


def cached_commits(repo_id: str) -> list[str]:
    """The commits of a repository of which ``config.json`` lies in huggingface_hub's cache."""
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE) / f"models--{repo_id.replace('/', '--')}" / "snapshots"
    return sorted(path.parent.name for path in folder.glob(f"*/{CONFIG_FILE}"))


def download(repo_id: str, revision: str, filename: str, sha256: str | None, folder: Path | None = None) -> Path:
    """A file of a repository on the Hub, from the local cache or else from the network, checked.

    A file that fails the check is thrown away and fetched once more. Of several processes one does so; the others
    wait for it.

    Args:
        repo_id: OWNER/REPO.
        revision: A 40-digit commit; a cached file of it is found without asking the network.
        filename: Its path in the repository.
        sha256: What it must hash to; None is what the Hub says of it.
        folder: A cache of the caller's own; None is huggingface_hub's.

    Raises:
        WeightsError: It cannot be had, or is not what was expected.
    """
    where = f"hf-hub:{repo_id}@{revision}: {filename}"
    place = (repo_id, revision, filename)
    path = cached(*place, folder)
    if path is not None and _is_right(path, sha256, place):
        return path
    from huggingface_hub import constants

    locks = Path(constants.HF_HUB_CACHE) / ".locks" / "colorzoo"
    with locked(locks, f"{repo_id}@{revision}/{filename}"):
        path = cached(*place, folder)  # by now perhaps another process has brought it
        if path is not None:
            if _is_right(path, sha256, place):
                return path
            _throw_away(path, where)
        for last in (False, True):
            path = _fetch(*place, where, folder, force=last)
            try:
                _verify(path, sha256, place)
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
    """Delete a file, in huggingface_hub's cache or elsewhere, and what it is a link to.

    Raises:
        WeightsError: It cannot be deleted.
    """
    try:
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)
    except OSError as error:
        raise WeightsError(f"{path} cannot be deleted", found=error.strerror, remedy="delete it by hand") from error


def hub_error(where: str, error: Exception) -> WeightsError:
    """What a user can do about what the client raised; without secrets that addresses and headers may hold."""
    names = [cls.__name__ for cls in type(error).__mro__]
    status = getattr(getattr(error, "response", None), "status_code", None)
    other = "log in with `hf auth login`, with a token that may do so" if status in (401, 403) else "try again later"
    if isinstance(error, OSError):
        other = _DISK.get(error.errno or 0, other)
    remedy = next((text for name, text in _REMEDIES.items() if name in names), other)
    lines = str(error).strip().splitlines()
    said = _SECRET.sub("...", lines[0]) if lines else ""
    return WeightsError(_SECRET.sub("...", where), found=f"{names[0]}: {said}", remedy=remedy)


def _is_right(path: Path, sha256: str | None, place: tuple[str, str, str]) -> bool:
    try:
        _verify(path, sha256, place)
    except WeightsError:
        return False
    return True


def _verify(path: Path, sha256: str | None, place: tuple[str, str, str]) -> None:
    if sha256 is not None:
        verify_sha256(path, sha256)
    elif announced := _announced(path, place):
        verify_announced(path, announced)


def _announced(path: Path, place: tuple[str, str, str]) -> str | None:
    """What the Hub says the content of a cached file is; None, and a warning, where that cannot be found out."""
    name = path.resolve().name  # the cache names what its links lead to by what the Hub announced
    if is_digest(name):
        return name
    kept = home() / "announced" / quote("@".join(place), safe="")  # where the cache has no links, asked for once
    try:
        if is_digest(known := kept.read_text(encoding="ascii").strip()):
            return known
    except (OSError, ValueError):
        pass
    repo_id, revision, filename = place
    try:
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        etag = get_hf_file_metadata(hf_hub_url(repo_id, filename, revision=revision), timeout=_timeout()).etag
    except Exception as error:
        said = hub_error(f"{path} cannot be checked: the Hub cannot be asked what it is", error)
        _log.warning("%s; %s", said.what, said.found)
        return None
    if etag is None or not is_digest(etag):
        _log.warning("%s cannot be checked: its server does not say what it hashes to", path)
        return None
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(etag, encoding="ascii")
    except OSError as error:
        _log.debug("%s: %s", kept, error)  # it is asked for again
    return etag


def _throw_away(path: Path, where: str) -> None:
    _log.warning("%s is not what was expected and is thrown away", where)
    forget(path)


def _fetch(repo_id: str, revision: str, filename: str, where: str, folder: Path | None, *, force: bool) -> Path:
    try:
        from huggingface_hub import hf_hub_download, hf_hub_url

        _reach(hf_hub_url(repo_id, filename, revision=revision))
        return Path(hf_hub_download(repo_id, filename, revision=revision, cache_dir=folder, force_download=force))
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
