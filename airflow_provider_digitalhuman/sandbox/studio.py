"""The workers that fetch media and make videos, away from the event loop."""

import hashlib
import logging
import queue
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from airflow_provider_digitalhuman.sandbox.fetch import fetch
from airflow_provider_digitalhuman.sandbox.video import MediaError, produce

_WORKERS: Final = 4
"""Enough that two media servers that hang do not hold up all other tasks."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Film:
    """A finished video.

    :param md5: MD5 of the file, in lower case; the file is named after it.
    :param seconds: length of the audio.
    """

    md5: str
    seconds: float


@dataclass(frozen=True)
class Job:
    """The video that one task asks for. ``done`` is called in a worker thread, with the film or the error text."""

    audio_url: str
    video_url: str
    done: Callable[[Film | str], None]


class Studio:
    """A few daemon threads, so that the end of the process never waits for a download."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._folder.mkdir(parents=True, exist_ok=True)
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._films: dict[tuple[str, str], Film] = {}
        self._one_at_a_time = threading.Lock()
        for number in range(_WORKERS):
            threading.Thread(target=self._work, name=f"sandbox-studio-{number}", daemon=True).start()

    def submit(self, job: Job) -> None:
        """Queue a job."""
        self._jobs.put(job)

    def path(self, film_md5: str) -> Path:
        """Where the video with this MD5 is stored."""
        return self._folder / f"{film_md5}.mp4"

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            try:
                result: Film | str = self._make(job)
            except MediaError as error:
                result = str(error)
            except Exception as error:  # a worker that dies would stop all later tasks
                _log.exception("The sandbox could not make a video")
                result = f"internal error: {error}"
            job.done(result)

    def _make(self, job: Job) -> Film:
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=".work-", ignore_cleanup_errors=True) as name:
            audio, clip, target = (Path(name) / part for part in ("audio", "clip", "target.mp4"))
            content = (fetch("audioUrl", job.audio_url, audio), fetch("videoUrl", job.video_url, clip))
            with self._one_at_a_time:  # equal inputs are encoded once, and one core stays free
                film = self._films.get(content)
                if film is None or not self.path(film.md5).exists():
                    seconds = produce(audio, clip, target)
                    film = Film(md5=_md5(target), seconds=seconds)
                    target.replace(self.path(film.md5))
                    self._films[content] = film
        return film


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
