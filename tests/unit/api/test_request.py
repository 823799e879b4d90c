"""VideoRequest against the vendor's page and the project's rules: what is sent, what is refused, in which words."""

import json
import re
import string
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from airflow_provider_digitalhuman.api.endpoints import (
    CREATE_PATH,
    DEFAULT_BASE_URL,
    DEFAULT_MODEL,
    create_url,
    result_url,
)
from airflow_provider_digitalhuman.api.redact import excerpt, redact_url
from airflow_provider_digitalhuman.api.request import VideoRequest, is_private_host
from airflow_provider_digitalhuman.exceptions import DigitalHumanError, InvalidRequestError

AUDIO = "https://media.example.com/speech.mp3"
VIDEO = "https://media.example.com/person.mp4"


def request(**changes: Any) -> VideoRequest:
    return VideoRequest(**{"audio_url": AUDIO, "video_url": VIDEO, **changes})


def refusal(**changes: Any) -> str:
    """The message that a bad parameter is refused with; it always names the field first."""
    with pytest.raises(InvalidRequestError) as caught:
        request(**changes)
    (field,) = changes
    message = str(caught.value)
    assert message.startswith(f"{field}="), message
    return message


# --- the body ---------------------------------------------------------------------------------------------------------


def test_body_of_a_plain_request_has_the_vendors_names_and_advice() -> None:
    assert request().body() == {
        "model": "kyy_digitalHuman",
        "audioUrl": AUDIO,
        "videoUrl": VIDEO,
        "modelVersion": 2,
    }


def test_body_with_everything_on() -> None:
    everything = request(model="digitalHuman", model_version=1, side_face=True, tilted_face=1)
    assert everything.body() == {
        "model": "digitalHuman",
        "audioUrl": AUDIO,
        "videoUrl": VIDEO,
        "modelVersion": 1,
        "sideFace": 1,
        "tiltedFace": 1,
    }
    assert all(type(value) in (str, int) for value in everything.body().values())


def test_none_leaves_the_model_version_out() -> None:
    assert "modelVersion" not in request(model_version=None).body()


@pytest.mark.parametrize("value", [1, 2, "1", "2"])
def test_model_version_is_sent_as_an_integer(value: Any) -> None:
    sent = request(model_version=value).body()["modelVersion"]
    assert type(sent) is int
    assert sent == int(value)


@pytest.mark.parametrize(
    "value",
    [0, 3, -1, 1.0, 2.0, True, False, "", " 2", "2 ", "02", "+2", "2.0", "two", "None", "٢", "２", [2], {}, b"2"],
)
def test_any_other_model_version_is_refused(value: Any) -> None:
    message = refusal(model_version=value)
    assert repr(value) in message
    assert "1, 2" in message


@pytest.mark.parametrize("field", ["side_face", "tilted_face"])
@pytest.mark.parametrize(
    ("value", "on"),
    [
        *((value, True) for value in (True, 1, "1", "True", "true", "TRUE")),
        *((value, False) for value in (False, 0, "0", "False", "false", None)),
    ],
)
def test_switches_take_bools_and_their_spellings(field: str, value: Any, on: bool) -> None:
    name = {"side_face": "sideFace", "tilted_face": "tiltedFace"}[field]
    body = request(**{field: value}).body()
    assert (body.get(name) == 1) is on
    assert (name in body) is on
    assert type(body.get(name)) in (int, type(None))


@pytest.mark.parametrize("field", ["side_face", "tilted_face"])
@pytest.mark.parametrize("value", [2, -1, 1.0, 0.0, "", "2", "yes", "no", "on", "None", " true", "１", [], [1], b"1"])
def test_any_other_switch_is_refused(field: str, value: Any) -> None:
    message = refusal(**{field: value})
    assert repr(value) in message
    assert "True or False" in message


@pytest.mark.parametrize("value", ["", " ", "\n\t", None, "None", 1, True, ["kyy_digitalHuman"]])
def test_the_model_must_be_a_name(value: Any) -> None:
    assert DEFAULT_MODEL in refusal(model=value)


def test_any_other_model_name_is_sent_as_it_is() -> None:
    assert request(model="digitalHuman").body()["model"] == "digitalHuman"


def test_equal_requests_however_they_were_spelled() -> None:
    assert request(model_version="2", side_face="True") == request(model_version=2, side_face=True)


