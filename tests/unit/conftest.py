"""What all unit tests share: an Airflow home of their own, connections from the environment, servers to talk to."""

import datetime
import ipaddress
import json
import logging
import os
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from airflow_provider_digitalhuman.connection.tls import CA_VARIABLES
from airflow_provider_digitalhuman.hooks import digitalhuman as hook_module
from airflow_provider_digitalhuman.hooks.digitalhuman import DigitalHumanHook
from airflow_provider_digitalhuman.operators.digitalhuman import CreateDigitalHumanVideoOperator
from airflow_provider_digitalhuman.support import compat
from airflow_provider_digitalhuman.support.compat import HAS_TASK_STATE_STORE
from tests.support.raw_server import RawServer, Script

settings.register_profile("unit", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("hunt", deadline=None, max_examples=5000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "unit"))

KEY = "sk-4f1d-this-is-the-key-9c2b"
AUDIO_URL = "https://media.example.com/speech.mp3"
VIDEO_URL = "https://media.example.com/person.mp4"


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy, .netrc or CA bundle of the machine that the tests run on."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", *CA_VARIABLES):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("NETRC", os.devnull)


@pytest.fixture
def key() -> str:
    return KEY


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., DigitalHumanHook]]:
    """Make a connection, as Airflow reads it from the environment, and the hook on it."""
    hooks: list[DigitalHumanHook] = []

    def make(host: str | None = None, *, conn_id: str = "digitalhuman_default", **fields: Any) -> DigitalHumanHook:
        connection = {"conn_type": "digitalhuman", "password": KEY, "host": host, **fields}
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
        hooks.append(DigitalHumanHook(conn_id))
        return hooks[-1]

    yield make
    for hook in hooks:
        hook.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., RawServer]]:
    """Start servers; they end with the test."""
    servers: list[RawServer] = []

    def start(script: Script, tls: ssl.SSLContext | None = None) -> RawServer:
        servers.append(RawServer(script, tls))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the hook has waited between attempts; it does not really wait."""
    slept: list[float] = []

    class Clock:
        sleep = staticmethod(slept.append)

        def __getattr__(self, name: str) -> Any:
            return getattr(time, name)

    monkeypatch.setattr(hook_module, "time", Clock())
    return slept


@pytest.fixture
def everything_logged(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[], str]:
    """All that was logged at any level: by the standard library's loggers, and by Airflow's own, which only print."""
    for name in (
        "",
        "urllib3",
        "requests",
        "airflow",
        "airflow.task",
        "airflow.hooks",
        "airflow_provider_digitalhuman",
    ):
        logger = logging.getLogger(name)
        monkeypatch.setattr(logger, "propagate", True)
        monkeypatch.setattr(logger, "disabled", False)
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "urllib3")
    told: list[str] = []

    def text() -> str:
        told.append("".join(capfd.readouterr()))
        return "".join(told) + caplog.text

    return text


class FakeTaskInstance:
    """What the operator uses of a task instance."""

    dag_id, task_id, run_id, map_index = "dag", "create", "run", -1
    try_number, max_tries = 1, 0

    def __init__(self) -> None:
        self.xcoms: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value


class FakeTaskStateStore:
    """The task state store's part that keeps values, which have to be JSON."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def get(self, key: str, default: Any = None) -> Any:
        return json.loads(self.values[key]) if key in self.values else default

    def set(self, key: str, value: Any) -> None:
        self.values[key] = json.dumps(value, allow_nan=False)

    def delete(self, key: str) -> None:
        self.values.pop(key, None)


@pytest.fixture
def ti() -> FakeTaskInstance:
    return FakeTaskInstance()


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> FakeTaskStateStore:
    """Where Airflow keeps the records: the task state store, or below 3.3 its Variables."""
    store = FakeTaskStateStore()
    monkeypatch.setattr(compat, "write_task_state", lambda _accessor, _ti, key, value: store.set(key, value))
    monkeypatch.setattr(compat, "read_variable", store.values.get)
    monkeypatch.setattr(compat, "write_variable", lambda key, text, _: store.values.update({key: text}))
    monkeypatch.setattr(compat, "delete_variable", lambda key, **_: store.delete(key))
    monkeypatch.setattr(compat, "is_current_try", lambda _: True)
    return store


@pytest.fixture
def context(ti: FakeTaskInstance, records: FakeTaskStateStore) -> dict[str, Any]:
    return {"ti": ti, "task_instance": ti, **({"task_state_store": records} if HAS_TASK_STATE_STORE else {})}


@pytest.fixture
def make_operator() -> Callable[..., CreateDigitalHumanVideoOperator]:
    """Build the operator."""

    def make(**arguments: Any) -> CreateDigitalHumanVideoOperator:
        base: dict[str, Any] = {"task_id": "create", "audio_url": AUDIO_URL, "video_url": VIDEO_URL}
        return CreateDigitalHumanVideoOperator(**{**base, **arguments})

    return make


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate of 127.0.0.1 with its key in one PEM file; usable as the CA file, too."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    private_key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(private_key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(
        private_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context
