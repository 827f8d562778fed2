"""From which good files does the fuzzer begin? Small ones, written when it starts.

Ours are written by our own writers and by trainings of a second; the others by PyTorch,
safetensors, h5py and Pillow, where these are there.
"""

from __future__ import annotations

import io
import os
import shutil
import traceback
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path

import h5py
import numpy as np
from PIL import Image, features

import minigrad as mg
from apps import cli
from apps.captioning import shapes
from apps.cola import data as cola
from apps.cola import grammar
from apps.cola.course import VOCABULARY_FILE
from apps.cola.reading import Reader
from scripts.fuzzing import hostile

FIXTURES = Path(__file__).resolve().parents[2] / "tests/fixtures/torch"
SMALL = ("--hidden-dim", "4", "--epochs", "1", "--device", "cpu")

# Formats of pictures: the end of the name, what Pillow calls it, its mode.
FORMATS = {
    "png": ("PNG", "RGB"),
    "grey.png": ("PNG", "I;16"),
    "jpg": ("JPEG", "RGB"),
    "gif": ("GIF", "P"),
    "bmp": ("BMP", "RGB"),
    "tif": ("TIFF", "RGB"),
    "webp": ("WEBP", "RGBA"),
    "ppm": ("PPM", "RGB"),
    "jp2": ("JPEG2000", "RGB"),
    "avif": ("AVIF", "RGB"),
}
NEEDED = {"WEBP": "webp", "JPEG2000": "jpg_2000", "AVIF": "avif"}


def minigrad(*arguments: object) -> None:
    """Run a command in this process, quietly.

    Raises: RuntimeError if it fails.
    """
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        status = cli.minigrad.main(list(map(str, arguments)), standalone_mode=False)
    if status:
        raise RuntimeError(f"{arguments} ended with {status}: {said.getvalue()}")


def write(root: Path) -> None:
    """Write all seeds below a folder."""
    for make in (_captions, _sentences, _runs, _weights, _archives, _pictures):
        make(root)


def _captions(root: Path) -> None:
    coco = root / "coco"
    coco.mkdir()
    shapes.make(coco, 1, (4, 2))
    for split, count in (("train", 4), ("val", 2)):
        lines = "".join(f"http://example.com/{split}/{i}.jpg\n" for i in range(count))
        (coco / f"{split}2014_urls.txt").write_text(lines)
    packed = shutil.copytree(coco, root / "packed")
    for path in packed.glob("*_pca.h5"):
        with h5py.File(path, "r+") as file:
            values = file["features"][()]
            del file["features"]
            file.create_dataset(
                "features", data=values, chunks=(2, values.shape[1]), compression="gzip"
            )


def _sentences(root: Path) -> None:
    corpus = grammar.corpus(0, 40, 20)
    cola.write_corpus(root / "cola", corpus)
    course = root / "course"
    course.mkdir()
    reader = Reader.of_the_course(corpus)
    for name, sentences in (("train", corpus.train), ("val", corpus.validation)):
        ids = reader.rows([reader.read(one.text) for one in sentences])
        np.save(course / f"{name}_inxs.npy", ids)
        np.save(course / f"{name}_labels.npy", [one.label for one in sentences])
    lines = "".join(f"{word},{n}\n" for word, n in reader.ids.items())
    (course / VOCABULARY_FILE).write_text(lines)
    members = {
        f"cola_public/raw/{path.name}": path.read_bytes()
        for path in sorted((root / "cola").iterdir())
    }
    (root / "zip").mkdir()
    (root / "zip/cola.zip").write_bytes(hostile.packed(members))


def _runs(root: Path) -> None:
    caption = ("--wordvec-dim", "4", "--cell", "gru", *SMALL)
    run, judge = root / "run", root / "judge"
    minigrad("caption", "train", "--data", root / "coco", "--run", run, *caption)
    arguments = ("--recipe", "transformer", "--embed-dim", "4", *SMALL)
    minigrad("cola", "train", "--data", root / "cola", "--run", judge, *arguments)
    for path in (*run.glob("*.png"), *judge.glob("*.png")):
        path.unlink()


def _weights(root: Path) -> None:
    folder = root / "weights"
    folder.mkdir()
    arrays = {
        "features.0.weight": np.ones((2, 3), "float32"),
        "b": np.arange(4),
        "c": np.ones((2, 2, 2), "float16"),
    }
    np.savez(folder / "w.npz", **arrays)
    mg.io.save_safetensors(folder / "w.safetensors", arrays, {"by": "us"})
    for name in ("zip", "legacy", "tagger"):
        shutil.copy(FIXTURES / f"{name}.pth", folder)
    with suppress(ImportError):
        _foreign_weights(folder, arrays)


def _foreign_weights(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    import torch
    from safetensors.torch import save_file

    state = {name: torch.from_numpy(array) for name, array in arrays.items()}
    state["views"] = torch.arange(12.0).reshape(3, 4).t()[1:]
    state["half"] = torch.ones(3, dtype=torch.bfloat16)
    torch.save(state, folder / "zip.pth")
    torch.save(state, folder / "legacy.pth", _use_new_zipfile_serialization=False)
    torch.save({"model": state, "epoch": 3}, folder / "tagger.pth")
    save_file({k: v.contiguous() for k, v in state.items()}, folder / "w.safetensors")


def _archives(root: Path) -> None:
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (2, 16, 16, 3), "uint8")
    np.savez(root / "zip/pictures.npz", X=X, y=np.array([3, 7]))
    np.savez_compressed(root / "zip/packed.npz", X=X, y=np.array([3, 7]))
    members = {"set/a.txt": b"one\n", "set/raw/b.bin": bytes(range(256)) * 8}
    (root / "zip/set.zip").write_bytes(hostile.packed(members))


def _pictures(root: Path) -> None:
    folder = root / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (20, 24, 3), "uint8")
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    for end, (kind, mode) in FORMATS.items():
        if kind in NEEDED and not features.check(NEEDED[kind]):
            continue
        picture = Image.fromarray(colours)
        if mode == "I;16":
            picture = Image.fromarray(rng.integers(0, 2**16, (20, 24), "uint16"))
        elif mode != "RGB":
            picture = picture.convert(mode)
        options = {"exif": exif} if kind in ("PNG", "JPEG", "WEBP") else {}
        picture.save(folder / f"p.{end}", kind, **options)


def isolated(work: Callable[[], object]) -> None:
    """Do some work in a child, so that what it imports stays out of this process.

    Raises: RuntimeError if it fails.
    """
    child = os.fork()
    if not child:
        try:
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    if os.waitpid(child, 0)[1]:
        raise RuntimeError("the fuzzer's own files could not be made: see above")
