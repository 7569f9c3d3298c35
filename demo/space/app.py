"""The Space's app; `demo` and `zoo` lie beside this file."""

from demo import gpu as _gpu  # noqa: F401  first, since ZeroGPU wants to know before torch is imported
from demo.app import main

if __name__ == "__main__":
    main()