# --- URLs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["audio_url", "video_url"])
@pytest.mark.parametrize(
    "url",
    [
        "http://media.example.com/a.mp3",
        "HTTPS://Media.Example.Com/a.MP3",
        "https://media.example.com:8443/a.mp4?X-Signature=abc%2F&b=1",
        "https://media.example.com/%E4%BB%BB%E5%8A%A1.mp4",
        "https://media.example.com",
        "https://media.example.com/dir.v2/file",
        "https://media.example.com/a.mp3?name=b.txt",
        "https://xn--fsqu00a.xn--0zwm56d/a.mp4",
        "https://8.8.8.8/a.mp4",
        "https://[2606:4700::1111]/a.mp4",
        "https://user:password@media.example.com/a.mp4",
    ],
)
def test_network_urls_are_taken_as_they_are(field: str, url: str) -> None:
    name = {"audio_url": "audioUrl", "video_url": "videoUrl"}[field]
    assert request(**{field: url}).body()[name] == url


@pytest.mark.parametrize("field", ["audio_url", "video_url"])
@pytest.mark.parametrize(
    ("value", "cure"),
    [
        ("/data/speech.mp3", "upload"),
        ("speech.mp3", "upload"),
        ("./speech.mp3", "upload"),
        (r"C:\speech.mp3", "upload"),
        ("file:///data/speech.mp3", "upload"),
        ("s3://bucket/speech.mp3", "upload"),
        ("ftp://media.example.com/speech.mp3", "upload"),
        ("data:audio/mp3;base64,AAAA", "upload"),
        ("//media.example.com/speech.mp3", "http"),
        ("media.example.com/speech.mp3", "http"),
        ("media.example.com:443/speech.mp3", "http"),
        ("https:///speech.mp3", "host"),
        ("https://", "host"),
        ("http://:8080/speech.mp3", "host"),
        ("https://user@/speech.mp3", "host"),
        ("https:media.example.com/speech.mp3", "host"),
        ("https://media.example.com:port/speech.mp3", "URL"),
        ("https://media.example.com:99999/speech.mp3", "URL"),
        ("https://[::1/speech.mp3", "URL"),
        ("https://media.example.com/my speech.mp3", "%20"),
        (" https://media.example.com/speech.mp3", "strip"),
        ("https://media.example.com/speech.mp3\n", "strip"),
        ("https://media.example.com/spe\tech.mp3", "whitespace"),
        ("https://media.example.com/\x00.mp3", "control"),
        ("https://media.example.com/\x7f.mp3", "control"),
        ("https://media.example.com/\u00a0.mp3", "whitespace"),
        ("https://media.example.com/\ud800.mp3", ""),
        ("", "URL"),
        (None, "URL"),
        (7, "URL"),
        (b"https://media.example.com/speech.mp3", "URL"),
        (["https://media.example.com/speech.mp3"], "URL"),
    ],
)
def test_anything_else_is_refused_with_the_cure(field: str, value: Any, cure: str) -> None:
    assert cure in refusal(**{field: value})


@pytest.mark.parametrize(
    ("url", "character", "offered"),
    [
        ("https://media.example.com/任务.mp4", "任", "https://media.example.com/%E4%BB%BB%E5%8A%A1.mp4"),
        ("https://media.example.com/a%20b/é.mp4", "é", "https://media.example.com/a%20b/%C3%A9.mp4"),
        ("https://bücher.example.com/a.mp4", "ü", "https://xn--bcher-kva.example.com/a.mp4"),
        ("https://bücher.example.com:8443/a.mp4", "ü", "https://xn--bcher-kva.example.com:8443/a.mp4"),
        ("https://media.example.com/😀.mp4", "😀", "https://media.example.com/%F0%9F%98%80.mp4"),
    ],
)
@pytest.mark.parametrize("field", ["audio_url", "video_url"])
def test_the_foreign_character_is_named_and_the_encoded_form_is_offered(
    field: str, url: str, character: str, offered: str
) -> None:
    message = refusal(**{field: url})
    assert repr(character) in message
    assert repr(offered) in message
    assert request(**{field: offered}).body()


@pytest.mark.parametrize("extension", ["mp4", "mp3", "wav", "m4a", "aac", "aar", "MP3", "Wav"])
def test_audio_extensions_of_the_vendors_list(extension: str) -> None:
    assert request(audio_url=f"https://media.example.com/speech.{extension}?x=1").body()


