"""Weights brought to this machine, what of them lies in its caches, and their removal."""

import datetime
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import zoo
from zoo import convert, converted, hub, loading, registry
from zoo.converted import Record
from zoo.digests import sha256_of
from zoo.errors import UnknownModelError, WeightsError
from zoo.spec import WeightsSpec

if TYPE_CHECKING:
    from huggingface_hub import HFCacheInfo

PACKAGED, HERE, PULLED = "comes with the package", "was here", "pulled"


class Stored(NamedTuple):
    """Weights in a cache of this machine."""

    name: str  # of registered weights, model and tag; or hf-hub:OWNER/REPO@COMMIT
    kind: str  # "converted", "registered", "repository", or "unfinished"
    size_bytes: int  # 0 where only the record is left
    path: Path
    place: tuple[str, str] | None = None  # repository and commit


def pullable() -> list[str]:
    """The names of all registered weights that do not come with a package, model and tag."""
    found = []
    for name in registry.list_models():
        spec = registry.find(name)[0]
        found += [f"{name}.{w.tag}" for w in spec.weights if not w.parts and w.packaged is None]
    return found


def pull(name: str, *, trust_first_use: bool = False) -> str:
    """Bring weights to this machine; what was done: ``PACKAGED``, ``HERE`` or ``PULLED``.

    Args:
        name: As `zoo.load` takes it; of a model made of others, their weights are brought.
        trust_first_use: Whether to take weights whose whole sha256 is not known here, and record what they are.

    Raises:
        UnknownModelError: No such model or weights.
        WeightsError: They cannot be had, or are not what was expected.
        ConfigError: The configuration of a repository does not fit its model.
    """
    if name.startswith(loading.FOLDER):
        raise WeightsError(f"{name}: a folder is here already", expected="a name as in `colorzoo list`, or hf-hub:...")
    if name.startswith(loading.HUB):
        if loading.is_here(name):
            return HERE
        loading.fetch(name)
        return PULLED
    spec, _, weights = registry.find_weights(name)
    if spec.parts:
        done = {pull(part, trust_first_use=trust_first_use) for part in spec.parts}
        return next(what for what in (PULLED, HERE, PACKAGED) if what in done)
    if weights is not None and weights.convert_from:
        return PULLED if convert.pull(name, trust_first_use=trust_first_use) else HERE
    if loading.is_here(name):
        return PACKAGED if weights is None or weights.packaged else HERE
    if weights is not None and weights.repo_id and weights.sha256 is None:
        _pull_unknown(f"{spec.name}.{weights.tag}", weights, trust_first_use)
    else:
        loading.fetch(name)
    return PULLED


def stored() -> list[Stored]:
    """What lies in the caches: conversions, registered weights of the Hub, repositories of models, parts of downloads.

    Raises:
        WeightsError: A record is damaged, or a cache cannot be read.
    """
    found = []
    for path in sorted(converted.folder().glob("*.json")):
        record, weights = converted.read(path.stem), converted.weights_path(path.stem)
        if record is not None and not record.upstream.startswith(loading.HUB):
            found.append(Stored(path.stem, "converted", _size(weights), weights))
    for path in sorted((hub.home() / "downloads").glob("*")):
        of = path.name if path.is_dir() else path.name.removesuffix(".part").rpartition(".")[0]
        found.append(Stored(of, "unfinished", _size(path), path))
    cache, known = _scanned(), _registered()
    for repository in cache.repos if cache else ():
        for revision in repository.revisions if repository.repo_type == "model" else ():
            place = (repository.repo_id, revision.commit_hash)
            name = known.get(place)
            if name is not None or _is_ours(revision.snapshot_path):
                full = name or f"{loading.HUB}{place[0]}@{place[1]}"
                kind = "registered" if name else "repository"
                found.append(Stored(full, kind, revision.size_on_disk, revision.snapshot_path, place))
    return sorted(found)


def remove(name: str) -> list[Stored]:
    """Delete weights from the caches; returns what was deleted. Records of first pulls stay.

    Args:
        name: As `stored` gives it; of a model all its weights, of a repository all its commits.

    Raises:
        UnknownModelError: Nothing of that name is in the caches.
        WeightsError: Something cannot be deleted.
    """
    every = stored()
    chosen = [each for each in every if name in (each.name, each.name.partition("@" if "@" in each.name else ".")[0])]
    if not chosen:
        raise UnknownModelError(
            f"nothing named {name!r} is in the caches",
            expected=", ".join(each.name for each in every) or "they are empty",
        )
    try:
        for each in chosen:
            if each.place is None and each.path.is_dir():
                shutil.rmtree(each.path)
            elif each.place is None:
                each.path.unlink(missing_ok=True)
            elif cache := _scanned():
                # Of this repository alone: a copy of it has the same commits.
                repos = frozenset(r for r in cache.repos if (r.repo_type, r.repo_id) == ("model", each.place[0]))
                replace(cache, repos=repos).delete_revisions(each.place[1]).execute()
    except OSError as error:
        raise WeightsError(f"{name}: cannot be deleted", found=error) from error
    return chosen


def _pull_unknown(name: str, weights: WeightsSpec, trust_first_use: bool) -> None:
    """Weights on the Hub, pinned by a commit, of which no sha256 is known."""
    place = (str(weights.repo_id), str(weights.revision), str(weights.filename))
    record = converted.read(name)
    if record is None and not trust_first_use:
        raise WeightsError(
            f"weights {name!r}: no sha256 is known of them",
            remedy=f"`colorzoo pull {name} --trust-first-use` takes what is there now and records it",
        )
    path = hub.download(*place, record.sha256 if record else None)
    if record is None:
        sha256, today = sha256_of(path), datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
        converted.write(
            Record(
                name=name,
                upstream=f"{loading.HUB}{place[0]}@{place[1]}: {place[2]}",
                revision=place[1],
                upstream_sha256=sha256,
                sha256=sha256,
                size_bytes=path.stat().st_size,
                date=today,
                tools={"colorzoo": zoo.__version__},
            )
        )


def _registered() -> dict[tuple[str, str], str]:
    """By repository and commit, the names of registered weights."""
    names = pullable()
    found = {name: registry.find_weights(name)[2] for name in names}
    return {(str(w.repo_id), str(w.revision)): name for name, w in found.items() if w is not None and w.repo_id}


def _size(path: Path) -> int:
    """Bytes of a file, or of all in a folder; what is removed meanwhile has none."""
    try:
        files = [each for each in path.rglob("*") if not each.is_symlink()] if path.is_dir() else [path]
        return sum(each.stat().st_size for each in files if each.is_file())
    except OSError:
        return 0


def _scanned() -> "HFCacheInfo | None":
    from huggingface_hub import CacheNotFound, constants, scan_cache_dir

    try:
        return scan_cache_dir(constants.HF_HUB_CACHE)
    except CacheNotFound:
        return None
    except (OSError, ValueError) as error:
        raise WeightsError("huggingface_hub's cache cannot be read", found=error) from error


def _is_ours(snapshot: Path) -> bool:
    """Whether the files of a repository's commit are a model of colorzoo."""
    try:
        table: Any = json.loads((snapshot / hub.CONFIG_FILE).read_text(encoding="utf-8"))
        return {"format_version", "model", "config"} <= set(table)
    except (OSError, ValueError, TypeError):
        return False
