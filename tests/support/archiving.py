"""What the tests of archiving share: an API that names a test server's URL, and the call."""

import hashlib
import logging
import os

from airflow_provider_digitalhuman.api.response import VideoTask
from airflow_provider_digitalhuman.archive.archiving import archive_video
from airflow_provider_digitalhuman.connection.settings import FileAccess
from tests.support.file_server import FileServer, whole

CONTENT = os.urandom(3_000_000)
MD5 = hashlib.md5(CONTENT).hexdigest()
DIRECT = FileAccess()
LOG = logging.getLogger("test.archive")


class Api:
    """Stands for the hook: names the server's URL, each time a new one."""

    def __init__(self, server: FileServer, **changes) -> None:
        self.server, self.changes, self.asked = server, changes, 0

    def __call__(self) -> VideoTask:
        self.asked += 1
        fields = {"id": "v-1", "status": "completed", "md5": MD5}
        fields["video_url"] = self.server.url(f"/v.mp4?X-Signature=topsecret{self.asked:03}")
        fields |= {k: v(self.asked) if callable(v) else v for k, v in self.changes.items()}
        return VideoTask(**fields)


def run(api, folder, **options):
    options = {"access": DIRECT, "allow_private_hosts": True, "log": LOG} | options
    return archive_video(api, f"{folder}/out.mp4", **options)


def nothing_left(folder) -> bool:
    return list(folder.rglob("*")) == []


def cut(server: FileServer, at: int, **how) -> object:
    return whole(server, cut=at, **how)
