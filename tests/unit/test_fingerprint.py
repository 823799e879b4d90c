"""Two requests are the same video unless more than a signature differs."""

import pytest

from airflow_provider_digitalhuman.api.request import VideoRequest
from airflow_provider_digitalhuman.fingerprint import fingerprint

AUDIO, VIDEO, BASE = "https://h.example.com/a.mp3", "https://h.example.com/v.mp4", "https://api.example.com"


def of(audio: str = AUDIO, video: str = VIDEO, base: str = BASE, **parameters) -> str:
    return fingerprint(VideoRequest(audio, video, **parameters), base)


@pytest.mark.parametrize(
    "signature",
    [
        "X-Amz-Algorithm=AWS4&X-Amz-Date=2026&X-Amz-Signature={}",
        "X-Goog-Signature={}&X-Goog-Expires=5",
        "sv=2024&se=2026-01-0{}&sr=b&sp=r&sig={}",
        "Expires={}&Signature=x%2B&Key-Pair-Id=k",
        "OSSAccessKeyId=i&Expires=1&Signature={}",
        "q-sign-algorithm=sha1&q-signature={}",
        "X-Tos-Algorithm=TOS4-HMAC-SHA256&X-Tos-Date=2026&X-Tos-Signature={}",
        "AccessKeyId=i&Expires=1&Signature={}&x-obs-security-token=s",
        "authorization=bce-auth-v1%2Fi%2F{}",
        "e=145149120{}&token=i:{}",
        "auth_key=1451491200-0-0-{}",
        "t=6502{}&us=abc{}&sign={}",
        "x-expires=1451491{}&x-signature={}",
        "wsSecret={}&wsTime=650{}",
        "hdnts=exp=1451491{}~hmac={}",
    ],
)
def test_signing_a_url_again_does_not_make_another_video(signature):
    first, second = (f"{AUDIO}?take=1&{signature.replace('{}', digit)}" for digit in "12")
    assert of(first) == of(second)
    assert of(first) == of(f"{AUDIO}?take=1")
    assert of(first) != of(f"{AUDIO}?take=2")


def test_whatever_changes_the_video_changes_the_fingerprint():
    variants = [
        of(),
        of(audio=f"{AUDIO}?t=1"),
        of(audio=f"{AUDIO}?t=2"),
        of(audio="https://h.example.com/b.mp3"),
        of(video="https://h.example.com/w.mp4"),
        of(base="https://other.example.com"),
        of(model="m"),
        of(model_version=1),
        of(model_version=None),
        of(side_face=True),
        of(tilted_face=True),
        of(audio=f"{AUDIO}?id=1"),
        of(audio=f"{AUDIO}?id="),
    ]
    assert len(set(variants)) == len(variants)


def test_what_does_not_change_the_body_does_not_change_it():
    assert of(side_face="0", model_version="2") == of()
    assert of(audio=f"{AUDIO}#t=1") == of()
