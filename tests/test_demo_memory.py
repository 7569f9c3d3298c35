"""The app's memory: its threads share heaps."""

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import ctypes, sys, threading
from demo.memory import few_heaps
if sys.argv[1] == "few":
    assert few_heaps()
barrier = threading.Barrier(12)
def work():
    kept = [bytearray(3000) for _ in range(2000)]  # small enough for a heap
    barrier.wait()
threads = [threading.Thread(target=work) for _ in range(12)]
[t.start() for t in threads], [t.join() for t in threads]
libc = ctypes.CDLL(None)
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have other heaps")
def test_threads_share_two_heaps() -> None:
    heaps = {}
    for kind in ("few", "usual"):
        done = subprocess.run([sys.executable, "-c", SCRIPT, kind], capture_output=True, text=True, check=True)
        heaps[kind] = done.stdout.count("<heap nr=")
    assert heaps["few"] == 2 < heaps["usual"]
