"""Memory that is given back: Gradio runs handlers in dozens of threads, each of which may keep a heap of its own."""

import ctypes

_M_ARENA_MAX = -8  # of glibc's malloc.h
_ARENAS = 2


def few_heaps() -> bool:
    """Let all threads share two of malloc's heaps, from before they start; whether the C library knows how.

    With eight for each core, which is glibc's way, the freed parts of photos pile up in all of them.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc
        return False
    return bool(mallopt(_M_ARENA_MAX, _ARENAS))
