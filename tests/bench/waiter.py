"""The process that is measured: so many triggers of one kind on a bare event loop. Run by :mod:`tests.bench.waiting`.

Prints what it has measured as one JSON object. A thread gives up for it when the loop is blocked for too long.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.bench.peers import PEERS
from tests.bench.server import steer

PROBE: Final = 0.02
"""Seconds that the probe of the event loop's lag sleeps."""
IDLE: Final = 2.0
SETTLE: Final = 6.0
"""Seconds more than a cycle until all are asked for in turn; ours spreads the first queries over 5."""


class Load(NamedTuple):
    """What is to be measured.

    :param interval: seconds between two queries for a video.
    :param cycle: seconds in which every video is asked for once: the interval, or more where the rate is capped.
    :param window: seconds that are measured.
    :param limit: seconds after which the process gives up.
    """

    peer: str
    size: int
    interval: float
    cycle: float
    window: float
    limit: float
    steering: int
    storm: int | None = None
    finish: bool = True


class Probe:
    """How late the event loop wakes up who sleeps."""

    def __init__(self) -> None:
        self.late: list[float] = []
        self._expected = time.monotonic() + PROBE
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            self._expected = time.monotonic() + PROBE
            await asyncio.sleep(PROBE)
            self.late.append(time.monotonic() - self._expected)

    def read(self) -> dict[str, float]:
        """Milliseconds since the last reading; a lag that still lasts is among them."""
        late = [*self.late, max(0.0, time.monotonic() - self._expected)]
        self.late = []
        return {"lag_p50": quantile(late, 0.5) * 1e3, "lag_p99": quantile(late, 0.99) * 1e3, "lag_max": max(late) * 1e3}


class Meter:
    """What has been used and asked since it was made."""

    def __init__(self, load: Load, probe: Probe, idle_cpu: float) -> None:
        self._load, self._probe, self._idle_cpu = load, probe, idle_cpu
        probe.read()
        self._counted = steer(load.steering, "count")
        self._cpu, self._system, self._started = time.process_time(), os.times().system, time.monotonic()

    def read(self) -> dict[str, float]:
        """The probe's own CPU, as it was measured on the idle loop, is taken away."""
        seconds = time.monotonic() - self._started
        cpu = time.process_time() - self._cpu - self._idle_cpu * seconds
        system = os.times().system - self._system
        counted = steer(self._load.steering, "count")
        queries = counted["requests"] - self._counted["requests"]
        return {
            "seconds": seconds,
            "queries": queries,
            "queries_per_second": queries / seconds,
            "cpu_per_query": cpu / queries * 1e3 if queries else float("nan"),
            "system_per_query": system / queries * 1e3 if queries else float("nan"),
            "connections": counted["connections"] - self._counted["connections"],
            "connections_in_all": counted["connections"],
            "queries_in_all": counted["requests"],
            **self._probe.read(),
        }


def quantile(values: Sequence[float], share: float) -> float:
    """The value that so large a share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")


def resident() -> int:
    """Bytes of memory that this process has."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Waiter:
    """One run."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._told: dict[str, Any] = {"gave_up": False}
        self._events: dict[int, float] = {}
        self._meter: Meter | None = None
        self._resident = 0

    async def run(self) -> dict[str, Any]:
        """Measure, and return the figures."""
        load = self._load
        steer(load.steering, "reset")
        probe = Probe()
        before = time.process_time()
        await asyncio.sleep(IDLE)
        idle_cpu = (time.process_time() - before) / IDLE
        self._told |= {f"idle_{name}": value for name, value in probe.read().items()}
        await self._warm_up()
        steer(load.steering, "reset")
        if load.storm:
            steer(load.steering, "set", storm=load.storm)
        self._resident = resident()
        self._meter = Meter(load, probe, idle_cpu)
        waiting = [asyncio.create_task(self._wait(n, n * load.interval / load.size)) for n in range(load.size)]
        if not load.storm:  # a storm is measured from its first second on
            await asyncio.sleep(SETTLE + max(load.interval, load.cycle))
            self._meter = Meter(load, probe, idle_cpu)
        await asyncio.sleep(load.window)
        self._tell()
        if load.finish:
            await self._finish(waiting)
        return self._told

    def give_up(self) -> dict[str, Any]:
        """Return what there is; called by another thread while the loop is blocked."""
        self._told["gave_up"] = True
        if self._meter is not None and "cpu_per_query" not in self._told:
            self._tell()
        return self._told

    def _tell(self) -> None:
        assert self._meter is not None
        self._told |= self._meter.read()
        self._told["kilobytes"] = (resident() - self._resident) / 1e3 / self._load.size

    async def _warm_up(self) -> None:
        """One query of one trigger, so that what is imported on the way is not counted."""
        first = asyncio.create_task(self._wait(0, 0.0))
        for _ in range(1200):
            await asyncio.sleep(0.05)
            if first.done() or steer(self._load.steering, "count")["requests"]:
                break
        await asyncio.sleep(0.2)
        if first.done():
            raise RuntimeError("the first trigger has ended") from first.exception()
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        self._events.clear()

    async def _wait(self, number: int, after: float) -> None:
        await asyncio.sleep(after)
        async for event in PEERS[self._load.peer].trigger(number, self._load.interval).run():
            if "error" in str(event.payload)[:200]:
                raise RuntimeError(str(event.payload))
            self._events[number] = time.time()
            return

    async def _finish(self, waiting: list[asyncio.Task[None]]) -> None:
        """Let the videos be done, one after the other over one cycle, and see when each event comes."""
        load, start = self._load, time.time() + 0.5
        steer(load.steering, "set", finish_at=start, finish_over=load.cycle, count=load.size)
        await asyncio.wait(waiting, timeout=3 * load.cycle + 15)
        delays = [at - start - n * load.cycle / load.size for n, at in self._events.items()]
        self._told |= {
            "delay_p50": quantile(delays, 0.5),
            "delay_p99": quantile(delays, 0.99),
            "delay_max": max(delays, default=float("nan")),
            "forgotten": load.size - len(delays),
        }


def _main() -> None:
    load = Load(**json.loads(sys.argv[1]))
    waiter = Waiter(load)

    def tell(told: dict[str, Any]) -> None:
        print(json.dumps(told), flush=True)
        os._exit(0)  # what still waits is of no interest

    watchdog = threading.Timer(load.limit, lambda: tell(waiter.give_up()))
    watchdog.daemon = True
    watchdog.start()
    asyncio.run(_run(waiter, tell))


async def _run(waiter: Waiter, tell: Callable[[dict[str, Any]], None]) -> None:
    tell(await waiter.run())  # before the loop ends, which would wait for all of them


if __name__ == "__main__":
    _main()
