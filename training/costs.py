"""``python -m training.costs``: the hours in training/README.md, from speeds.json; ``--check`` tells if stale."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from training.config import read_config
from training.train import build

FOLDER = Path(__file__).parent
SPEEDS, PAGE = FOLDER / "speeds.json", FOLDER / "README.md"
PHOTOS = 1_281_167  # of ImageNet-1k
EPOCHS = (1, 30)
DEVICES = (1, 8, 32)
_BEGIN, _END = "<!-- costs:begin -->", "<!-- costs:end -->"


def forward_flops(config: str, crop: int) -> float:
    """Floating-point operations of one crop's forward pass through the network of a shipped config."""
    model = build(read_config(FOLDER / "configs" / f"{config}.toml", ["train.pretrained=false"]), None).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 1, crop, crop))
    return float(counter.get_total_flops())


def table(entries: Sequence[dict[str, Any]]) -> str:
    """The table, in Markdown: for each entry its speed, what it computes, and hours for ImageNet-size data."""
    hours = [f"{epochs} ep. × {devices}" for epochs in EPOCHS for devices in DEVICES]
    lines = [
        "| training | on | images/s | GFLOP forward | TFLOP/s | " + " | ".join(f"h, {h}" for h in hours) + " |",
        "| --- | --- | ---: | ---: | ---: |" + " ---: |" * len(hours),
    ]
    for entry in entries:
        speed, flops = entry["images_per_second"], forward_flops(entry["config"], entry["crop"])
        whole = "end to end" in entry["what"]
        cells = [
            f"{entry['config']}, {entry['what']}, {entry['crop']} px, batch {entry['batch_size']}",
            entry["device"] + (f", {entry['processes']} processes" if entry["processes"] > 1 else ""),
            f"{speed:,.0f}",
            f"{flops / 1e9:.2f}",
            f"{3 * flops * speed / 1e12:.1f}" if whole else "",
            *(f"{PHOTOS * e / speed / d / 3600:,.2f}" for e in EPOCHS for d in DEVICES),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def render(page: str, entries: Sequence[dict[str, Any]]) -> str:
    """The page with its table made anew."""
    before, rest = page.split(_BEGIN)
    return f"{before}{_BEGIN}\n\n{table(entries)}\n\n{_END}{rest.split(_END)[1]}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    p = argparse.ArgumentParser(prog="python -m training.costs", description=__doc__)
    p.add_argument("--check", action="store_true", help="write nothing; fail if the table is stale")
    options = p.parse_args(arguments)
    page = PAGE.read_text(encoding="utf-8")
    fresh = render(page, json.loads(SPEEDS.read_text(encoding="utf-8"))["entries"])
    if options.check and fresh != page:
        print("training/README.md is stale: python -m training.costs", file=sys.stderr)
        return 1
    if not options.check:
        PAGE.write_text(fresh, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
