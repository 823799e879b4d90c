"""`python -m tests.bench [waiting|imports|download|airflow|triggerer]`: measures, prints, and writes RESULTS.md."""

from __future__ import annotations

import argparse
import compileall
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import airflow_provider_digitalhuman
from tests.bench import report
from tools.airflow_cluster import exit_on_signals

BOUNDED = ("waiting", "imports", "download")
"""What `make bench` runs; the parts on a real Airflow are asked for by their names."""


def main() -> None:
    """Run the parts that the arguments name."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("parts", nargs="*", default=BOUNDED, metavar="waiting, imports, download, airflow, triggerer")
    parser.add_argument("--rounds", type=int, default=5, help="runs of which the medians are taken")
    parser.add_argument("--size", type=int, default=1_000, help="waiting, triggerer: waiting videos that are compared")
    parser.add_argument("--only-head", action="store_true", help="waiting: only those rows")
    parser.add_argument("--videos", default="200x10,50x60", help="airflow: so many videos of so many seconds")
    parser.add_argument("--dry", action="store_true", help="leave RESULTS.md as it is")
    chosen = parser.parse_args()
    exit_on_signals()
    # Where Python is told to keep no bytecode, each process would compile its imports, and that is what it would show.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    compileall.compile_dir(Path(airflow_provider_digitalhuman.__file__).parent, quiet=1)
    for part in chosen.parts:
        print(f"==> {part}", file=sys.stderr, flush=True)
        for title, texts in _sections(part, chosen):
            text = "\n".join(texts)
            print(f"## {title}\n\n{text}")
            if not chosen.dry:
                report.write(title, text)


def _sections(part: str, chosen: argparse.Namespace) -> Iterator[tuple[str, Iterable[str]]]:
    if part == "download":
        yield "Download", _download()
    elif part == "waiting":
        from tests.bench import waiting

        yield "Waiting", waiting.measure(chosen.rounds, chosen.size, chosen.only_head)
    elif part == "imports":
        from tests.bench import imports

        yield "Imports, parsing, cold submission", imports.measure(chosen.rounds)
    elif part == "airflow":
        from tests.bench import end_to_end

        for size in chosen.videos.split(","):
            yield end_to_end.title(size), end_to_end.measure(size, chosen.rounds)
    elif part == "triggerer":
        from tests.bench import in_triggerer

        yield "Waiting in a triggerer", in_triggerer.measure(chosen.size, chosen.rounds)
    else:
        raise SystemExit(f"there is no part {part!r}")


def _download() -> Iterable[str]:
    command = [sys.executable, "-m", "tests.bench.bench_download"]
    yield f"```text\n{subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout.strip()}\n```"


if __name__ == "__main__":
    main()
