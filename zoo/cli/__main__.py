"""``python -m zoo.cli``, the same as ``colorzoo``."""

from zoo.cli import main

main()
