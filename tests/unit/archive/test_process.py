"""Archiving in a process of its own: how much memory it takes, and what is left of it when it is killed."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.support.file_server import Asked, Caller, serving, whole

MEBIBYTE = 1024 * 1024
BLOCK = os.urandom(MEBIBYTE)


def archiving(*arguments: str, **options) -> subprocess.Popen[str]:
    program = [sys.executable, str(Path(__file__).parents[2] / "support" / "archive_once.py"), *arguments]
    return subprocess.Popen(program, stdout=subprocess.PIPE, text=True, **options)


def test_memory_stays_flat(tmp_path):
    count = 200
    md5 = hashlib.md5()
    for _ in range(count):
        md5.update(BLOCK)

    def stream(asked: Asked, caller: Caller) -> None:
        caller.head(200, Content_Length=count * MEBIBYTE, Content_Type="video/mp4")
        for _ in range(count):
            caller.send(BLOCK)

    with serving() as server:
        server.script = [stream]
        process = archiving(server.url(), md5.hexdigest(), f"{tmp_path}/out.mp4")
        told = json.loads(process.communicate(timeout=120)[0].splitlines()[-1])
    assert told["size"] == (tmp_path / "out.mp4").stat().st_size == count * MEBIBYTE
    assert told["peak"] - told["idle"] < 64 * MEBIBYTE


def test_a_killed_process_leaves_nothing_visible_and_the_next_one_completes(tmp_path):
    half_sent, over = threading.Event(), threading.Event()

    with serving(BLOCK * 8) as server:

        def stall(asked: Asked, caller: Caller) -> None:
            whole(server, cut=4 * MEBIBYTE)(asked, caller)
            half_sent.set()
            over.wait(180)

        server.script = [stall]
        arguments = (server.url(), hashlib.md5(server.content).hexdigest(), f"{tmp_path}/out.mp4")
        first = archiving(*arguments)
        assert half_sent.wait(180)
        patience = time.monotonic() + 180
        while sum(one.stat().st_size for one in tmp_path.iterdir()) < 4 * MEBIBYTE:
            assert time.monotonic() < patience, "what was received has not been written"
            time.sleep(0.05)
        first.send_signal(signal.SIGKILL)
        first.communicate(timeout=60)
        over.set()
        [leftover] = tmp_path.iterdir()
        assert leftover.name.startswith(".out.mp4.")
        assert leftover.name.endswith(".part")
        second = archiving(*arguments)
        second.communicate(timeout=180)
        assert second.returncode == 0
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("out.mp4", BLOCK * 8)]


def test_two_at_once_do_not_disturb_each_other(tmp_path):
    """Two workers on the same task (contract F23): one file, whole, and neither takes away the other's."""
    both = threading.Barrier(2)
    with serving(BLOCK * 4) as server:

        def together(asked: Asked, caller: Caller) -> None:
            whole(server, cut=2 * MEBIBYTE)(asked, caller)
            both.wait(180)

        server.script = [together, together]
        arguments = (server.url(), hashlib.md5(server.content).hexdigest(), f"{tmp_path}/out.mp4")
        processes = [archiving(*arguments) for _ in range(2)]
        for one in processes:
            one.communicate(timeout=180)
    assert [one.returncode for one in processes] == [0, 0]
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("out.mp4", BLOCK * 4)]


@pytest.mark.parametrize("_round", range(2))
def test_two_different_videos_at_one_local_name_are_not_both_stored(tmp_path, _round):
    """Two processes, two videos, one name, overwrite=False: one says stored, and its video is there."""
    both = threading.Barrier(2)
    contents = [bytes([number]) * (2 * MEBIBYTE) for number in range(2)]
    with serving() as server:

        def together(asked: Asked, caller: Caller) -> None:
            content = contents[int(asked.target.removeprefix("/"))]
            caller.head(200, Content_Length=len(content), Content_Type="video/mp4")
            caller.send(content[:-1])
            both.wait(180)
            caller.send(content[-1:])

        server.script = [together, together]
        processes = [
            archiving(server.url(f"/{number}"), hashlib.md5(content).hexdigest(), f"{tmp_path}/out.mp4", stderr=-1)
            for number, content in enumerate(contents)
        ]
        errors = [one.communicate(timeout=180)[1] for one in processes]
    codes = [one.returncode for one in processes]
    assert sorted(codes) == [0, 1]
    assert "TakenError: Another file has appeared" in errors[codes.index(1)]
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("out.mp4", contents[codes.index(0)])]
