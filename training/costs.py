"""``python -m training.costs``: hours of training and of archives, from measured figures; ``--check``: stale?"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from training import archives
from training.config import read_config
from training.train import build
from zoo import loading

FOLDER = Path(__file__).parent
SPEEDS, PAGE = FOLDER / "speeds.json", FOLDER / "README.md"
BENCH, ARCHIVES = (FOLDER.parent / "model_cards" / name for name in ("results/bench", "archives.md"))
PHOTOS = 1_281_167  # of ImageNet-1k
EPOCHS = (1, 30)
DEVICES = (1, 8, 32)


def forward_flops(config: str, crop: int) -> float:
    """Floating-point operations of one crop's forward pass through the network of a shipped config."""
    model = build(read_config(FOLDER / "configs" / f"{config}.toml", ["train.pretrained=false"]), None).eval()
    return _flops(model, crop)


def _flops(model: torch.nn.Module, side: int) -> float:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 1, side, side))
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


def archive_table(entries: Sequence[dict[str, Any]]) -> str:
    """The tables of archives.md: `archives.table` of the committed run of `colorzoo bench`."""
    speed, model = archives.newest(BENCH)
    entry = next(e for e in entries if e["what"] == "end to end")
    flops = _flops(loading.network(model).eval(), loading.describe(model).working_size)
    gpu = archives.gpu_rate(entries, flops, forward_flops(entry["config"], entry["crop"]))
    return archives.table(speed, model, *gpu)


def render(page: str, name: str, content: str) -> str:
    """The page with what stands between its marks called ``name`` made anew."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, rest = page.split(begin)
    return f"{before}{begin}\n\n{content}\n\n{end}{rest.split(end)[1]}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    p = argparse.ArgumentParser(prog="python -m training.costs", description=__doc__)
    p.add_argument("--check", action="store_true", help="write nothing; fail if the table is stale")
    options = p.parse_args(arguments)
    entries = json.loads(SPEEDS.read_text(encoding="utf-8"))["entries"]
    stale = False
    for page, name, content in ((PAGE, "costs", table(entries)), (ARCHIVES, "archives", archive_table(entries))):
        old = page.read_text(encoding="utf-8")
        fresh = render(old, name, content)
        if options.check and fresh != old:
            print(f"{page} is stale: python -m training.costs", file=sys.stderr)
            stale = True
        elif not options.check:
            page.write_text(fresh, encoding="utf-8")
    if stale:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
