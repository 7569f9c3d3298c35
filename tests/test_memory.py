"""How much memory a picture takes from file to file, in a process of its own: bytes per pixel, whatever torch takes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from zoo import images, pipeline

SIDES = (2000, 3000)
SPARE = 6
WORK = """
import sys
from pathlib import Path
import torch
from zoo import images, pipeline
from zoo.evaluation.cost import peak_resident

torch.set_num_threads(1)

def color(source, target):
    picture = images.read(source)
    predict = lambda L: torch.full((1, 2, 8, 8), 9.0)
    pixels = pipeline.colorize_in_place(picture.pixels, predict, working_size=32, multiple_of=8)
    alpha = picture.alpha
    del picture
    images.write(target, pixels, alpha=alpha, overwrite=True)

for name in sys.argv[1:]:
    color("small-" + name, "out-" + name)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is what is resident now
    before = peak_resident()
    color(name, "out-" + name)
    print(peak_resident() - before)
"""
MAPS = """
import torch, zoo.pipeline
import numpy as np
from pathlib import Path

torch.set_num_threads(1)

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1])

array = np.full((4000, 6000), 100, np.uint8)
predict = lambda L: torch.full((1, 2, 8, 8), 9.0)
zoo.pipeline.predict_maps(array[:1000], predict, working_size=32, multiple_of=8)
before = resident()
zoo.pipeline.predict_maps(array, predict, working_size=32, multiple_of=8)
print((resident() - before) * 4096 / array.size)
"""


def picture(height: int, width: int, dtype: type, channels: int) -> np.ndarray:
    ramp = np.add.outer(np.arange(height), np.arange(width)) % 251
    grain = np.random.default_rng(0).integers(0, 5, (height, width))
    pixels = ((ramp + grain) * (1 if dtype is np.uint8 else 256)).astype(dtype)
    return pixels if channels == 1 else np.stack([pixels, pixels // 2, pixels, pixels][:channels], -1)


# Bytes a pixel: itself, its result where that is another array, what the decoder reads from, and as much to spare as
# torch and the threads of an encoder need for strips of a picture of this size.
MOST = {
    ("grey.jpg", np.uint8, 1): 1 + 3 + SPARE,
    ("rgb.jpg", np.uint8, 3): 3 + SPARE,
    ("rgb.png", np.uint8, 3): 3 + 4 + SPARE,
    ("deep.tif", np.uint16, 3): 6 + SPARE,
    ("deep.png", np.uint16, 3): 6 + 6 + SPARE,
    ("deep-alpha.tif", np.uint16, 4): 8 + SPARE,
    ("deep-alpha.png", np.uint16, 4): 8 + 2 + SPARE,
    ("rgb.webp", np.uint8, 3): 3 + 3 + SPARE,
}


@pytest.mark.skipif(sys.platform != "linux", reason="resets the peak as Linux does")
def test_bytes_per_pixel(tmp_path: Path) -> None:
    for name, dtype, channels in MOST:
        images.write(tmp_path / f"small-{name}", picture(64, 96, dtype, channels))
        images.write(tmp_path / name, picture(*SIDES, dtype, channels))
    names = [name for name, *_ in MOST]
    done = subprocess.run(
        [sys.executable, "-c", WORK, *names], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    pixels = SIDES[0] * SIDES[1]
    found = {name: int(taken) / pixels for name, taken in zip(names, done.stdout.split(), strict=True)}
    assert {name: taken for (name, *_), most in MOST.items() if (taken := found[name]) > most} == {}, found


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")
def test_nothing_of_a_strip_stays() -> None:
    done = subprocess.run([sys.executable, "-c", MAPS], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 1  # byte a pixel; f alone takes 4


def test_painted_in_place() -> None:
    def predict(L: torch.Tensor) -> torch.Tensor:
        return torch.full((1, 2, 4, 4), 20.0)

    sizes = {"working_size": 32, "multiple_of": 8}
    for shape in ((700, 500, 3), (700, 500, 4), (30, 40)):
        array = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        expected = pipeline.colorize_array(array.copy(), predict, **sizes)
        locked = array.copy()
        locked.flags.writeable = False
        np.testing.assert_array_equal(pipeline.colorize_in_place(locked, predict, **sizes), expected)
        result = pipeline.colorize_in_place(array, predict, **sizes)
        np.testing.assert_array_equal(result, expected)
        assert (result is array) == (len(shape) == 3)