@pytest.mark.parametrize(
    "extension", ["flac", "ogg", "opus", "txt", "wma", "avi", "m3u8", "7z", "PDF", "jpg", "PNG", "mov", "%66lac"]
)
def test_audio_check_refuses_known_other_types_with_list(extension: str) -> None:
    message = refusal(audio_url=f"https://media.example.com/speech.{extension}?x=1")
    assert "mp4, mp3, wav, m4a, aac" in message
    assert "convert" in message


@pytest.mark.parametrize(
    "path",
    [
        *("get.php?id=7", "speech.do", "speech.ashx", "speech.v2", "a@example.com", "speech.aspx?f=a.txt", "x.jsp"),
        *("speech.mp5", "take.2", "take.10", "a.b.c", "speech.", ".mp3", "v1.2.3", "speech.mp3.", "tts.html"),
    ],
)
def test_audio_check_takes_ending_that_is_no_media_type(path: str) -> None:
    url = f"https://media.example.com/{path}"
    assert request(audio_url=url).body()["audioUrl"] == url


def test_the_video_extension_is_not_judged() -> None:
    assert request(video_url="https://media.example.com/person.mov").body()


# --- secrets in URLs --------------------------------------------------------------------------------------------------

SECRET = "Sig-s3cr3t"


@pytest.mark.parametrize("field", ["audio_url", "video_url"])
@pytest.mark.parametrize(
    "url",
    [
        f"https://media.example.com/my file.mp3?Signature={SECRET}",
        f"https://media.example.com/任务.mp3?Signature={SECRET}",
        f"https://media.example.com/a.mp3?名={SECRET}",
        f"https://media.example.com/a.mp3#任{SECRET}",
        f"https://user:{SECRET}@media.example.com/任.mp3",
        f"https://user:{SECRET}@/a.mp3",
        f"https://user:{SECRET}@media.example.com:port/a.mp3",
        f"https://user:{SECRET}@media℀.example.com/a.mp3",
        f"https://user:{SECRET}@[bad]/a.mp3",
        f"https://[::1/a.mp3?Signature={SECRET}",
        f"ftp://user:{SECRET}@media.example.com/a.mp3",
        f"s3://bucket/a.mp3?Signature={SECRET}",
        f"/data/a.mp3?Signature={SECRET}",
        f"https://media.example.com/a.mp3 ?Signature={SECRET}",
        f"https://media.example.com/a.mp3?Signature=\n{SECRET}",
        f"user:{SECRET}@media.example.com/a.mp3",
        f"https:user:{SECRET}@media.example.com/a.mp3",
    ],
)
def test_no_message_shows_a_signature_or_password(field: str, url: str) -> None:
    assert SECRET not in refusal(**{field: url})


@pytest.mark.parametrize("field", ["audio_url", "video_url", "model_version", "side_face", "model"])
@pytest.mark.parametrize(
    "wrap", [lambda url: [url], lambda url: {"url": url}, lambda url: url.encode(), lambda url: (url, 1)]
)
def test_no_message_shows_a_signature_in_a_value_of_the_wrong_type(field: str, wrap: Any) -> None:
    assert SECRET not in refusal(**{field: wrap(f"https://media.example.com/a.mp3?Signature={SECRET}")})


def test_the_message_for_a_bad_extension_hides_the_query_and_shows_the_path() -> None:
    message = refusal(audio_url=f"https://media.example.com/speech.flac?Signature={SECRET}")
    assert SECRET not in message
    assert "https://media.example.com/speech.flac" in message


def test_the_message_for_a_private_host_hides_the_query() -> None:
    private = request(audio_url=f"http://user:{SECRET}@10.0.0.1/a.mp3?Signature={SECRET}")
    with pytest.raises(InvalidRequestError) as caught:
        private.check_reachable_from(DEFAULT_BASE_URL)
    assert SECRET not in str(caught.value)
    assert str(caught.value).startswith("audio_url='http://10.0.0.1/a.mp3")


def test_a_long_value_is_cut() -> None:
    assert len(refusal(audio_url="x" * 10_000)) < 1000
    assert len(refusal(model_version="9" * 10_000)) < 1000
    assert len(refusal(side_face=["x"] * 10_000)) < 1000


# --- private hosts ----------------------------------------------------------------------------------------------------

