"""Places in the queue: no visitor gets them all, neither as one session nor by inventing sessions."""

from collections.abc import Iterator, Mapping
from ipaddress import ip_address, ip_network
from typing import Any

from demo import limits

HEAVY = "model"  # what events that color are called for Gradio, as their ``concurrency_id``
_HOUSEHOLD = 64  # bits of an IPv6 address, of which anybody who has one has them all


def refusal(blocks: Any, function: Any, session: str | None, scope: Mapping[str, Any]) -> str | None:
    """Why one more job is not taken, in words for the visitor; None where it is.

    Args:
        blocks: The app, whose queue is looked at and left alone.
        function: What is asked for, Gradio's ``BlockFunction``.
        session: Of whom; None of one who calls an endpoint without.
        scope: Of the request that asks.
    """
    jobs = list(_jobs(blocks._queue))
    own = [job for job in jobs if session and job.session_hash == session]
    if function.concurrency_id == HEAVY and sum(job.fn.concurrency_id == HEAVY for job in own) >= limits.JOBS:
        return limits.JOBS_REACHED
    if len(own) >= limits.REQUESTS:
        return limits.REQUESTS_REACHED
    home = address(scope)
    if home and sum(address(job.request.scope) == home for job in jobs) >= limits.REQUESTS_OF_ADDRESS:
        return limits.ADDRESS_REACHED
    return None


def address(scope: Mapping[str, Any]) -> str | None:
    """Where a request comes from, as far as visitors can be told apart by it; None where they cannot.

    A proxy in front is on this machine or in its network, and writes at the end of X-Forwarded-For whom it serves; what
    stands before that, or is sent by one who needs no proxy, anybody may have written. Without that header, all
    visitors of a proxy on this machine would be one.
    """
    client = scope.get("client")
    hops = [client[0]] if client else []
    for name, value in scope.get("headers", ()):
        if name.lower() == b"x-forwarded-for":
            hops[:0] = value.decode("latin-1").split(",")
    near = None
    for hop in reversed(hops):
        try:
            found = ip_address(hop.strip())
        except ValueError:
            return near
        if not found.is_loopback:
            near = str(found if found.version == 4 else ip_network((found, _HOUSEHOLD), strict=False))
        if found.is_global:
            return near
    return near


def _jobs(queue: Any) -> Iterator[Any]:
    """What waits and what is being done."""
    for waiting in queue.event_queue_per_concurrency_id.values():
        yield from waiting.queue
    for running in queue.active_jobs:
        yield from running or ()
