"""The Space as the Hub would build it: staged, its requirements installed in a new environment, run. Not run by CI.

python tests/load/space.py [--default-index-only] [--keep DIR] [--zero-gpu]

Takes minutes and some GB, most of it PyTorch. Prints JSON: seconds of the installation, size of the environment, and
what cold_start.py measures.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import Any

import cold_start

ROOT = Path(__file__).parents[2]


def install(folder: Path, environment: Path, *, default_index_only: bool) -> float:
    """Install a staged folder's requirements into a new environment; the seconds that pip took.

    Args:
        folder: As `demo.deploy.stage` fills it.
        environment: Is not there yet.
        default_index_only: Whether to leave out lines that name another package index, for machines that cannot reach
            it; pip then takes PyTorch with CUDA on Linux.
    """
    lines = (folder / "requirements.txt").read_text(encoding="utf-8").splitlines()
    if default_index_only:
        lines = [line for line in lines if not line.startswith("--extra-index-url")]
    venv.create(environment, with_pip=True)
    wanted = environment / "requirements.txt"
    wanted.write_text("\n".join(lines) + "\n", encoding="utf-8")
    begin = time.monotonic()
    pip = [str(python_of(environment)), "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", "-r", str(wanted)], check=True, stdout=sys.stderr)
    seconds = time.monotonic() - begin
    subprocess.run([*pip, "check"], check=True, stdout=sys.stderr)
    return seconds


def python_of(environment: Path) -> Path:
    """The environment's interpreter."""
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def run(work: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Stage, install and run in the folder ``work``."""
    folder, environment = work / "space", work / "environment"
    command = [sys.executable, "-m", "demo.deploy", "--repo-id", "user/colorzoo", "--dry-run", str(folder)]
    command += ["--zero-gpu"] if options.zero_gpu else []
    here = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(command, check=True, cwd=ROOT, env=here, stdout=sys.stderr)
    seconds = install(folder, environment, default_index_only=options.default_index_only)
    size = sum(path.lstat().st_size for path in environment.rglob("*"))
    python = str(python_of(environment))
    first = cold_start.measure(folder, python)
    return {
        "install_seconds": round(seconds),
        "environment_mb": round(size / 1e6),
        "first_start": first,  # nothing of the app is compiled yet
        "second_start": cold_start.measure(folder, python),
        **cold_start.machine(),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--default-index-only", action="store_true", help="where PyTorch's own index is out of reach")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="work in this new folder, and leave it there")
    parser.add_argument("--zero-gpu", action="store_true", help="as staged for ZeroGPU")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        result = run(options.keep or Path(name), options)
    sys.stdout.write(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