PRIVATE = [
    *("localhost", "LOCALHOST", "localhost.", "me.localhost", "localhost.localdomain", "printer.local", "a.internal"),
    *("intranet", "db", "nas.home.arpa", "router.lan"),
    *("127.0.0.1", "127.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254"),
    *("0.0.0.0", "0", "127.1", "127.0.1", "10.1", "2130706433", "0x7f000001", "0x7f.1", "017700000001", "0177.0.0.1"),
    *("100.64.0.1", "127.0.0.1."),
    *("[::1]", "[::]", "[fc00::1]", "[fd12:3456::1]", "[fe80::1]", "[fe80::1%25eth0]", "[fec0::1]"),
    *("[::ffff:127.0.0.1]", "[::ffff:10.0.0.1]", "[::ffff:a00:1]", "[::127.0.0.1]", "[64:ff9b::10.0.0.1]"),
    *("[2002:7f00:1::]", "[2002:a00:1::1]"),
]
PUBLIC = [
    *(
        "media.example.com",
        "zcbservice.aizfw.cn",
        "8.8.8.8",
        "172.32.0.1",
        "192.169.0.1",
        "11.0.0.1",
        "126.255.255.255",
    ),
    *("[2606:4700::1111]", "[::ffff:8.8.8.8]", "localhost.example.com", "local.example.com", "mylocal.example.org"),
    *("notlocalhost.com", "134744072", "[64:ff9b::8.8.8.8]"),
]


@pytest.mark.parametrize("host", PRIVATE)
@pytest.mark.parametrize("field", ["audio_url", "video_url"])
def test_media_on_a_private_host_are_refused_for_the_public_api(field: str, host: str) -> None:
    private = request(**{field: f"http://{host}:8080/media.mp4"})
    with pytest.raises(InvalidRequestError, match=f"^{field}=") as caught:
        private.check_reachable_from(DEFAULT_BASE_URL)
    assert "public" in str(caught.value)


@pytest.mark.parametrize("host", PRIVATE)
def test_media_on_a_private_host_are_fine_for_a_private_api(host: str) -> None:
    private = request(audio_url=f"http://{host}/a.mp3", video_url="http://192.168.1.1/v.mp4")
    private.check_reachable_from(f"http://{host}:8080/kyyReactApiServer")
    private.check_reachable_from("http://127.0.0.1:8080")


@pytest.mark.parametrize("host", PUBLIC)
def test_public_media_are_fine_for_every_api(host: str) -> None:
    public = request(audio_url=f"http://{host}/a.mp3", video_url=f"https://{host}:8443/v.mp4")
    public.check_reachable_from(DEFAULT_BASE_URL)
    public.check_reachable_from("http://localhost:8080")


def test_the_check_looks_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def no_lookup(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a name was looked up")

    for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "create_connection"):
        monkeypatch.setattr(socket, name, no_lookup)
    assert not is_private_host("media.example.com")
    assert is_private_host("db")


# --- endpoints --------------------------------------------------------------------------------------------------------


def test_the_vendors_addresses() -> None:
    assert create_url(DEFAULT_BASE_URL) == "https://zcbservice.aizfw.cn/kyyReactApiServer/v1/digitalHuman/videos"
    assert result_url(DEFAULT_BASE_URL, "abc") == "https://zcbservice.aizfw.cn/kyyReactApiServer/v1/result/abc"
    assert create_url("http://127.0.0.1:1/") == "http://127.0.0.1:1" + CREATE_PATH


@pytest.mark.parametrize(
    "task_id", ["a/b", "..", ".", "a?b#c", "任务", "a b", "%2F", "a%", "\ud800", "x\x00y", "é" * 50]
)
def test_an_id_is_one_path_segment(task_id: str) -> None:
    import requests

    url = result_url("http://127.0.0.1:1/base", task_id)
    segment = url.removeprefix("http://127.0.0.1:1/base/v1/result/")
    assert re.fullmatch(r"[A-Za-z0-9._~%-]+", segment)
    sent = requests.Request("GET", url).prepare().url
    assert sent == url or segment.replace("%2E", ".") in str(sent)


@given(st.text(min_size=1).filter(lambda text: text.isprintable()))
def test_any_id_survives_the_way_into_the_path(task_id: str) -> None:
    from urllib.parse import unquote

    segment = result_url("http://h", task_id).removeprefix("http://h/v1/result/")
    assert unquote(segment) == task_id
    assert "/" not in segment


# --- properties -------------------------------------------------------------------------------------------------------

anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.binary(),
    st.lists(st.text(), max_size=3),
    st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
)
urlish = st.builds(
    lambda *parts: "".join(parts),
    st.sampled_from(["http://", "https://", "HTTPS://", "file:///", "//", "", "http:", "ftp://"]),
    st.sampled_from(["", "u:p@", "@", "u@"]),
    st.one_of(
        st.sampled_from(
            ["media.example.com", "127.0.0.1", "[::1]", "[::1", "例え.jp", "ex℀mple.com", "a..b", "", "[v1.x]"]
        ),
        st.text(max_size=8),
    ),
    st.sampled_from(["", ":80", ":", ":x", ":99999"]),
    st.text(max_size=12).map(lambda text: "/" + text),
    st.sampled_from(["", ".mp3", ".flac", ".mp3?sig=s", "#f"]),
)


@given(
    audio_url=st.one_of(anything, urlish),
    video_url=st.one_of(anything, urlish),
    model=anything,
    model_version=anything,
    side_face=anything,
    tilted_face=anything,
    base_url=st.sampled_from([DEFAULT_BASE_URL, "http://127.0.0.1:1"]),
)
def test_whatever_comes_in_is_a_request_or_an_invalid_request(base_url: str, **parameters: Any) -> None:
    message = ""
    try:
        checked = VideoRequest(**parameters)
        checked.check_reachable_from(base_url)
        assert json.loads(json.dumps(checked.body())) == checked.body()
    except InvalidRequestError as error:
        message = str(error)
    assert not message or re.match(r"(audio_url|video_url|model|model_version|side_face|tilted_face)=", message)
    assert message.encode("utf-8").decode("utf-8") == message


@given(url=urlish)
@example(url="https://媒.example.com:80/é é.mp4")
def test_every_single_bad_url_is_refused_and_every_good_one_is_ascii(url: str) -> None:
    try:
        body = request(video_url=url).body()
    except InvalidRequestError:
        return
    sent = str(body["videoUrl"])
    assert sent == url
    assert sent.isascii()
    assert sent.isprintable()
    assert " " not in sent
    assert sent.lower().startswith(("http://", "https://"))


@given(path=st.text(min_size=1, max_size=20))
def test_the_offered_url_is_one_that_is_taken(path: str) -> None:
    url = "https://media.example.com/" + path
    assume(not path.isascii() and "?" not in path and "#" not in path)
    try:
        request(video_url=url)
    except InvalidRequestError as error:
        offered = re.search(r"use '([^']*)'", str(error))
        if offered:
            assert request(video_url=offered.group(1))
    else:
        pytest.fail(f"{url!r} was taken")


@given(value=anything.filter(lambda value: type(value) not in (bool, int, str, type(None))))
def test_no_other_type_is_a_switch_or_a_version(value: Any) -> None:
    for field in ("side_face", "tilted_face", "model_version"):
        with pytest.raises(DigitalHumanError):
            request(**{field: value})


@given(
    prefix=st.sampled_from(["", "see ", "(", '"', "URL: ", "\\n", "x"]),
    user=st.sampled_from(["", f"u:{SECRET}@", f"{SECRET}@"]),
    path=st.text(string.ascii_letters + "/.%-", max_size=20),
    separator=st.sampled_from(["?", "?a=1&b=", "?a\\u003d", "?a=b\\u0026c\\u003d"]),
    suffix=st.sampled_from(["", " and more", '"', "'}", "\n"]),
    slashes=st.sampled_from(["//", "\\/\\/"]),
)
def test_excerpts_hide_what_urls_hide(
    prefix: str, user: str, path: str, separator: str, suffix: str, slashes: str
) -> None:
    text = f"{prefix}https:{slashes}{user}h.example.com/{path}{separator}{SECRET}{suffix}"
    assert SECRET not in excerpt(text)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h/p?a=1", "https://h/p?…"),
        ("https://u:p@h:1/p?a=1#f", "https://h:1/p?…"),
        ("https://h/p", "https://h/p"),
        ("https://h/p/a@b", "https://h/p/a@b"),
        ("https://h/p//a@b", "https://h/p//a@b"),
        ("https://h/p#access_token=1", "https://h/p"),
        ("//u:p@h/p", "//h/p"),
        ("http://[::1]:8080/p?", "http://[::1]:8080/p"),
    ],
)
def test_redacted_urls_stay_recognisable(url: str, shown: str) -> None:
    assert redact_url(url) == shown


def test_excerpts_are_one_printable_line() -> None:
    assert excerpt("a\r\n\x00b\x1b[31m\tc") == "a b [31m c"
    assert len(excerpt("x" * 10_000)) < 400


def test_a_signature_does_not_stick_out_of_a_cut() -> None:
    text = "x" * 270 + f" https://media.example.com/a.mp3?Signature={SECRET}"
    assert SECRET[:3] not in excerpt(text)
