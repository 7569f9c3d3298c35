"""How fast models are on this machine: against each other, other networks, and the limits that files and films set."""

from zoo.bench.run import Bench
from zoo.bench.settings import Settings

__all__ = ["Bench", "Settings"]
