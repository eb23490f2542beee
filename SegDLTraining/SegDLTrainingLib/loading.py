"""Batches drawn ahead by threads while the device computes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")


class Loader(Generic[T]):
    """``make(number)`` by number; with ``threads`` the next ones are made meanwhile.

    What a number gives does not depend on when it is made, so results are the same for any ``threads``.
    """

    def __init__(self, make: Callable[[int], T], threads: int):
        self._make = make
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads) if threads else None
        self._waiting: dict[int, Future[T]] = {}

    def __call__(self, number: int, last: int) -> T:
        """The item ``number``; none beyond ``last`` is made ahead."""
        if self._pool is None:
            return self._make(number)
        for ahead in range(number, min(number + self._threads + 1, last + 1)):
            if ahead not in self._waiting:
                self._waiting[ahead] = self._pool.submit(self._make, ahead)
        return self._waiting.pop(number).result()

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
