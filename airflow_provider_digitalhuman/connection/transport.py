"""Requests with the key, for the workers: what became of each of them, and what came of its answer."""

import json
import os
import ssl
import threading
import time
from importlib.util import find_spec
from typing import Any

from airflow_provider_digitalhuman.api.answer import Answer
from airflow_provider_digitalhuman.api.encoding import bounded
from airflow_provider_digitalhuman.api.endpoints import LONGEST_IDLE
from airflow_provider_digitalhuman.connection.adapter import Adapter, Secret, cause, describe, pieces
from airflow_provider_digitalhuman.connection.monitor import RequestMonitor, TransportError
from airflow_provider_digitalhuman.connection.route import USER_AGENT, Route
from airflow_provider_digitalhuman.connection.settings import ConnectionSettings
from airflow_provider_digitalhuman.exceptions import InvalidConnectionError


class Transport:
    """Requests with the key: explicit time-outs, no redirects, a connection that is kept from one to the next.

    Each thread and each fork has its own connection: a hook may be shared, and one must neither end nor answer for the
    other.

    :raises InvalidConnectionError: see :meth:`Route.of`; for a SOCKS proxy without the package for it; and
        for a proxy's login outside ASCII.
    """

    def __init__(self, settings: ConnectionSettings) -> None:
        self._settings = settings
        self.route = Route.of(settings)
        if self.route.by_socks and not find_spec("socks"):
            raise InvalidConnectionError(
                "A SOCKS proxy needs the package PySocks: install airflow-provider-digitalhuman[socks] on the workers."
            )
        # No two HTTP libraries encode them alike: the triggerer could not wait for a paid video then.
        if not "".join(self.route.proxy_login() or ()).isascii():
            raise InvalidConnectionError(
                "The user or password of the proxy holds a character outside ASCII, which workers and"
                " triggerer do not send the same way: give the proxy a login of ASCII characters."
            )
        self._own = threading.local()

    def get(self, url: str) -> Answer:
        """GET ``url`` within the query time-out.

        :raises TransportError: if no whole answer came.
        """
        return self._request("GET", url, self._settings.query_timeout, RequestMonitor())

    def post(self, url: str, body: dict[str, Any], monitor: RequestMonitor) -> Answer:
        """POST ``body`` as JSON once, within the submit time-out.

        :param monitor: shows, whatever is raised in here, whether the request left and what came of its answer.
        :raises TransportError: if no whole answer came.
        """
        # On a fresh connection: a kept one can be closed by the server at the very moment the POST leaves.
        self.close()
        monitor.keeps_wire = True
        return self._request("POST", url, self._settings.submit_timeout, monitor, json.dumps(body).encode())

    def close(self) -> None:
        """Close this thread's connection; the next request opens another."""
        adapter: Adapter | None = self._own.__dict__.pop("adapter", None)
        if adapter is not None:
            adapter.close()

    def _request(
        self, method: str, url: str, timeout: float, monitor: RequestMonitor, body: bytes | None = None
    ) -> Answer:
        connect_timeout = self._settings.connect_timeout
        monitor.begin(connect_timeout, timeout, self._settings.api_key)
        adapter = self._adapter()
        headers = self._headers(body)
        try:
            with adapter.exchange(
                method,
                url,
                headers,
                route=self.route,
                monitor=monitor,
                timeout=(connect_timeout, timeout),
                body=body,
            ) as response:
                monitor.response = response
                for piece in pieces(response):
                    monitor.body += piece
                    bounded(len(monitor.body))
                monitor.finish()
        except Exception as error:  # whatever it is: only the monitor knows whether the request left
            if monitor.answer is None:
                raise self._not_answered(error, monitor, timeout) from None
        assert monitor.answer is not None
        return monitor.answer

    def _adapter(self) -> Adapter:
        now, process = time.monotonic(), os.getpid()
        forked = getattr(self._own, "process", process) != process  # two on one connection get each other's answers
        if forked or now - getattr(self._own, "last_used", now) > LONGEST_IDLE:
            self.close()
        self._own.last_used, self._own.process = now, process
        adapter: Adapter | None = getattr(self._own, "adapter", None)
        if adapter is None:
            adapter = self._own.adapter = Adapter()
        return adapter

    def _headers(self, body: bytes | None) -> dict[str, str]:
        return {
            "Host": self.route.host,
            "Authorization": Secret(f"Bearer {self._settings.api_key}"),
            "User-Agent": USER_AGENT,
            "Accept": "application/json",
            "Accept-Encoding": "identity",  # a broken answer stays readable as far as it came
            **({} if body is None else {"Content-Type": "application/json"}),
        }

    def _not_answered(self, error: Exception, monitor: RequestMonitor, timeout: float) -> TransportError:
        late = f"no whole answer within {timeout:g} s"
        return TransportError(
            late if monitor.timed_out else describe(error, self._settings.api_key),
            request_left=monitor.request_left,
            partial=monitor.partial(),
            untrusted=isinstance(cause(error), ssl.SSLError),
        )
