"""Makes the MP4 of a task: the picture of the presenter clip, the sound of the audio, as long as the audio.

No lips are moved. Streams are copied where the container allows it and encoded again where not.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

MAX_AUDIO_SECONDS: Final = 600.0
"""Longest audio that is turned into a video; a bound for this machine, the vendor states none."""

_ENCODER_TIME_BASE: Final = Fraction(1, 1000)
_FALLBACK_RATE: Final = Fraction(25)
_MAX_RATE: Final = Fraction(60)
_SAMPLE_RATE: Final = 48_000
"""Of encoded sound. An AAC packet is 1,024 samples: at 8 kHz the padding alone would be longer than 0.1 s."""


class MediaError(Exception):
    """The media cannot be used; the text goes into the ``error`` of the task."""


@dataclass(frozen=True)
class _Audio:
    seconds: Fraction
    copyable: bool


def produce(audio: Path, clip: Path, target: Path) -> float:
    """Write the MP4 and give back the length of the audio in seconds.

    :raises MediaError: if one of the inputs is not the media that it should be.
    """
    facts = _probe_audio(audio)
    copy_clip = _clip_is_copyable(clip)
    try:
        _write(audio, clip, target, facts, copy_audio=facts.copyable, copy_clip=copy_clip)
    except (FFmpegError, ValueError) as error:
        if not (facts.copyable or copy_clip):
            raise MediaError(f"the video could not be made: {_reason(error)}") from error
        try:  # what cannot be copied after all can often still be decoded
            _write(audio, clip, target, facts, copy_audio=False, copy_clip=False)
        except (FFmpegError, ValueError) as second:
            raise MediaError(f"the video could not be made: {_reason(second)}") from second
    return float(facts.seconds)


def _reason(error: FFmpegError | ValueError) -> str:
    """The error without the name of a temporary file."""
    return error.strerror or "unknown error" if isinstance(error, FFmpegError) else str(error)


def _open(path: Path) -> InputContainer:
    try:
        return av.open(str(path))
    except UnicodeDecodeError:  # tags in an old encoding; PyAV 19 reads them by itself and has no such parameter
        return av.open(str(path), "r", metadata_errors="replace")


def _probe_audio(path: Path) -> _Audio:
    try:
        with _open(path) as container:
            if not container.streams.audio:
                raise MediaError("audioUrl holds no audio")
            stream = container.streams.audio[0]
            end = Fraction(0)
            complete = True
            for packet in container.demux(stream):
                if packet.size == 0:
                    continue
                if packet.pts is None or not packet.duration or packet.time_base is None:
                    complete = False
                    continue
                end = max(end, (packet.pts + packet.duration) * packet.time_base)
                if end > MAX_AUDIO_SECONDS:
                    raise MediaError(f"audioUrl is longer than {MAX_AUDIO_SECONDS:.0f} s")
            context = stream.codec_context
            copyable = complete and context.name == "aac" and bool(context.extradata)
            if not complete:
                end = _decoded_seconds(path)
    except (FFmpegError, ValueError) as error:
        raise MediaError(f"audioUrl is not media that can be read: {_reason(error)}") from error
    if end <= 0:
        raise MediaError("audioUrl holds no sound")
    return _Audio(seconds=end, copyable=copyable)


def _decoded_seconds(path: Path) -> Fraction:
    seconds = Fraction(0)
    with _open(path) as container:
        for frame in container.decode(audio=0):
            seconds += Fraction(frame.samples, frame.sample_rate)
            if seconds > MAX_AUDIO_SECONDS:
                raise MediaError(f"audioUrl is longer than {MAX_AUDIO_SECONDS:.0f} s")
    return seconds


def _clip_is_copyable(path: Path) -> bool:
    try:
        with _open(path) as container:
            if not container.streams.video:
                raise MediaError("videoUrl holds no picture")
            context = container.streams.video[0].codec_context
            # With B-frames the clip could not be cut at any packet without harm to the pictures before.
            return (
                context.name == "h264"
                and context.pix_fmt == "yuv420p"
                and bool(context.extradata)
                and not context.has_b_frames
            )
    except (FFmpegError, ValueError) as error:
        raise MediaError(f"videoUrl is not media that can be read: {_reason(error)}") from error


def _write(audio: Path, clip: Path, target: Path, facts: _Audio, *, copy_audio: bool, copy_clip: bool) -> None:
    with (
        _open(audio) as sound,
        _open(clip) as picture,
        av.open(str(target), "w", format="mp4", options={"movflags": "faststart"}) as out,
    ):
        video_in, audio_in = picture.streams.video[0], sound.streams.audio[0]
        if copy_clip:
            video_out = out.add_stream_from_template(video_in)
            pictures = _copied_pictures(picture, video_in, video_out, facts.seconds)
        else:
            video_out = _video_encoder(out, video_in)
            pictures = _encoded_pictures(picture, video_out, facts.seconds)
        if copy_audio:
            audio_out = out.add_stream_from_template(audio_in)
            sounds = _copied_sounds(sound, audio_in, audio_out)
        else:
            audio_out = out.add_stream("aac", rate=_SAMPLE_RATE, layout=_layout(audio_in))
            sounds = _encoded_sounds(sound, audio_out)
        for packet in heapq.merge(pictures, sounds, key=_decode_time):
            out.mux(packet)


def _decode_time(packet: Packet[Any]) -> Fraction:
    return (packet.dts or 0) * (packet.time_base or Fraction(0))


def _copied_sounds(container: InputContainer, source: AudioStream, target: AudioStream) -> Iterator[Packet[Any]]:
    for packet in container.demux(source):
        if packet.is_corrupt:
            raise ValueError("the audio is cut off")
        if packet.size:
            packet.stream = target
            yield packet


def _layout(stream: AudioStream) -> str:
    return "mono" if stream.codec_context.channels == 1 else "stereo"


def _encoded_sounds(container: InputContainer, target: AudioStream) -> Iterator[Packet[Any]]:
    context = target.codec_context
    resampler = AudioResampler(format=context.format, layout=context.layout, rate=context.sample_rate)
    for frame in container.decode(audio=0):
        frame.pts = None  # the sound starts at 0, whatever its container says
        for resampled in resampler.resample(frame):
            yield from target.encode(resampled)
    for resampled in resampler.resample(None):
        yield from target.encode(resampled)
    yield from target.encode(None)


def _copied_pictures(
    container: InputContainer, source: VideoStream, target: VideoStream, seconds: Fraction
) -> Iterator[Packet[Any]]:
    time_base = source.time_base or Fraction(1, 90_000)
    end = int(seconds / time_base)
    frame_ticks = max(1, int(1 / (source.average_rate or _FALLBACK_RATE) / time_base))
    offset = 0
    while offset < end:
        container.seek(0)
        first: int | None = None
        last = 0
        for packet in container.demux(source):
            if not packet.size:
                continue
            if packet.is_corrupt or packet.pts is None or packet.dts is None:
                raise ValueError("a broken packet")
            if first is None:
                first = packet.pts
            packet.pts, packet.dts = packet.pts - first + offset, packet.dts - first + offset
            if packet.pts >= end:
                return
            last = packet.pts
            packet.stream = target
            yield packet
        if first is None:
            raise ValueError("no picture in the clip")
        offset = last + frame_ticks


def _video_encoder(out: av.container.OutputContainer, source: VideoStream) -> VideoStream:
    rate = source.average_rate or _FALLBACK_RATE
    stream = out.add_stream("h264", rate=min(rate, _MAX_RATE), options={"preset": "ultrafast"})
    stream.width = max(2, source.codec_context.width // 2 * 2)
    stream.height = max(2, source.codec_context.height // 2 * 2)
    stream.pix_fmt = "yuv420p"
    stream.codec_context.time_base = _ENCODER_TIME_BASE
    stream.codec_context.thread_count = 1  # the machine has other work to do
    return stream


def _encoded_pictures(container: InputContainer, target: VideoStream, seconds: Fraction) -> Iterator[Packet[Any]]:
    last_pts = -1
    for frame, time in _looped_frames(container):
        if time >= seconds:
            break
        pts = int(time / _ENCODER_TIME_BASE)
        if pts <= last_pts:
            continue
        last_pts = pts
        scaled = frame.reformat(width=target.width, height=target.height, format="yuv420p")
        scaled.pts, scaled.time_base = pts, _ENCODER_TIME_BASE
        yield from target.encode(scaled)
    yield from target.encode(None)


def _looped_frames(container: InputContainer) -> Iterator[tuple[VideoFrame, Fraction]]:
    """Every picture with its time in seconds, again from the start for ever."""
    stream = container.streams.video[0]
    frame_seconds = 1 / (stream.average_rate or _FALLBACK_RATE)
    offset = Fraction(0)
    while True:
        first: Fraction | None = None
        time = offset
        for frame in container.decode(stream):
            if frame.pts is None or frame.time_base is None:
                time = offset if first is None else time + frame_seconds
                first = first or Fraction(0)
            else:
                at = frame.pts * frame.time_base
                first = at if first is None else first
                time = max(offset, at - first + offset)
            yield frame, time
        if first is None:
            raise ValueError("no picture in the clip")
        offset = time + frame_seconds
        container.seek(0)
