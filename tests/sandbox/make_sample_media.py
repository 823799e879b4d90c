"""Draws and speaks the sample media of the sandbox again.

    python tests/sandbox/make_sample_media.py

Needs PyAV and, for the speech, the command ``espeak-ng``. Run by hand; the results are committed.
"""

import math
import subprocess
import tempfile
from fractions import Fraction
from pathlib import Path

import av

MEDIA = Path(__file__).parents[2] / "airflow_provider_digitalhuman" / "sandbox" / "media"
TEXT = "Hello! I am your presenter. This is the Digital Human sandbox."
SIZE = 320
SCALE = 2  # drawn twice as large and scaled down, which smooths the edges
RATE = 25
SECONDS = 3

BACKGROUND = (96, 150, 112)
SKIN = (190, 108, 150)
HAIR = (60, 118, 140)
SHIRT = (110, 160, 100)
COLLAR = (225, 128, 128)
WHITE = (235, 128, 128)
DARK = (30, 128, 128)
LIPS = (110, 116, 172)


class Canvas:
    """Three planes (Y, U, V) of the same size, filled row by row."""

    def __init__(self, size):
        self.size = size
        self.planes = [bytearray([value]) * (size * size) for value in BACKGROUND]

    def ellipse(self, x, y, rx, ry, color, top=-1.0, bottom=1.0):
        for row in range(max(0, math.ceil(y + top * ry)), min(self.size - 1, int(y + bottom * ry)) + 1):
            half = rx * math.sqrt(max(0.0, 1 - ((row - y) / ry) ** 2))
            left, right = max(0, round(x - half)), min(self.size, round(x + half))
            for plane, value in zip(self.planes, color, strict=True):
                plane[row * self.size + left : row * self.size + right] = bytes([value]) * (right - left)


def draw(phase):
    """One picture; phase runs from 0 to 1 and its ends meet, so that the clip loops without a jump."""
    canvas = Canvas(SIZE * SCALE)
    sway = 8 * math.sin(2 * math.pi * phase)
    nod = 3 * math.sin(4 * math.pi * phase)
    eye_open = 0.15 if 0.46 < phase < 0.51 else 1.0

    def put(x, y, rx, ry, color, **part):
        canvas.ellipse(x * SCALE, y * SCALE, rx * SCALE, ry * SCALE, color, **part)

    put(160, 330, 120, 90, SHIRT)
    put(160 + sway / 3, 250, 42, 34, COLLAR)
    put(160 + sway / 2, 232, 28, 40, SKIN)
    x, y = 160 + sway, 145 + nod
    put(x, y - 14, 82, 98, HAIR)
    put(x, y + 4, 70, 86, SKIN)
    put(x, y - 4, 80, 92, HAIR, bottom=-0.55)
    for side in (-1, 1):
        put(x + side * 28, y - 8, 14, 10 * eye_open, WHITE)
        put(x + side * 28 + sway / 4, y - 8, 6, 7 * eye_open, DARK)
        put(x + side * 28, y - 28, 16, 4, HAIR)
    put(x + sway / 5, y + 20, 7, 10, (175, 110, 152))
    put(x + sway / 6, y + 48, 24, 9, LIPS)
    put(x + sway / 6, y + 45, 24, 5, SKIN)
    frame = av.VideoFrame(canvas.size, canvas.size, "yuv444p")
    for plane, data in zip(frame.planes, canvas.planes, strict=True):
        padded = b"".join(
            bytes(data[row * canvas.size : (row + 1) * canvas.size]).ljust(plane.line_size, b"\0")
            for row in range(canvas.size)
        )
        plane.update(padded)
    return frame.reformat(SIZE, SIZE, "yuv420p", interpolation="AREA")


def make_presenter(path):
    with av.open(str(path), "w", options={"movflags": "faststart"}) as out:
        # No B-frames: the sandbox may then cut the clip at any frame without encoding it again.
        stream = out.add_stream("libx264", rate=RATE, options={"preset": "veryslow", "crf": "27", "bf": "0", "g": "25"})
        stream.width = stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        for number in range(RATE * SECONDS):
            frame = draw(number / (RATE * SECONDS))
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def make_speech(path):
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "speech.wav"
        subprocess.run(["espeak-ng", "-v", "en-us", "-s", "185", "-w", str(wav), TEXT], check=True)
        with (
            av.open(str(wav)) as source,
            av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as out,
        ):
            stream = out.add_stream("aac", rate=44100, layout="mono")
            stream.bit_rate = 64_000
            for frame in source.decode(audio=0):
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))


if __name__ == "__main__":
    make_presenter(MEDIA / "presenter.mp4")
    make_speech(MEDIA / "speech.m4a")
    for file in sorted(MEDIA.glob("*.m*")):
        print(file.name, file.stat().st_size, "bytes")
