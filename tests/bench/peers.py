"""Ours, and what Airflow's other providers wait with: the connection that each reads, and its trigger."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

CONN_ID: Final = "bench"
KEY: Final = "a-key-as-long-as-real-ones"
"""Of a shorter one Airflow says in every process that it cannot be masked."""
A_DAY: Final = 86_400.0


class Peer(NamedTuple):
    """One kind of trigger.

    :param connection: from the stub's URL, its CA file and the ceiling of queries per second.
    :param trigger: from the number of a video and the seconds between two queries.
    """

    name: str
    connection: Callable[[str, str | None, float], dict[str, Any]]
    trigger: Callable[[int, float], Any]
    only_tls: bool = False


def _ours(number: int, interval: float) -> Any:
    from airflow_provider_digitalhuman.triggers.digitalhuman import DigitalHumanVideoTrigger

    now = time.time()
    return DigitalHumanVideoTrigger(CONN_ID, str(number), now + A_DAY, interval, now)


def _http(number: int, interval: float) -> Any:
    from airflow.providers.http.triggers.http import HttpSensorTrigger

    return HttpSensorTrigger(endpoint=f"wait/{number}", http_conn_id=CONN_ID, poke_interval=interval)


def _openai(number: int, interval: float) -> Any:
    from airflow.providers.openai.triggers.openai import OpenAIBatchTrigger

    return OpenAIBatchTrigger(CONN_ID, f"batch_{number}", interval, timeout=A_DAY)


def _dbt(number: int, interval: float) -> Any:
    from airflow.providers.dbt.cloud.triggers.dbt import DbtCloudRunJobTrigger

    return DbtCloudRunJobTrigger(CONN_ID, number, time.time() + A_DAY, interval, account_id=1)


def _our_connection(url: str, bundle: str | None, rate: float) -> dict[str, Any]:
    extra = {"max_queries_per_second": rate} | ({"verify": bundle} if bundle else {})
    return {"conn_type": "digitalhuman", "host": url, "password": KEY, "extra": extra}


def _by_host(conn_type: str, path: str = "") -> Callable[[str, str | None, float], dict[str, Any]]:
    return lambda url, _bundle, _rate: {"conn_type": conn_type, "host": url + path, "password": KEY}


def _dbt_connection(url: str, _bundle: str | None, _rate: float) -> dict[str, Any]:
    return {"conn_type": "dbt_cloud", "host": url.partition("://")[2], "login": "1", "password": KEY}


PEERS: Final = {
    "ours": Peer("DigitalHumanVideoTrigger", _our_connection, _ours),
    "http": Peer("HttpSensorTrigger", _by_host("http"), _http),
    "openai": Peer("OpenAIBatchTrigger", _by_host("openai", "/v1"), _openai),
    "dbt": Peer("DbtCloudRunJobTrigger", _dbt_connection, _dbt, only_tls=True),
}


def environment(peer: str, url: str, bundle: str | None, rate: float) -> dict[str, str]:
    """What a process that waits needs in its environment."""
    trusted = {"SSL_CERT_FILE": bundle} if bundle else {}
    return {f"AIRFLOW_CONN_{CONN_ID.upper()}": json.dumps(PEERS[peer].connection(url, bundle, rate)), **trusted}
