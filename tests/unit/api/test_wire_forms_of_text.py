"""What real systems send: other charsets, spellings of an MD5, the vendor's own words, an echoed key."""

import base64
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_digitalhuman.api.answer import Answer
from airflow_provider_digitalhuman.api.charset import decoded_text
from airflow_provider_digitalhuman.api.glossary import GLOSSES, glossed
from airflow_provider_digitalhuman.api.reader import LONGEST_KEPT, read_create, read_query
from airflow_provider_digitalhuman.api.redact import masked
from airflow_provider_digitalhuman.api.values import md5_of
from airflow_provider_digitalhuman.exceptions import (
    AuthenticationError,
    DigitalHumanError,
    InsufficientBalanceError,
    RequestRefusedError,
    SubmissionUnknownError,
)

ID = "abc-123"
FAILED = {"id": ID, "status": "failed", "error": "风控拒绝"}


def gbk(content: Any, announced: str | None = None, http_status: int = 200) -> Answer:
    return Answer(http_status, json.dumps(content, ensure_ascii=False).encode("gbk"), content_type=announced)


# --- charsets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "announced",
    [
        *("application/json;charset=GBK", 'text/plain; Charset="gb2312"', "application/json; charset=GB18030"),
        *(None, "application/json", "application/json; charset=utf-8", "application/json; charset=nonsense"),
        *("application/json; charset=", "text/plain; charset=hex", "text/plain; charset=idna"),
    ],
)
def test_reader_reads_gbk(announced: str | None) -> None:
    task = read_query(gbk(FAILED, announced), ID)
    assert (task.is_failed, task.error) == (True, "风控拒绝")
    with pytest.raises(RequestRefusedError, match=r"素材 URL 无法访问.*the media URL cannot be reached"):
        read_create(gbk({"code": 1001, "msg": "素材 URL 无法访问", "data": None}, announced))
    with pytest.raises(AuthenticationError, match="登录验证失败"):
        read_create(gbk({"code": "204", "msg": "登录验证失败"}, announced))
    accepted = read_create(gbk({"code": 0, "msg": "成功", "data": {"id": ID, "status": "queued"}}, announced))
    assert (accepted.id, accepted.status) == (ID, "queued")


@pytest.mark.parametrize("announced", ["charset=iso-8859-1", "charset=GBK", "charset=us-ascii", None])
def test_reader_reads_utf_8_whatever_is_announced(announced: str | None) -> None:
    task = read_query(Answer(200, json.dumps(FAILED, ensure_ascii=False).encode(), content_type=announced), ID)
    assert task.is_failed
    if announced != "charset=GBK":
        assert task.error == "风控拒绝"


def test_charset_that_is_announced_is_read() -> None:
    assert decoded_text("é".encode("latin-1"), "text/plain; charset=ISO-8859-1") == "é"
    assert decoded_text("テスト".encode("shift-jis"), "charset=Shift_JIS") == "テスト"
    assert decoded_text("一".encode("gbk"), "charset=gbk") == "一"  # these two bytes are valid in UTF-8 as well
    assert decoded_text("é".encode("utf-8-sig"), None) == "é"
    assert decoded_text('{"a": 1}'.encode("utf-16"), None) == '{"a": 1}'


@given(body=st.binary(), content_type=st.none() | st.text(max_size=20).map("charset={}".format))
def test_any_bytes_are_a_text(body: bytes, content_type: str | None) -> None:
    assert isinstance(decoded_text(body, content_type), str)


# --- the file's MD5 ---------------------------------------------------------------------------------------------------

DIGEST = hashlib.md5(b"video", usedforsecurity=False)
HEX = DIGEST.hexdigest()
BASE64 = base64.b64encode(DIGEST.digest()).decode()


