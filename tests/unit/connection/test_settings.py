"""The Airflow connection: every form that it can have, through the hook's real ``get_connection``."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_digitalhuman.connection.settings import ConnectionSettings
from airflow_provider_digitalhuman.exceptions import InvalidConnectionError
from airflow_provider_digitalhuman.hooks.digitalhuman import DigitalHumanHook

DEFAULT = "https://zcbservice.aizfw.cn/kyyReactApiServer"


def refusal(hook: DigitalHumanHook, key: str) -> str:
    """The message about a bad connection; it names the connection, and never the key."""
    with pytest.raises(InvalidConnectionError) as caught:
        _ = hook.settings
    message = str(caught.value)
    assert "digitalhuman_default" in message
    assert key not in message
    return message


# --- the base URL -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "base_url"),
    [
        ({}, DEFAULT),
        ({"host": ""}, DEFAULT),
        ({"host": "  "}, DEFAULT),
        ({"host": "https://api.example.com"}, "https://api.example.com"),
        ({"host": "https://api.example.com/"}, "https://api.example.com"),
        ({"host": " https://api.example.com/a/b/ "}, "https://api.example.com/a/b"),
        ({"host": "HTTP://api.example.com/A"}, "http://api.example.com/A"),
        ({"host": "http://127.0.0.1:8099/kyyReactApiServer"}, "http://127.0.0.1:8099/kyyReactApiServer"),
        ({"host": "api.example.com"}, "https://api.example.com"),
        ({"host": "api.example.com/a"}, "https://api.example.com/a"),
        ({"host": "api.example.com:8443"}, "https://api.example.com:8443"),
        ({"host": "api.example.com:8443/a"}, "https://api.example.com:8443/a"),
        ({"host": "localhost:8099/a"}, "https://localhost:8099/a"),
        ({"host": "api.example.com", "port": 8443}, "https://api.example.com:8443"),
        ({"host": "api.example.com/a", "port": 8443}, "https://api.example.com:8443/a"),
        ({"host": "https://api.example.com/a", "port": 8443}, "https://api.example.com:8443/a"),
        ({"host": "https://api.example.com:8443/a", "port": 8443}, "https://api.example.com:8443/a"),
        ({"host": "api.example.com", "schema": "http"}, "http://api.example.com"),
        ({"host": "api.example.com", "schema": "HTTPS"}, "https://api.example.com"),
        ({"host": "api.example.com/a", "schema": "http", "port": 8099}, "http://api.example.com:8099/a"),
        ({"host": "http://api.example.com", "schema": "http"}, "http://api.example.com"),
        ({"host": "api.example.com", "schema": "a/b"}, "https://api.example.com/a/b"),
        ({"host": "api.example.com", "schema": "/a/b/"}, "https://api.example.com/a/b"),
        ({"host": "api.example.com/a", "schema": "a"}, "https://api.example.com/a"),
        ({"host": "[::1]:8099"}, "https://[::1]:8099"),
        ({"host": "::1", "port": 8099}, "https://[::1]:8099"),
        ({"host": "2001:DB8::1"}, "https://[2001:db8::1]"),
        ({"host": "http://[::1]/a", "port": 8099}, "http://[::1]:8099/a"),
    ],
)
def test_base_url_of_a_json_connection(connect: Any, fields: dict[str, Any], base_url: str) -> None:
    assert connect(**fields).settings.base_url == base_url


@pytest.mark.parametrize(
    ("uri", "base_url"),
    [
        ("digitalhuman://:KEY@", DEFAULT),
        ("digitalhuman://:KEY@api.example.com", "https://api.example.com"),
        ("digitalhuman://:KEY@api.example.com:1234/path", "https://api.example.com:1234/path"),
        ("digitalhuman://:KEY@api.example.com:1234/a%2Fb", "https://api.example.com:1234/a/b"),
        ("digitalhuman://:KEY@api.example.com:8099/http", "http://api.example.com:8099"),
        ("digitalhuman://:KEY@[::1]:8099/path", "https://[::1]:8099/path"),
        ("digitalhuman://:KEY@[::1]:8099/http", "http://[::1]:8099"),
        ("digitalhuman://:KEY@http%3A%2F%2F127.0.0.1%3A8099%2Fpath", "http://127.0.0.1:8099/path"),
        ("digitalhuman://:KEY@https%3A%2F%2Fapi.example.com%2Fpath/", "https://api.example.com/path"),
    ],
)
def test_base_url_of_airflows_uri_form(monkeypatch: pytest.MonkeyPatch, key: str, uri: str, base_url: str) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_DIGITALHUMAN_DEFAULT", uri.replace("KEY", key))
    settings = DigitalHumanHook().settings
    assert settings.base_url == base_url
    assert settings.api_key == key


def test_a_key_with_special_characters_in_the_uri_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_DIGITALHUMAN_DEFAULT", "digitalhuman://:a%2Fb%2B%3D%40%3A@api.example.com")
    assert DigitalHumanHook().settings.api_key == "a/b+=@:"


def test_extras_of_the_uri_form_are_texts(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_DIGITALHUMAN_DEFAULT",
        f"digitalhuman://:{key}@api.example.com?model=m&submit_timeout=60&verify=false&connect_timeout=1.5",
    )
    settings = DigitalHumanHook().settings
    assert settings.model == "m"
    assert (settings.connect_timeout, settings.submit_timeout, settings.query_timeout) == (1.5, 60, 30)
    assert settings.verify is False


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"host": "ftp://api.example.com"}, "host"),
        ({"host": "https://"}, "host"),
        ({"host": "https:///path"}, "host"),
        ({"host": "https://api.example.com:port"}, "host"),
        ({"host": "https://api.example.com:99999"}, "host"),
        ({"host": "https://[::1"}, "host"),
        ({"host": "https://api example.com"}, "host"),
        ({"host": "https://api.example.com/a b"}, "host"),
        ({"host": "https://api.例え.com"}, "host"),
        ({"host": "https://api.example.com/路"}, "host"),
        ({"host": "https://api.example.com/a\x00b"}, "host"),
        ({"host": "https://api.example.com?a=1"}, "host"),
        ({"host": "https://api.example.com#a"}, "host"),
        ({"host": "https://user:pw@api.example.com"}, "host"),
        ({"host": "https://api.example.com:1", "port": 2}, "port"),
        ({"host": "https://api.example.com", "schema": "http"}, "schema"),
        ({"host": "https://api.example.com/a", "schema": "b"}, "schema"),
        ({"schema": "http"}, "schema"),
        ({"port": 8099}, "port"),
        ({"host": "api.example.com", "schema": "a?b=c"}, "schema"),
        ({"host": "api.example.com", "schema": "a b"}, "schema"),
    ],
)
def test_a_base_url_that_cannot_be_used(connect: Any, key: str, fields: dict[str, Any], field: str) -> None:
    assert field in refusal(connect(**fields), key)


# --- the key ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("password", [None, "", "  ", "\n"])
def test_no_key(connect: Any, key: str, password: str | None) -> None:
    message = refusal(connect(password=password), key)
    assert "the field API key (password)" in message


@pytest.mark.parametrize(
    "password", ["Bearer {}", "{} {}", "{}\nX-Injected: 1", "{}\r\nHost: a", "{}é", "{}\x00", "任{}", "{}\t{}"]
)
def test_a_key_that_is_no_header_value(connect: Any, key: str, password: str) -> None:
    assert "password" in refusal(connect(password=password.format(key, key)), key)


def test_space_around_a_pasted_key_is_dropped(connect: Any, key: str) -> None:
    assert connect(password=f" {key}\n").settings.api_key == key


@pytest.mark.parametrize(
    "host",
    [
        "https://KEY@api.example.com",
        "https://:KEY@api.example.com",
        "https://u:KEY@api.example.com:port",
        "https://u:KEY@[bad",
        "https://u:KEY@api℀.example.com",
        "u:KEY@api.example.com",
        "https://api.example.com?key=KEY",
        "https://api.example.com/#KEY",
        "https://api.example.com:KEY",
        "https://api.example.com/ KEY",
        "KEY:KEY",
        "ftp://KEY",
    ],
)
def test_a_key_in_the_wrong_field_is_not_shown(connect: Any, key: str, host: str) -> None:
    refusal(connect(host.replace("KEY", key)), key)


@pytest.mark.parametrize("name", ["model", "connect_timeout", "submit_timeout", "query_timeout", "verify", "proxies"])
@pytest.mark.parametrize("wrap", [lambda key: [key], lambda key: {"a": key}])
def test_a_key_in_the_wrong_extra_is_not_shown(connect: Any, key: str, name: str, wrap: Any) -> None:
    refusal(connect(extra={name: wrap(key)}), key)


@pytest.mark.parametrize("name", ["connect_timeout", "verify", "proxies"])
def test_a_key_as_the_wrong_extra_is_not_shown(connect: Any, key: str, name: str) -> None:
    refusal(connect(extra={name: f"x {key}"}), key)


def test_repr_hides_key_and_proxies(connect: Any, key: str) -> None:
    hook = connect(extra={"proxies": "http://user:proxy-pw@proxy.example.com:3128"})
    assert key not in repr(hook.settings)
    assert "proxy-pw" not in repr(hook.settings)
    assert key not in repr(vars(hook)) + repr(hook) + str(hook.settings)


# --- extra ------------------------------------------------------------------------------------------------------------


def test_defaults(connect: Any, key: str) -> None:
    assert connect().settings == ConnectionSettings(
        api_key=key,
        base_url=DEFAULT,
        model="kyy_digitalHuman",
        connect_timeout=10,
        submit_timeout=180,
        query_timeout=30,
        verify=True,
        proxies={},
    )


@pytest.mark.parametrize("extra", [{}, None, "", "{}", dict.fromkeys(["model", "verify", "proxies", "query_timeout"])])
def test_empty_extras_are_the_defaults(connect: Any, extra: Any) -> None:
    assert connect(extra=extra).settings == connect().settings


def test_empty_form_fields_are_the_defaults(connect: Any) -> None:
    names = ["model", "connect_timeout", "submit_timeout", "query_timeout", "verify", "proxies"]
    assert connect(extra=dict.fromkeys(names, "")).settings == connect().settings


@pytest.mark.parametrize("extra", ["[]", "1", '"text"', "null", "{"])
def test_extra_that_is_no_object(key: str, extra: str) -> None:
    """Airflow itself refuses such connections since 3.0, but a metadata database may hold older ones."""
    connection = AnyConnection(host=None, schema=None, port=None, password=key, extra=extra)
    with pytest.raises(InvalidConnectionError, match="extra"):
        ConnectionSettings.from_connection(connection)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["connect_timeout", "submit_timeout", "query_timeout"])
@pytest.mark.parametrize(("value", "seconds"), [(1, 1.0), (0.5, 0.5), ("20", 20.0), (" 2.5 ", 2.5)])
def test_timeouts(connect: Any, name: str, value: Any, seconds: float) -> None:
    assert getattr(connect(extra={name: value}).settings, name) == seconds


@pytest.mark.parametrize("name", ["connect_timeout", "submit_timeout", "query_timeout"])
@pytest.mark.parametrize("value", [0, -1, "0", "soon", True, False, [], {}, "nan", "inf", "1e999", 1e12, 10**400])
def test_timeouts_that_are_none(connect: Any, key: str, name: str, value: Any) -> None:
    assert f"extra.{name}" in refusal(connect(extra={name: value}), key)


@pytest.mark.parametrize(
    ("value", "verify"),
    [
        *((value, True) for value in (True, "true", "True", "1", 1, None, "", " true ")),
        *((value, False) for value in (False, "false", "FALSE", "0", 0)),
    ],
)
def test_verify_as_a_switch(connect: Any, value: Any, verify: bool) -> None:
    assert connect(extra={"verify": value}).settings.verify is verify


def test_verify_as_a_ca_file(connect: Any, tmp_path: Path) -> None:
    ca_file = tmp_path / "ca bundle.pem"
    ca_file.touch()
    assert connect(extra={"verify": str(ca_file)}).settings.verify == str(ca_file)


@pytest.mark.parametrize("value", ["/no/such/file.pem", "maybe", 2, [], {"a": 1}])
def test_verify_that_is_neither(connect: Any, key: str, value: Any) -> None:
    assert "extra.verify" in refusal(connect(extra={"verify": value}), key)


BOTH = {"http": "http://proxy.example.com:3128", "https": "http://proxy.example.com:3128"}


@pytest.mark.parametrize(
    ("value", "proxies"),
    [
        *((value, {}) for value in (None, "", {}, "{}", "  ")),
        ("http://proxy.example.com:3128", BOTH),
        (" http://proxy.example.com:3128 ", BOTH),
        ({"https": "http://proxy.example.com:3128"}, {"https": "http://proxy.example.com:3128"}),
        (json.dumps(BOTH), BOTH),
    ],
)
def test_proxies(connect: Any, value: Any, proxies: dict[str, str]) -> None:
    assert connect(extra={"proxies": value}).settings.proxies == proxies


@pytest.mark.parametrize(
    "value",
    [
        *("proxy.example.com:3128", '{"https": ', '["http://user:proxy-pw@p"]', ["http://user:proxy-pw@p"], 5, True),
        *({"https": 1}, {"https": "user:proxy-pw@proxy:1"}, {"https": None}),
        *("http://user:proxy-pw@proxy:port", {"https": "http://user:proxy-pw@[bad"}, "http://"),
        *("http://user:12#proxy-pw@proxy:1", "http://user:proxy-pw/a@proxy:1"),
    ],
)
def test_proxies_that_cannot_be_used(connect: Any, key: str, value: Any) -> None:
    message = refusal(connect(extra={"proxies": value}), key)
    assert "extra.proxies" in message
    assert "proxy-pw" not in message


@pytest.mark.parametrize("model", [5, [], {"a": 1}, True, "  "])
def test_a_model_that_is_no_name(connect: Any, key: str, model: Any) -> None:
    assert "extra.model" in refusal(connect(extra={"model": model}), key)


# --- any connection ---------------------------------------------------------------------------------------------------

texts = st.one_of(
    st.none(), st.text(max_size=20), st.sampled_from(["http://h", "h:1", "[::1]", "https://u:p@h", "h/p"])
)
extras = st.dictionaries(
    st.sampled_from(["model", "connect_timeout", "submit_timeout", "query_timeout", "verify", "proxies"]),
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=10), st.lists(st.text(max_size=3))
    ),
)


class AnyConnection:
    """The fields that a connection has."""

    conn_id = "digitalhuman_default"

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)


@given(
    host=texts, schema=texts, password=texts, port=st.one_of(st.none(), st.integers(-1, 70000)), extra=st.one_of(
        extras.map(json.dumps), texts
    )
)  # fmt: skip
def test_any_connection_is_read_or_refused(**fields: Any) -> None:
    try:
        settings = ConnectionSettings.from_connection(AnyConnection(**fields))  # type: ignore[arg-type]
    except InvalidConnectionError as error:
        str(error).encode()
        return
    assert settings.base_url.startswith(("http://", "https://"))
    assert settings.base_url.isascii()
    assert settings.base_url.isprintable()
    assert settings.connect_timeout > 0
    assert settings.api_key
