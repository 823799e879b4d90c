"""Requests to Airflow's REST API: which version answers, proof of identity, pages, and refusals in sentences."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from airflow_provider_digitalhuman.exceptions import LedgerError

if TYPE_CHECKING:
    import requests

_PAGE: Final = 100
_TIMEOUT: Final = 30.0


class AirflowHttp:
    """Airflow's REST API, ``/api/v2`` of Airflow 3 or ``/api/v1`` of Airflow 2.11.

    :param url: address of the API server (Airflow 3) or webserver (2.11), without ``/api/…``.
    :param token: a bearer token, or None.
    :param login: user and password, or None.
    :raises LedgerError: if nothing there answers as Airflow does, or it refuses the login.
    """

    def __init__(self, url: str, token: str | None = None, login: tuple[str, str] | None = None) -> None:
        import requests

        if urlsplit(url).username is not None:
            raise LedgerError("The address of Airflow's API holds a user name: give it by --user and --password.")
        self._base = url.rstrip("/")
        self._session = requests.Session()
        if token:
            self._session.auth = _Bearer(token)
        self.version = self._find_version()
        if login and not token:
            self._log_in(*login)

    @property
    def is_v1(self) -> bool:
        """Whether it is the API of Airflow 2."""
        return self.version < (3, 0)

    def address_of(self, path: str) -> str:
        """Return the whole URL of a path of the API."""
        return self._base + self._tree + path

    def pages(self, path: str, name: str, query: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the rows ``name`` of all pages of an answer.

        :raises LedgerError: as :meth:`call`.
        """
        seen = 0
        while True:
            page = self.call("GET", path, params={**query, "limit": _PAGE, "offset": seen})
            yield from page[name]
            seen += len(page[name])
            if not page[name] or seen >= page["total_entries"]:
                return

    def call(self, method: str, path: str, *, missing_is_none: bool = False, **options: Any) -> Any:
        """Return the JSON object of the answer, None if it is empty or, with ``missing_is_none``, HTTP 404.

        :param options: as ``requests`` takes them.
        :raises LedgerError: if there is no answer, it is a refusal, or it is not Airflow's.
        """
        response = self._send(method, path, **options)
        if missing_is_none and response.status_code == 404:
            return None
        if not 200 <= response.status_code < 300:
            raise LedgerError(_refusal(response))
        if not response.content:
            return None
        answer = parsed(response.text)
        if not isinstance(answer, dict):
            raise LedgerError(f"{_refusal(response)} That is no answer of Airflow's API: check --url.")
        return answer

    def _find_version(self) -> tuple[int, int]:
        answers = []
        for self._tree in ("/api/v2", "/api/v1"):
            answers.append(self._send("GET", "/version"))
            if answers[-1].status_code == 200:
                known = parsed(answers[-1].text)
                found = re.match(r"(\d+)\.(\d+)", str(known.get("version"))) if isinstance(known, dict) else None
                if found:
                    return int(found[1]), int(found[2])
        shown = next((answer for answer in answers if answer.status_code != 404), answers[0])
        raise LedgerError(f"{_refusal(shown)} At {self._base} no Airflow names its version: check --url.")

    def _log_in(self, user: str, password: str) -> None:
        if self.is_v1:
            self._session.auth = (user, password)
            return
        body = {"username": user, "password": password}
        response = self._send("POST", self._base + "/auth/token", json=body)
        token = parsed(response.text) if response.ok else None
        if not isinstance(token, dict) or not token.get("access_token"):
            raise LedgerError(
                f"Airflow gives no token for the user {user!r} (HTTP {response.status_code} of"
                f" {self._base}/auth/token): check --user and --password, or give a token (--token)."
            )
        self._session.auth = _Bearer(token["access_token"])

    def _send(self, method: str, path: str, **options: Any) -> "requests.Response":
        import requests

        url = path if path.startswith(self._base) else self.address_of(path)
        try:
            # A redirect would make a GET of a PUT, and a success of what was never written.
            return self._session.request(method, url, timeout=_TIMEOUT, allow_redirects=False, **options)
        except (requests.RequestException, ValueError) as error:
            raise LedgerError(
                f"Airflow's API at {self._base} does not answer: {error}. Give its address (--url or AIRFLOW_API_URL)."
            ) from error


class _Bearer:
    """Authentication by token; as ``auth`` of requests, so that no ``.netrc`` replaces it."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: "requests.PreparedRequest") -> "requests.PreparedRequest":
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def parsed(text: str | None) -> Any:
    """Return what a text is as JSON, the text itself where it is none."""
    try:
        return json.loads(text or "")
    except ValueError:
        return text


def _refusal(response: "requests.Response") -> str:
    cure = ""
    if response.status_code in (401, 403):
        cure = " Give a token, or user and password, of a user who may do this (--token, or --user and --password)."
        if "/api/v1/" in str(response.url):
            cure += " Where [api] auth_backends takes neither, use --local where Airflow's database can be reached."
    elif response.is_redirect:
        cure = f" It redirects to {response.headers['Location'][:200]}: give its own address (--url)."
    return f"Airflow's API answered HTTP {response.status_code}: {response.text[:300]}.{cure}"