@pytest.mark.parametrize(
    "spelled",
    [
        *(HEX, HEX.upper(), f" {HEX} ", f'"{HEX}"', f"'{HEX.upper()}'", f"md5:{HEX}", f"MD5: {HEX}", f"md5={HEX}"),
        *(f'"md5:{HEX}"', f'md5:"{HEX}"', BASE64, BASE64.rstrip("="), f'"{BASE64}"', f"md5:{BASE64}"),
        BASE64.replace("+", "-").replace("/", "_"),
    ],
)
def test_md5_is_read_however_it_is_spelled(spelled: str) -> None:
    assert md5_of(spelled) == HEX
    completed = {"id": ID, "status": "completed", "video_url": "https://h/v.mp4", "md5": spelled}
    assert read_query(Answer(200, json.dumps(completed).encode()), ID).md5 == HEX


@given(st.binary(min_size=16, max_size=16))
def test_md5_is_read_from_base64(digest: bytes) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        assert md5_of(encode(digest).decode()) == digest.hex()


@pytest.mark.parametrize("text", ["Unknown", HEX[:-1], HEX + "0", "sha1:" + HEX, BASE64[:-3] + "B==", "v1.mp4", "md5:"])
def test_what_is_no_md5_stays_as_it_came(text: str) -> None:
    assert md5_of(text) == text


@pytest.mark.parametrize("value", [None, "", " ", 5, [], {}])
def test_md5_that_is_missing_is_none(value: Any) -> None:
    assert md5_of(value) is None


# --- the vendor's words -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words", "english", "kind"),
    [
        ({"code": "204", "msg": "登录验证失败"}, "登录验证失败", "login check failed", AuthenticationError),
        ({"code": 7, "msg": "风控拒绝"}, "风控拒绝", "risk control", RequestRefusedError),
        ({"code": 7, "msg": "余额不足"}, "余额不足", "insufficient balance", InsufficientBalanceError),
        ({"code": 7, "msg": "账户已欠费，请充值"}, "欠费", "in arrears; top up", InsufficientBalanceError),
        ({"code": 1001, "msg": "素材 URL 无法访问"}, "素材 URL 无法访问", "media URL cannot be", RequestRefusedError),
        ({"msg": "缺少必填参数: prompt"}, "缺少必填参数: prompt", "required parameter", SubmissionUnknownError),
        ({"code": 500, "msg": "系统繁忙"}, "系统繁忙", "system is busy", RequestRefusedError),
    ],
)
def test_error_shows_vendors_words_and_what_they_mean(
    content: Any, words: str, english: str, kind: type[DigitalHumanError]
) -> None:
    for ascii_only in (True, False):
        with pytest.raises(kind) as caught:
            read_create(Answer(200, json.dumps(content, ensure_ascii=ascii_only).encode()))
        assert words in str(caught.value)
        assert english in str(caught.value).partition("(in English: ")[2]


def test_gloss_is_found_behind_the_end_of_an_excerpt() -> None:
    with pytest.raises(RequestRefusedError, match="risk control"):
        read_create(Answer(200, json.dumps({"code": 7, "x": "x" * 500, "msg": "风控拒绝"}).encode()))


def test_every_known_message_has_one_gloss() -> None:
    for pattern, gloss in GLOSSES:
        message = pattern.replace(" ?", " ")
        assert glossed(message) == f"{message} (in English: {gloss})"
    assert glossed("no face") == "no face"


@pytest.mark.parametrize(
    "it",
    [
        Answer(402, b""),
        Answer(200, '{"code": 1002, "msg": "余额不足"}'.encode()),
        Answer(403, b'{"code": "Arrearage", "msg": "account in arrears"}'),
        Answer(400, b'{"msg": "insufficient credit"}'),
    ],
)
def test_refusal_for_want_of_money_says_what_to_do(it: Answer) -> None:
    with pytest.raises(
        InsufficientBalanceError,
        match=r"The account has no balance: top it up, then clear the task\. Nothing was charged\.",
    ) as caught:
        read_create(it)
    assert "same input" not in str(caught.value)


