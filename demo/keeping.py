"""What is kept of pictures that are touched up, so that nothing is made twice: each visitor's own, within limits."""

from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from torch import Tensor, nn

V = TypeVar("V")


class Owner(NamedTuple):
    """Whose something is: of a visitor's session, the picture that was opened there."""

    session: str
    picture: str


class Kept:
    """Things by owner and key, of which those that were not used for longest go.

    Args:
        most: Bytes of all together.
        each: Things of one owner.
    """

    def __init__(self, most: int, each: int) -> None:
        self._most, self._each = most, each
        self._found: OrderedDict[tuple[Owner, Hashable], tuple[Any, int]] = OrderedDict()
        self._lock = Lock()

    def get(self, owner: Owner, key: Hashable, make: Callable[[], V]) -> V:
        """What ``owner`` has under this key; made where it is not there, or not any more."""
        with self._lock:
            found = self._found.get((owner, key))
        value = found[0] if found else make()
        with self._lock:
            self._found[owner, key] = (value, weight(value))  # again, since a canvas grows with its first reference
            self._found.move_to_end((owner, key))
            self._make_room(owner)
        return cast(V, value)

    def drop(self, session: str, picture: str | None = None) -> None:
        """Forget what is a session's, or of one picture of it."""
        with self._lock:
            for owner, key in list(self._found):
                if owner.session == session and picture in (None, owner.picture):
                    del self._found[owner, key]

    def count(self) -> Counter[Owner]:
        """How many things each owner has."""
        with self._lock:
            return Counter(owner for owner, _ in self._found)

    def _make_room(self, owner: Owner) -> None:
        own = [entry for entry in self._found if entry[0] == owner]
        for entry in own[: -self._each]:
            del self._found[entry]
        total = sum(size for _, size in self._found.values())
        while total > self._most and len(self._found) > 1:
            _, (_, size) = self._found.popitem(last=False)
            total -= size


def weight(value: Any) -> int:
    """Bytes of the arrays in something of the zoo's; those of a model, which others have too, do not count."""
    seen: set[int] = set()
    left, total = [value], 0
    while left:
        item = left.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, np.ndarray | Tensor):
            total += item.nbytes
        elif isinstance(item, list | tuple):
            left += item
        elif type(item).__module__.startswith("zoo.") and not isinstance(item, nn.Module):
            left += vars(item).values()
    return total
