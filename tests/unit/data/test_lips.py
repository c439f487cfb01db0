import io
import os
import struct
import zlib

import av
import numpy as np
import pytest
import simplejpeg
from PIL import Image, ImageFile

from signbind_jax.data import lips
from signbind_jax.data.lips import decode_mosaic, encode_mosaic, resize
from signbind_jax.data_pipelines.readers.lip_crops import read_lip_crops
from signbind_jax.errors import SignBindError
from tests.drawn_faces import write_video


def crops(n_frames: int, height: int, width: int) -> np.ndarray:
    """Smooth crops, no two alike."""
    y, x = np.mgrid[:height, :width]
    frames = [120 + 100 * np.sin(y / 6 + i) * np.cos(x / 8) for i in range(n_frames)]
    return np.stack(frames).astype(np.uint8)


@pytest.mark.parametrize("shape", [(1, 32, 32), (7, 32, 32), (70, 33, 30), (5, 50, 100)])
def test_crops_survive_in_order_and_size(shape):
    frames = crops(*shape)
    decoded = decode_mosaic(encode_mosaic(frames), shape[0])
    assert decoded.shape == shape and decoded.dtype == np.uint8
    assert np.abs(decoded.astype(int) - frames).max() <= 8


def test_a_crop_does_not_bleed_into_its_neighbour():
    frames = np.zeros((9, 30, 30), np.uint8)
    frames[4] = 255
    decoded = decode_mosaic(encode_mosaic(frames), 9)
    assert decoded[4].min() > 250
    assert np.delete(decoded, 4, axis=0).max() < 5


def test_a_clip_of_minutes_keeps_inside_the_limits_of_jpeg():
    frames = np.zeros((20_000, 32, 32), np.uint8)
    frames[-1] = 200
    decoded = decode_mosaic(encode_mosaic(frames), 20_000)
    assert decoded.shape == frames.shape
    assert abs(int(decoded[-1].mean()) - 200) < 3


def test_cut_or_foreign_bytes_are_an_error_and_never_a_picture():
    data = encode_mosaic(crops(20, 32, 32))
    for cut in (0, 3, 11, 12, 40, len(data) // 2, len(data) - 30):
        with pytest.raises(SignBindError):
            decode_mosaic(data[:cut], 20)
    with pytest.raises(SignBindError, match="wanted a mosaic"):
        decode_mosaic(b"\xff\xd8\xff" + data, 20)
    forged = struct.pack("<4sHHI", b"LIP1", 200, 200, 20) + data[12:]
    with pytest.raises(SignBindError, match="another size"):
        decode_mosaic(forged, 20)


def test_a_mosaic_of_a_few_bytes_cannot_ask_for_gigabytes(monkeypatch):
    def decode(*_, **__):
        raise AssertionError("decoded")

    monkeypatch.setattr(simplejpeg, "decode_jpeg", decode)
    for n, height, width in ((1, 65_496, 65_496), (10**6, 256, 256), (1, 8, 65_535)):
        rows, columns = lips._grid(n, height, width)
        jpeg = claimed("jpg", min(columns * width, 65_500), min(rows * height, 65_500))
        with pytest.raises(SignBindError, match="wanted at most 134,217,728 pixels"):
            decode_mosaic(struct.pack("<4sHHI", b"LIP1", height, width, n) + jpeg, n)
    with pytest.raises(SignBindError, match="split the clip or make the crops smaller"):
        encode_mosaic(np.broadcast_to(np.uint8(0), (40, 2000, 2000)))


def test_another_number_of_crops_than_the_clip_says_is_an_error():
    with pytest.raises(SignBindError, match="holds 20 crops, the clip says 21"):
        decode_mosaic(encode_mosaic(crops(20, 32, 32)), 21)


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((0, 8, 8), np.uint8),
        np.zeros((2, 8, 8), np.float32),
        np.zeros((2, 8, 8, 3), np.uint8),
    ],
)
def test_what_is_no_stack_of_grey_crops_is_refused(bad):
    with pytest.raises(SignBindError, match="wanted uint8"):
        encode_mosaic(bad)


def test_too_large_for_one_jpeg_is_told():
    with pytest.raises(SignBindError, match="do not fit one JPEG"):
        # A view of one pixel: nothing of this size is allocated.
        encode_mosaic(np.broadcast_to(np.uint8(0), (10, 65_000, 16_000)))


def test_resize_keeps_what_it_shows():
    frames = crops(3, 96, 96)
    small = resize(frames, 32, 32)
    assert small.shape == (3, 32, 32) and small.dtype == np.uint8
    assert abs(small.mean() - frames.mean()) < 1


def test_images_come_in_natural_order(tmp_path):
    for i in (1, 2, 10, 9):
        Image.new("RGB", (40, 40), (i * 20,) * 3).save(tmp_path / f"mouth{i}.png")
    (tmp_path / "notes.txt").write_text("no image")
    frames, fps = read_lip_crops(tmp_path, 32)
    assert frames.mean((1, 2)).round().tolist() == [20, 40, 180, 200]
    assert fps == 0


