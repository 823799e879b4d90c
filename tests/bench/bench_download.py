"""Peak memory and throughput of the archive, side by side with curl and with the common way of doing it.

Run with ``python -m tests.bench.bench_download [--mib 2048] [--rounds 3] [--rate 100]``. Everything is measured in one
run, in turn, over loopback from a process of its own into a temporary directory; the machine's other load hits all of
them alike, so read the ratios. The server sends no faster than a link of 1 Gbit/s (``--rate 0``: as fast as it can).
Needs Linux, curl and md5sum. Disk: the file's size once.
"""

import argparse
import hashlib
import json
import os
import shlex
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

MEBIBYTE = 1024 * 1024
BLOCK = bytes(MEBIBYTE)
CURL_SHARE = 0.8
"""What the archive is to reach of the throughput of ``curl | md5sum``."""
MEMORY = 64 * MEBIBYTE
"""What the archive may take above the idle process, whatever the size."""
ARCHIVE_ONCE = Path(__file__).parents[1] / "support" / "archive_once.py"

COMMON_WAY = """
import hashlib, pathlib, sys, time, requests
started = time.monotonic()
content = requests.get(sys.argv[1]).content
assert hashlib.md5(content).hexdigest() == sys.argv[2]
pathlib.Path(sys.argv[3]).write_bytes(content)
print(time.monotonic() - started)
"""


@dataclass
class Run:
    """One download: how long it took, and the peak memory of its processes."""

    seconds: float
    peak: int
    idle: int = 0


def serve(size: int, rate: float) -> None:
    """Send a file of zeros to each client, ``rate`` MiB a second at most (0: no limit); prints the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                head = (
                    f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nContent-Type: video/mp4\r\nConnection: close\r\n\r\n"
                )
                connection.sendall(head.encode())
                with suppress(OSError):
                    send(connection, size // MEBIBYTE, rate)


def send(connection: socket.socket, mib: int, rate: float) -> None:
    started = time.monotonic()
    for number in range(mib):
        if rate:
            time.sleep(max(0.0, started + number / rate - time.monotonic()))
        connection.sendall(BLOCK)


@contextmanager
def server(size: int, rate: float) -> Iterator[str]:
    command = [sys.executable, __file__, "--serve", str(size), "--rate", str(rate)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v.mp4?X-Signature=secret"
    finally:
        process.kill()
        process.wait()


class PeakMemory:
    """Samples the peak memory of a process and its children while they live."""

    def __init__(self, pid: int) -> None:
        self._pid, self._peaks, self._over = pid, dict[int, int](), threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def end(self) -> int:
        self._over.set()
        self._thread.join()
        return sum(self._peaks.values())

    def _sample(self) -> None:
        while not self._over.wait(0.02):
            for pid in (self._pid, *self._children()):
                try:
                    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                except OSError:
                    continue
                for line in lines:
                    if line.startswith("VmHWM"):
                        self._peaks[pid] = max(self._peaks.get(pid, 0), int(line.split()[1]) * 1024)

    def _children(self) -> list[int]:
        try:
            return [int(pid) for pid in Path(f"/proc/{self._pid}/task/{self._pid}/children").read_text().split()]
        except OSError:
            return []


def shell(command: str) -> Run:
    started = time.monotonic()
    process = subprocess.Popen(["/bin/sh", "-c", command], stdout=subprocess.PIPE, text=True)
    memory = PeakMemory(process.pid)
    process.communicate()
    seconds = time.monotonic() - started
    assert process.returncode == 0, command
    return Run(seconds, memory.end())


def python(*arguments: str) -> tuple[str, int]:
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True)
    memory = PeakMemory(process.pid)
    told, _ = process.communicate()
    assert process.returncode == 0, arguments
    return told.splitlines()[-1], memory.end()


def archive(url: str, md5: str, target: Path) -> Run:
    told = json.loads(python(str(ARCHIVE_ONCE), url, md5, f"file://{target}")[0])
    return Run(told["seconds"], told["peak"], told["idle"])


def common_way(url: str, md5: str, target: Path) -> Run:
    told, peak = python("-c", COMMON_WAY, url, md5, str(target))
    return Run(float(told), peak)


def measure(mib: int, rounds: int, rate: float, folder: Path) -> bool:
    md5 = hashlib.md5(usedforsecurity=False)
    for _ in range(mib):
        md5.update(bytes(MEBIBYTE))
    target = folder / "v.mp4"
    with server(mib * MEBIBYTE, rate) as url:
        curl, digest, quoted = f"curl -sf {shlex.quote(url)}", md5.hexdigest(), shlex.quote(str(target))
        ways: dict[str, Callable[[], Run]] = {
            "archive_video (verified, synced, stored)": lambda: archive(url, digest, target),
            "curl | md5sum (not stored)": lambda: shell(f"{curl} | md5sum"),
            "curl -o file; md5sum file; sync file": lambda: shell(
                f"{curl} -o {quoted} && md5sum {quoted} && sync {quoted}"
            ),
            "requests.get(url).content (stored)": lambda: common_way(url, digest, target),
        }
        runs: dict[str, list[Run]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                runs[name].append(way())
                target.unlink(missing_ok=True)
    return tell(mib, rounds, runs)


def tell(mib: int, rounds: int, runs: dict[str, list[Run]]) -> bool:
    best = {name: min(one.seconds for one in all_of_it) for name, all_of_it in runs.items()}
    ours, curl, *_ = best
    print(f"{mib} MiB over loopback, {os.cpu_count()} cores, the best and the median of {rounds} rounds in turn\n")
    print(f"{'':42}{'MiB/s':>8}{'median':>8}{'of curl':>9}{'peak MiB':>10}")
    for name, all_of_it in runs.items():
        median = statistics.median(one.seconds for one in all_of_it)
        peak = max(one.peak for one in all_of_it) / MEBIBYTE
        print(f"{name:42}{mib / best[name]:8.0f}{mib / median:8.0f}{best[curl] / best[name]:9.2f}{peak:10.0f}")
    share = best[curl] / best[ours]
    taken = max(one.peak - one.idle for one in runs[ours])
    fast, flat = share >= CURL_SHARE, taken <= MEMORY
    print(f"\nMemory of archive_video above the idle process: {taken / MEBIBYTE:.0f} MiB", end="")
    print(f" (aim: at most {MEMORY // MEBIBYTE}: {'met' if flat else 'NOT MET'})")
    print(f"Throughput as a share of curl | md5sum: {share:.2f} (aim: {CURL_SHARE}: {'met' if fast else 'NOT MET'})")
    return fast and flat


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mib", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=float, default=100.0, help="MiB a second that the server sends; 0: no limit")
    parser.add_argument("--folder", type=Path, help="where the file is written; default: the temporary directory")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        serve(chosen.serve, chosen.rate)
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        return 0 if measure(chosen.mib, chosen.rounds, chosen.rate, Path(folder)) else 1


if __name__ == "__main__":
    sys.exit(main())
