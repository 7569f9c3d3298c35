"""Where weights come from: the package, or the Hugging Face Hub; used only when their sha256 is right."""

import hashlib
import logging
import re
from pathlib import Path

from zoo.errors import WeightsError
from zoo.spec import WEIGHTS_DIR, WeightsSpec

_log = logging.getLogger(__name__)
_COMMIT = re.compile(r"[0-9a-f]{40}\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_REMEDIES = {  # the first that fits; by name, because importing the library is put off until it is needed
    "GatedRepoError": "ask for access on its page, then log in with `hf auth login`",
    "RepositoryNotFoundError": "check the name; a private repository needs `hf auth login`",
    "RevisionNotFoundError": "check the commit",
    "RemoteEntryNotFoundError": "the repository holds no such file: is it one of colorzoo's?",
    "LocalEntryNotFoundError": "it is not in the cache: go online once (HF_HUB_OFFLINE unset), or use 'local-dir:PATH'",
    "OfflineModeIsEnabled": "unset HF_HUB_OFFLINE, or name a commit that is in the cache: 'hf-hub:OWNER/REPO@COMMIT'",
    "HFValidationError": "a repository's name is OWNER/REPO",
}


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


def verify_sha256(path: Path, expected: str) -> None:
    """Refuse a file whose content is not the expected.

    Raises:
        WeightsError: The file hashes to something else, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read", found=error.strerror) from error
    if found != expected:
        raise WeightsError(
            f"{path} has the wrong sha256",
            found=found,
            expected=expected,
            remedy="it is damaged or not the file it is taken for, and is not used",
        )


def resolve(repo_id: str, revision: str | None = None) -> str:
    """The 40-digit commit that ``revision`` (None: the main branch) of a repository is at now.

    Raises:
        WeightsError: The Hub does not know it or cannot be asked.
    """
    if revision is not None and _COMMIT.match(revision):
        return revision
    try:
        from huggingface_hub import HfApi

        commit = HfApi().model_info(repo_id, revision=revision).sha
    except Exception as error:
        raise _hub_error(f"hf-hub:{repo_id}: no commit of {revision or 'main'}", error) from error
    if commit is None:
        raise WeightsError(f"hf-hub:{repo_id}: the Hub names no commit", remedy=f"write 'hf-hub:{repo_id}@COMMIT'")
    _log.warning("hf-hub:%s is not pinned; this is hf-hub:%s@%s", repo_id, repo_id, commit)
    return commit


def download(repo_id: str, revision: str, filename: str, sha256: str | None) -> Path:
    """A file of a repository on the Hub, from the local cache or else from the network, checked.

    A file that fails the check is thrown away and fetched once more.

    Args:
        repo_id: OWNER/REPO.
        revision: A 40-digit commit; a cached file of it is found without asking the network.
        filename: Its path in the repository.
        sha256: What it must hash to; None is what the Hub says of it, which it does for large files only.

    Raises:
        WeightsError: It cannot be had, or is not what was expected.
    """
    where = f"hf-hub:{repo_id}@{revision}: {filename}"
    problem: WeightsError
    for force in (False, True):
        path = _fetch(repo_id, revision, filename, where, force)
        blob = path.resolve()
        # The cache names a large file by the sha256 that the Hub announced.
        expected = sha256 or (blob.name if _SHA256.match(blob.name) else None)
        try:
            if expected is not None:
                verify_sha256(path, expected)
            return path
        except WeightsError as error:
            problem = error
            blob.unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            _log.warning("%s has the wrong sha256 and is thrown away", where)
    raise problem


def _fetch(repo_id: str, revision: str, filename: str, where: str, force: bool) -> Path:
    try:
        from huggingface_hub import hf_hub_download

        return Path(hf_hub_download(repo_id, filename, revision=revision, force_download=force))
    except Exception as error:  # whatever the library, its transports and the disk raise
        raise _hub_error(where, error) from error


def _hub_error(where: str, error: Exception) -> WeightsError:
    names = [cls.__name__ for cls in type(error).__mro__]
    remedy = next((text for name, text in _REMEDIES.items() if name in names), "try again later")
    lines = str(error).strip().splitlines()
    return WeightsError(where, found=f"{names[0]}: {lines[0] if lines else ''}", remedy=remedy)
