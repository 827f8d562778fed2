"""A file of COCO's full size: does it train within 1 GB, as fast as a small one?

Writes a made-up set into a folder (82,783 x 4,096 float32 features, 400,135 captions:
2.0 GB), opens it as `minigrad caption train --features full` does, learns from some
minibatches, and prints the seconds to start, the words a second and the largest memory;
then the same for a small set that fits. Each is measured in a process of its own:

    python -m scripts.full_size FOLDER
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
WIDTH, IDS, WORDS = 4096, 17, 1004
# Pictures and captions of (training, validation). Source: the published COCO files.
SIZES = {
    "full": ((82_783, 400_135), (40_504, 195_954)),
    "small": ((1_200, 5_800), (200, 966)),
}


def make(folder: Path, size: str) -> None:
    """Write a made-up set, unless it is there; its numbers follow from a seed."""
    from apps.captioning import layout

    if folder.exists():
        return
    folder.mkdir(parents=True)
    words = [*layout.SPECIAL_WORDS, *(f"word{i}" for i in range(WORDS - 4))]
    ids = {word: index for index, word in enumerate(words)}
    vocabulary = {"idx_to_word": words, "word_to_idx": ids}
    (folder / layout.VOCABULARY_FILE).write_text(json.dumps(vocabulary))
    rng = np.random.default_rng(0)
    with h5py.File(folder / layout.CAPTIONS_FILE, "w") as file:
        for split, (pictures, captions) in zip(
            ("train", "val"), SIZES[size], strict=True
        ):
            told = rng.integers(4, WORDS, (captions, IDS), dtype=np.int32)
            told[:, 0], told[:, 12], told[:, 13:] = 1, 2, 0
            file[f"{split}_captions"] = told
            rows = np.sort(rng.integers(0, pictures, captions, dtype=np.int32))
            file[f"{split}_image_idxs"] = rows
            path = folder / layout.features_file(split, "full")
            write_features(path, pictures, rng)


def write_features(path: Path, pictures: int, rng: np.random.Generator) -> None:
    """Write features as a ReLU gives them, a thousand pictures at a time."""
    with h5py.File(path, "w") as file:
        features = file.create_dataset("features", (pictures, WIDTH), "float32")
        for begin in range(0, pictures, 1000):
            count = min(1000, pictures - begin)
            block = rng.standard_normal((count, WIDTH), dtype=np.float32)
            features[begin : begin + count] = block.clip(0)


def measure(folder: Path, steps: int) -> None:
    """Open a set, learn from some minibatches of it, and print what it took."""
    begin = time.perf_counter()
    from apps.captioning import train

    settings = train.Settings(str(folder), features="full")
    _, job = train.build(settings)
    batches = job.batches(0)[: steps + 3]
    for batch in batches[:3]:
        job.update(batch)
    started = time.perf_counter()
    words = sum(job.update(batch)[1] for batch in batches[3:])
    speed = words / (time.perf_counter() - started)
    # Linux counts kilobytes, macOS bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    print(
        f"{folder.name}: {started - begin:.1f} s to start, {speed:,.0f} words/s, "
        f"{memory / 1e6:,.0f} MB of memory at most"
    )


def main() -> None:
    """Measure both sizes, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--size", choices=SIZES, help="make and measure this only")
    options = parser.parse_args()
    if options.size:
        measure(options.folder / options.size, options.steps)
        return
    for size in SIZES:
        make(options.folder / size, size)
    for size in ("small", "full", "small", "full"):
        command = [sys.executable, "-m", "scripts.full_size", str(options.folder)]
        command += ["--steps", str(options.steps), "--size", size]
        subprocess.run(command, cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
