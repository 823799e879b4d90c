"""The video of inputs that cannot simply be copied."""

import math
import struct
import wave
from fractions import Fraction
from pathlib import Path

import av
import pytest

from airflow_provider_digitalhuman.sandbox import files
from airflow_provider_digitalhuman.sandbox.video import MediaError, produce


def make_wav(path: Path, seconds: float, rate: int) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        samples = (int(9000 * math.sin(number / rate * 2764)) for number in range(int(seconds * rate)))
        file.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))
    return path


def make_clip(path: Path, codec: str, pictures: int, width: int, height: int, **options: str) -> Path:
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(pictures):
            frame = av.VideoFrame(width, height, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes([number * 8 % 256]) * plane.buffer_size)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def check(path: Path, seconds: float) -> None:
    with av.open(str(path)) as container:
        sound, picture = container.streams.audio[0], container.streams.video[0]
        assert (sound.codec_context.name, picture.codec_context.name) == ("aac", "h264")
        assert float(sound.duration * sound.time_base) == pytest.approx(seconds, abs=0.1)
        assert float(picture.duration * picture.time_base) == pytest.approx(seconds, abs=0.1)
        assert container.duration / 1e6 == pytest.approx(seconds, abs=0.1)
    with av.open(str(path)) as container:
        times = [frame.time for frame in container.decode(video=0)]
        assert times == sorted(times)
        assert times[-1] == pytest.approx(seconds, abs=0.1)


@pytest.mark.parametrize(("seconds", "rate"), [(2.5, 8_000), (0.3, 44_100)])
@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("clip.mp4", "libx264", {"bf": "0"}),
        ("clip.mp4", "libx264", {"bf": "2"}),
        ("clip.webm", "libvpx", {}),
        ("clip.avi", "mpeg4", {}),
    ],
)
def test_other_formats_are_encoded(tmp_path, seconds, rate, name, codec, options):
    clip = make_clip(tmp_path / name, codec, 20, 162, 90, **options)
    target = tmp_path / "target.mp4"
    assert produce(make_wav(tmp_path / "a.wav", seconds, rate), clip, target) == pytest.approx(seconds, abs=0.05)
    check(target, seconds)


def test_a_clip_longer_than_the_speech_is_cut(tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", "libx264", 200, 64, 64, bf="0")
    target = tmp_path / "target.mp4"
    seconds = produce(files.MEDIA / "speech.m4a", clip, target)
    check(target, seconds)


def test_a_single_picture_is_enough(tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", "libx264", 1, 64, 64, bf="0")
    target = tmp_path / "target.mp4"
    check(target, produce(files.MEDIA / "speech.m4a", clip, target))


def test_adts_sound(tmp_path):
    with av.open(str(files.MEDIA / "speech.m4a")) as source, av.open(str(tmp_path / "a.aac"), "w") as out:
        stream = out.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(audio=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    target = tmp_path / "target.mp4"
    check(target, produce(tmp_path / "a.aac", files.MEDIA / "presenter.mp4", target))


def test_tags_in_an_old_encoding_do_no_harm(tmp_path):
    wav = make_wav(tmp_path / "a.wav", 1.0, 16_000).read_bytes()
    tags = b"INFOINAM" + (8).to_bytes(4, "little") + b"caf\xe9 \xfc\xff\0"
    wav += b"LIST" + len(tags).to_bytes(4, "little") + tags
    (tmp_path / "a.wav").write_bytes(wav[:4] + (len(wav) - 8).to_bytes(4, "little") + wav[8:])
    target = tmp_path / "target.mp4"
    check(target, produce(tmp_path / "a.wav", files.MEDIA / "presenter.mp4", target))


@pytest.mark.parametrize("content", [b"", b"x", b"<html></html>", b"\0" * 5000, b"RIFF\xff\xff\xff\xffWAVEfmt "])
def test_rubbish_is_a_media_error(tmp_path, content):
    rubbish = tmp_path / "rubbish"
    rubbish.write_bytes(content)
    for audio, clip in ((rubbish, files.MEDIA / "presenter.mp4"), (files.MEDIA / "speech.m4a", rubbish)):
        with pytest.raises(MediaError) as raised:
            produce(audio, clip, tmp_path / "target.mp4")
        assert str(tmp_path) not in str(raised.value)


def test_cut_off_media_are_a_media_error(tmp_path):
    whole = (files.MEDIA / "presenter.mp4").read_bytes()
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MediaError):
        produce(files.MEDIA / "speech.m4a", broken, tmp_path / "target.mp4")


def test_samples_are_small():
    assert sum((files.MEDIA / name).stat().st_size for name in files.SAMPLES) < 200_000