def test_a_wide_crop_is_extended_and_not_stretched(tmp_path):
    wide = np.zeros((50, 100), np.uint8)
    wide[:, 40:60] = 255
    Image.fromarray(wide).save(tmp_path / "0.png")
    frames, _ = read_lip_crops(tmp_path, 32)
    bright = (frames[0] > 128).sum(1)
    assert frames.shape == (1, 32, 32)
    assert set(bright.tolist()) <= {6, 7}


def test_a_video_of_crops_keeps_its_frame_rate(tmp_path):
    path = tmp_path / "mouth.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width = stream.height = 48
        for frame_hw in crops(12, 48, 48):
            rgb = np.repeat(frame_hw[..., None], 3, -1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode())
    frames, fps = read_lip_crops(path, 32)
    assert frames.shape == (12, 32, 32) and fps == 30


def test_unreadable_or_missing_crops_are_named(tmp_path):
    with pytest.raises(SignBindError, match="found 0 frames"):
        read_lip_crops(tmp_path, 32)
    (tmp_path / "1.png").write_bytes(b"\x89PNG nothing")
    with pytest.raises(SignBindError, match="lips: 1.png: cannot be read as a picture"):
        read_lip_crops(tmp_path, 32)
    (tmp_path / "v.mp4").write_bytes(b"no video at all")
    with pytest.raises(SignBindError, match="v.mp4: lips: cannot be read as a video"):
        read_lip_crops(tmp_path / "v.mp4", 32)


def claimed(suffix: str, width: int, height: int) -> bytes:
    """A picture of a few bytes whose header claims another size."""
    if suffix == "png":
        data = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
        chunks = [(b"IHDR", data), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        )
    content = io.BytesIO()
    Image.new("L", (16, 16)).save(content, "JPEG")
    jpeg = bytearray(content.getvalue())
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(jpeg)


@pytest.mark.parametrize(
    ("suffix", "width", "height", "said"),
    [
        ("png", 640, 480, "640x480, wanted mouth crops of at most 256 pixels one way and 512"),
        ("png", 100_000, 200, "100000x200, wanted mouth crops"),
        ("jpg", 65_000, 256, "65000x256, wanted mouth crops"),
        ("jpg", 65_000, 65_000, "more than 40 million pixels"),
        ("png", 10**6, 100, "more than 40 million pixels"),
        ("png", 2**31 - 1, 2**31 - 1, "more than 40 million pixels"),
    ],
)
def test_a_size_is_checked_before_a_picture_is_decoded(
    tmp_path, suffix, width, height, said, monkeypatch
):
    (tmp_path / f"1.{suffix}").write_bytes(claimed(suffix, width, height))

    def load(image):
        raise AssertionError("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    with pytest.raises(SignBindError, match=f"lips: 1.{suffix}: found .*{said}"):
        read_lip_crops(tmp_path, 32)


def test_a_whole_video_is_no_mouth_crops(tmp_path):
    path = write_video(tmp_path / "v.mp4", [np.zeros((480, 640, 3), np.uint8)])
    with pytest.raises(SignBindError, match="v.mp4: lips: found pictures of 640x480"):
        read_lip_crops(path, 32)


def test_crops_are_not_endless(tmp_path, monkeypatch):
    monkeypatch.setattr(lips, "MOST_PIXELS", 3 * 32**2)
    for i in range(4):
        Image.new("L", (8, 8)).save(tmp_path / f"{i}.png")
    with pytest.raises(SignBindError, match="more than 3 frames"):
        read_lip_crops(tmp_path, 32)
    (tmp_path / "3.png").unlink()
    assert len(read_lip_crops(tmp_path, 32)[0]) == 3


def test_a_picture_from_elsewhere_or_a_pipe_is_no_crop(tmp_path):
    crops = tmp_path / "crops"
    crops.mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "secret.png")
    (crops / "1.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(SignBindError, match="lips: 1.png: leads out of the directory"):
        read_lip_crops(crops, 32)
    (crops / "1.png").unlink()
    os.mkfifo(crops / "1.png")
    with pytest.raises(SignBindError, match="lips: 1.png: no regular file"):
        read_lip_crops(crops, 32)


@pytest.mark.parametrize("times_ms", [(0, 5000, 10_000), (0, 0.2, 0.4)])
def test_a_rate_that_no_recording_has_is_refused(tmp_path, times_ms):
    frames = [np.zeros((48, 48, 3), np.uint8)] * 3
    slow = times_ms[1] > 1
    path = tmp_path / "v.mp4"
    write_video(path, frames, 25 if slow else 5000, times_ms=times_ms if slow else None)
    with pytest.raises(SignBindError, match="lips: found .* frames a second, wanted 1 to 1000"):
        read_lip_crops(path, 32)
