"""Several training runs in one group of processes: what `torchrun tests/many_runs.py PLAN.json` starts.

The plan is a list of {"arguments": [...], "stop": [rank, step] or null}; the exit codes go to PLAN.RANK.json.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from training.train import main
from training.trainer import Trainer


def run_all(plan: list[dict[str, Any]], rank: int) -> list[int]:
    """Exit codes of the runs; a run with ``stop`` gets a SIGTERM in that process during that step."""
    learn = Trainer._learn
    codes = []
    for run in plan:
        stop = run.get("stop")

        def learn_and_stop(self: Trainer, batches: Any, stop: Any = stop) -> Any:
            if stop and stop == [rank, self.step]:
                os.kill(os.getpid(), signal.SIGTERM)
            return learn(self, batches)

        Trainer._learn = learn_and_stop  # type: ignore[method-assign]
        codes.append(main(run["arguments"]))
    Trainer._learn = learn  # type: ignore[method-assign]
    return codes


if __name__ == "__main__":
    path, rank = Path(sys.argv[1]), int(os.environ["RANK"])
    codes = run_all(json.loads(path.read_text()), rank)
    path.with_suffix(f".{rank}.json").write_text(json.dumps(codes))
