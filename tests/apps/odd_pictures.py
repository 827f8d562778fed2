"""Which picture files do tests read?  Noise, and some that say what is not so."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, features


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    shape = (height, width, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype="uint8")


def write(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


def saved(form: str, size: tuple[int, int] = (40, 24), **options: Any) -> bytes:
    file = io.BytesIO()
    picture = Image.linear_gradient("L").convert("RGB").resize(size)
    with warnings.catch_warnings():
        # Pillow reads some of what it is given to write.
        warnings.simplefilter("ignore")
        picture.save(file, form, **options)
    return file.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    size, checksum = len(content), zlib.crc32(kind + content)
    return struct.pack(">I", size) + kind + content + struct.pack(">I", checksum)


def png(
    width: int,
    height: int,
    *more: bytes,
    bits: int = 8,
    colour: int = 2,
    interlaced: int = 0,
    content: bytes = b"",
) -> bytes:
    """A PNG, with chunks before its pixels, of which there may be none."""
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced)
    pixels = chunk(b"IDAT", content or zlib.compress(bytes(1000)))
    begin = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head)
    return begin + b"".join(more) + pixels + chunk(b"IEND", b"")


def webp(kind: bytes, content: bytes) -> bytes:
    body = b"WEBP" + kind + struct.pack("<I", len(content)) + content
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webp_lossless(width: int, height: int) -> bytes:
    bits = (width - 1) | (height - 1) << 14
    return webp(b"VP8L", b"\x2f" + struct.pack("<I", bits) + bytes(9))


def webp_extended(width: int, height: int) -> bytes:
    sizes = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    inner = webp_lossless(min(width, 16383), min(height, 16383))[12:]
    return webp(b"VP8X", b"\x00" * 4 + sizes) + inner


def gif(width: int, height: int, disposal: int = 2) -> bytes:
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    control = b"!\xf9\x04" + bytes([disposal << 2]) + bytes(4)
    frame = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0)
    return screen + control + frame + b"\x02\x02\x4c\x01\x00;"


def tiff(*tags: tuple[int, int, int, int], size: int = 64) -> bytes:
    """A TIFF of tags (number, type, count, value), and as many bytes more."""
    rows = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags))
    head = b"II*\0" + struct.pack("<IH", 8, len(tags))
    return head + rows + struct.pack("<I", 0) + bytes(size)


def tiff_of(width: int, height: int, *more: tuple[int, int, int, int]) -> bytes:
    """A grey TIFF that says how large it is."""
    tags = {
        256: (256, 4, 1, width),
        257: (257, 4, 1, height),
        258: (258, 3, 1, 8),
        259: (259, 3, 1, 8),
        262: (262, 3, 1, 1),
        273: (273, 4, 1, 8),
        277: (277, 3, 1, 1),
        278: (278, 4, 1, height),
        279: (279, 4, 1, 64),
    } | {tag[0]: tag for tag in more}
    return tiff(*tags.values())


def jpeg(width: int, height: int, **options: Any) -> bytes:
    """A JPEG whose header has another size than its pixels."""
    content = saved("JPEG", **options)
    place = content.index(b"\xff\xc2" if options else b"\xff\xc0")
    size = struct.pack(">HH", height, width)
    return content[: place + 5] + size + content[place + 9 :]


def jpeg_of_scans(width: int, height: int, scans: int) -> bytes:
    """A progressive JPEG that goes through all its pixels again and again."""
    content = jpeg(width, height, progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * scans + content[-2:]


def exif_of_tags(count: int) -> bytes:
    """EXIF data of which each tag says that it has all the others."""
    size = 12 * count
    tags = b"".join(
        struct.pack(">HHII", number, 7, size, 8) for number in range(1, count + 1)
    )
    return b"Exif\0\0MM\0*" + struct.pack(">IH", 8, count) + tags + bytes(4)


def patched(content: bytes, before: bytes, after: bytes) -> bytes:
    assert before in content
    return content.replace(before, after)


def large() -> Iterator[tuple[str, bytes]]:
    """Files that say that their pictures are large, each with a name."""
    yield "png.png", png(30000, 30000)
    yield "png-13000.png", png(13000, 13000)
    yield "png-16-bits.png", png(13000, 13000, bits=16, colour=0)
    yield "png-16-bits-rgba.png", png(13000, 13000, bits=16, colour=6)
    yield "png-interlaced.png", png(13000, 13000, interlaced=1)
    yield "png-zeros.png", png(
        13000, 13000, bits=1, colour=0, content=zlib.compress(bytes(13000 * 1626))
    )
    yield "strip.png", png(2**31 - 1, 8)
    yield "gif.gif", gif(65535, 65535)
    yield "gif-13000.gif", gif(13000, 13000)
    yield "gif-kept.gif", gif(13000, 13000, disposal=3)
    yield "bmp.bmp", b"BM" + struct.pack(
        "<IIIIiiHHIIIIII", 54, 0, 54, 40, 13000, 13000, 1, 24, 0, 0, 0, 0, 0, 0
    )
    for kind, levels in ((b"P6", 255), (b"P6", 65535), (b"P5", 65535), (b"P4", 0)):
        head = b"%s 13000 13000 " % kind + (b"%d\n" % levels if levels else b"")
        yield f"{kind.decode()}-{levels}.ppm", head + bytes(100)
    yield "floats.pfm", b"Pf\n13000 13000\n-1.0\n" + bytes(100)
    yield "tiff.tiff", tiff_of(13000, 13000)
    yield "tiff-70000.tiff", tiff_of(70000, 70000)
    yield "floats.tiff", tiff_of(13000, 13000, (258, 3, 1, 32), (339, 3, 1, 3))
    tile = (322, 4, 1, 2**15), (323, 4, 1, 2**15), (324, 4, 1, 8), (325, 4, 1, 64)
    yield "tile.tiff", tiff_of(16, 16, *tile)
    yield "jpeg.jpg", jpeg(65500, 65500)
    yield "progressive.jpg", jpeg(13000, 13000, progressive=True)
    yield "scans.jpg", jpeg_of_scans(6000, 6000, 2000)
    if features.check("webp"):
        yield "lossless.webp", webp_lossless(16383, 16383)
        yield "lossless-9000.webp", webp_lossless(9000, 9000)
        yield "extended.webp", webp_extended(16383, 16383)
        yield "extended-2.webp", webp_extended(2**24, 200)
        lossy = saved("WEBP")
        place = lossy.index(b"\x9d\x01\x2a") + 3
        size = struct.pack("<HH", 16383, 16383)
        yield "lossy.webp", lossy[:place] + size + lossy[place + 4 :]
    if features.check("avif"):
        size = struct.pack(">II", 40, 24)
        yield "avif.avif", patched(saved("AVIF"), size, struct.pack(">II", 9999, 9999))
    if features.check("jpg_2000"):
        size, much = struct.pack(">II", 24, 40), struct.pack(">II", 9000, 9000)
        both = patched(saved("JPEG2000"), size, much)
        yield "header.jp2", both
        size = struct.pack(">II", 40, 24)
        yield "both.jp2", patched(both, size, much)


def crowded() -> Iterator[tuple[str, bytes]]:
    """Small pictures in files that hold much besides, or say so, each with a name."""
    zeros = zlib.compress(bytes(20_000_000))
    yield "text.png", png(40, 24, chunk(b"zTXt", b"a\0\0" + zeros))
    text = b"a\0\x01\0\0\0" + zeros
    yield "international.png", png(40, 24, chunk(b"iTXt", text))
    yield "profile.png", png(40, 24, chunk(b"iCCP", b"a\0\0" + zeros))
    million = zlib.compress(bytes(10**6))
    texts = [chunk(b"zTXt", b"a%d\0\0" % i + million) for i in range(500)]
    yield "texts.png", png(40, 24, *texts)
    frames = chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))
    control = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 40, 24, 0, 0, 1, 1, 1, 0))
    yield "frames.png", png(40, 24, frames, control)
    exif = exif_of_tags(5000)
    optional = [form for form in ("WEBP", "AVIF") if features.check(form.lower())]
    for form in ("JPEG", "PNG", *optional):
        yield f"exif.{form.lower()}", saved(form, exif=exif)
    exif = exif_of_tags(60_000)
    yield "much-exif.png", saved("PNG", exif=exif)
    tags = [(number, 7, 12 * 60_000, 8) for number in range(1000, 61_000)]
    yield "tags.tiff", tiff(*tags)
    if features.check("jpg_2000"):
        size, much = struct.pack(">II", 40, 24), struct.pack(">II", 9000, 9000)
        yield "inside.jp2", patched(saved("JPEG2000"), size, much)
