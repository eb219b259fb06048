"""Many threads that do the same at once."""

import threading
from collections.abc import Callable

__all__ = ["in_threads"]


def in_threads(count: int, run: Callable[[int], object]) -> None:
    """Runs a body in so many threads at once, each with its number; raises what the first of them raised."""
    barrier = threading.Barrier(count)
    failed: list[BaseException] = []

    def body(number: int) -> None:
        barrier.wait()
        try:
            run(number)
        except BaseException as error:  # noqa: BLE001 - raised where the threads are joined
            failed.append(error)

    threads = [threading.Thread(target=body, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