# --- an echoed key ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["hush-7", "zz", "sk-short-key", "sk-4f1d-this-is-the-key-9c2b"])
def test_echoed_key_is_masked_in_every_field_that_is_shown(key: str) -> None:
    echo = {"code": f"bad {key}", "md5": key, "status": key, "created": key, "message": key, "model": key}
    for content in (
        {"id": ID, **echo, "error": echo},
        {"id": ID, **echo, "status": "failed", "error": {"code": key}},
        {"id": ID, **echo, "status": f"failed {key}", "error": {"code": [key], "type": key}},
    ):
        it = Answer(200, json.dumps(content).encode(), secret=key)
        task = read_query(it, ID)
        assert task.id == ID
        assert key not in json.dumps(task.to_dict()) + repr(task) + repr(it)
        assert key not in json.dumps(read_create(it).to_dict())


@pytest.mark.parametrize("key", ["204", "0", "failed", "1", "9", "a"])
def test_short_key_by_chance_in_a_value_that_decides_spoils_nothing(key: str) -> None:
    refused = Answer(200, '{"code": "204", "msg": "登录验证失败"}'.encode(), secret=key)
    with pytest.raises(AuthenticationError):
        read_create(refused)
    content = {"id": ID, "status": "failed", "created": "1761635478", "md5": HEX, "code": "0"}
    task = read_query(Answer(200, json.dumps(content).encode(), secret=key), ID)
    assert (task.status, task.md5) == ("failed", HEX)
    assert task.created is not None


def test_masked_text_without_a_key_is_itself() -> None:
    assert masked("a text", "") == "a text"
    assert masked("a text", "text") == "a ***"


# --- long answers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [LONGEST_KEPT, 3_000_000])
def test_long_answer_is_read_and_kept_in_part(size: int) -> None:
    url = "https://cdn.example.com/v.mp4"
    content = {"id": ID, "status": "completed", "video_url": url, "amount": 1.5, "x": "x" * size}
    for task in (read_query(Answer(200, json.dumps(content).encode()), ID), read_create(answer_of(content))):
        assert (task.is_completed, task.video_url, task.raw["amount"]) == (True, url, 1.5)
        assert len(json.dumps(task.to_dict())) < 500
    failed = read_query(answer_of({"id": ID, "status": "failed", "error": "no face " * size}), ID)
    assert failed.is_failed
    assert len(json.dumps([failed.to_dict(), dict(failed.raw)])) < 2000


def test_long_answer_keeps_each_known_field() -> None:
    known = {"id": ID, "object": "video", "created": 1767225600, "model": "m", "status": "processing", "md5": "a" * 32}
    known |= {"video_url": "https://cdn.example.com/v.mp4", "error": "none", "progress": 50, "amount": 1.5}
    known |= {"actualDuration": 12.5, "videoUrl": "https://cdn.example.com/w.mp4"}
    known |= {"result_url": "https://cdn.example.com/x.mp4", "resultUrl": "https://cdn.example.com/y.mp4"}
    inner = {**known, "x": "x" * LONGEST_KEPT}
    assert dict(read_query(answer_of(inner), ID).raw) == known
    assert dict(read_create(answer_of({"id": "outer", "data": inner})).raw) == {**known, "id_outside_data": "outer"}


def test_answer_is_kept_whole_up_to_its_limit() -> None:
    content = {"id": ID, "status": "processing", "x": ""}
    content["x"] = "x" * (LONGEST_KEPT - len(json.dumps(content)))
    assert dict(read_query(answer_of(content), ID).raw) == content
    content["x"] += "x"
    assert "x" not in read_query(answer_of(content), ID).raw


@pytest.mark.parametrize(("characters", "kept"), [(4096, True), (4097, False)])
def test_known_field_of_long_answer_is_kept_up_to_its_limit(characters: int, kept: bool) -> None:
    content = {"id": ID, "status": "processing", "progress": "p" * (characters - 2), "x": "x" * LONGEST_KEPT}
    assert ("progress" in read_query(answer_of(content), ID).raw) is kept


@pytest.mark.parametrize("number", [7, 2**63, 10**40])
def test_whole_number_of_any_length_is_an_id_and_an_error_code(number: int) -> None:
    assert read_create(answer_of({"id": number})).id == str(number)
    with pytest.raises(RequestRefusedError):
        read_create(answer_of({"code": number, "msg": "no"}))


def answer_of(content: Any) -> Answer:
    return Answer(200, json.dumps(content).encode())
