"""Which sorts of file are read, and through which door of the user's do they come in?

A door runs what the user's command runs, by the same entry, so that what is wrong with
a file is shown as it is shown there.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from apps import cli
from apps.console import clear_errors, new_console, say
from apps.errors import UserError
from scripts.fuzzing import damage, hostile, seeds
from scripts.fuzzing.damage import Damage
from scripts.fuzzing.hostile import Hostile

Door = Callable[[Path], None]
Craft = Callable[[bytes], list[Hostile]]
KINDS = ("h5", "pth", "zip", "text", "picture")


@dataclass(frozen=True)
class Sort:
    """A sort of file: its kind, where it stands among the seeds, what reads it.

    `ways` damage it; `crafted` are hostile files for its place, given its good bytes;
    `others` are the folders of the seeds that its door needs besides its own;
    `named` tells whether a refusal must name the file, `needed` whether nothing goes
    without it, so that what is hostile must be refused.
    """

    kind: str
    place: str
    door: Door
    ways: Sequence[Damage] = damage.BYTES
    crafted: Craft = field(default=lambda good: [])
    others: tuple[str, ...] = ()
    named: bool = True
    needed: bool = True

    @property
    def name(self) -> str:
        """What it is called in the table."""
        return self.place


def command(*arguments: object) -> None:
    """Run a command of `minigrad` as its user does.

    Raises: SystemExit, always.
    """
    sys.argv = ["minigrad", *map(str, arguments)]
    cli.main()


def shown(work: Callable[[], object]) -> None:
    """Do some work as a command does it, with its errors.

    Raises: SystemExit, always.
    """

    @cli.minigrad.command("fuzzed")
    def fuzzed() -> None:
        with clear_errors():
            work()

    command("fuzzed")


def preload() -> None:
    """Import what the doors import when they run, once for all children."""
    modules = (
        "captioning.app captioning.commands cola.app cola.commands cola.look "
        "image_gradients.commands image_gradients.pictures image_gradients.weights "
        "download"
    )
    for name in modules.split():
        import_module(f"apps.{name}")
    for name in ("rich.table", "rich.progress", "matplotlib.backends.backend_agg"):
        import_module(name)


# -- doors -------------------------------------------------------------------------


def _learn(file: Path) -> None:
    """Check a captioning folder, and learn from each of its captions once."""
    from apps.captioning import look, train
    from apps.captioning.data import load_data

    def learn() -> None:
        settings = train.Settings(
            str(file.parent), cell="gru", wordvec_dim=2, hidden_dim=2, batch=1
        )
        _, job = train.build(settings)
        for batch in job.batches(0):
            job.update(batch)
        look.print_info(load_data(file.parent), new_console())

    shown(learn)


def _spell(file: Path) -> None:
    """Read a captioning folder letter by letter."""
    from apps.captioning import train

    settings = train.Settings(str(file.parent), tokens="char")
    shown(lambda: train.open_data(settings))


def _show(file: Path) -> None:
    folder = next(p for p in file.parents if p.name == "coco")
    command("caption", "data", "show", folder, "--count", 2, "--to", "shown.png")


def _evaluate(file: Path) -> None:
    command("caption", "evaluate", file.parents[1] / "run", "--device", "cpu")


def _resume(file: Path) -> None:
    command("caption", "train", "--resume", file.parent, "--device", "cpu")


def _sample(file: Path) -> None:
    command("caption", "sample", file.parent, "--count", 1, "--device", "cpu")


def _judge(file: Path) -> None:
    command("cola", "evaluate", file.parent, "--device", "cpu")


def _corpus(file: Path) -> None:
    command("cola", "data", "info", file.parent)


def _corpus_zip(file: Path) -> None:
    command("cola", "data", "info", file)


def _learn_sentences(file: Path) -> None:
    """Read a corpus's words as every model does."""
    from apps.cola import train
    from apps.cola.settings import RECIPES

    def learn() -> None:
        for recipe in ("cola", "transformer"):
            options = {**RECIPES[recipe], "embed_dim": 4, "hidden_dim": 4}
            settings = train.Settings(**{**options, "data": str(file.parent)})
            _, job = train.build(settings)
            job.update(job.batches(0)[0])

    shown(learn)


def _weights(file: Path) -> None:
    from apps.image_gradients import weights
    from apps.image_gradients.squeezenet import SqueezeNet

    shown(lambda: weights.load(SqueezeNet(), file))


def _pictures(file: Path) -> None:
    from apps.image_gradients import pictures

    def read() -> None:
        for picture in pictures.find([file]):
            say(f"{picture.name}: {picture.notes}", new_console())

    shown(read)


def _unpack(file: Path) -> None:
    import hashlib

    from apps.download import Published, unpack

    contents = {"a.txt": b"one\n", "raw/b.bin": bytes(range(256)) * 8}
    table = {
        name: Published(len(content), hashlib.sha256(content).hexdigest())
        for name, content in contents.items()
    }

    def work() -> None:
        # What is fetched is written by us: anything else there is no part of it.
        if not file.is_file():
            raise UserError(f"{file} is no file")
        unpack(file, table, file.parent / "unpacked", new_console())

    shown(work)


# -- sorts -------------------------------------------------------------------------

CAPTIONS = ("train_captions", "train_image_idxs", "val_captions")


def _of_captions(good: bytes) -> list[Hostile]:
    return [made for name in CAPTIONS for made in hostile.hdf5(good, name)]


def _of_features(good: bytes) -> list[Hostile]:
    return hostile.hdf5(good, "features")


def _of_checkpoint(good: bytes) -> list[Hostile]:
    headers = [
        Hostile(f"header: {what}", hostile.checkpoint_header(good, header), False)
        for what, header in hostile.HEADERS.items()
    ]
    return [*headers, *hostile.hdf5(good, "model/0", damage.signed)]


def _of_weights(good: bytes) -> list[Hostile]:
    return [*hostile.pickles(hostile.torch_zip), *hostile.tensors()]


def _of_legacy(good: bytes) -> list[Hostile]:
    return hostile.pickles(lambda pickled: pickled)


def _of_safetensors(good: bytes) -> list[Hostile]:
    return _fixed(hostile.SAFETENSORS)


def _of_npy(good: bytes) -> list[Hostile]:
    return _fixed(hostile.NPYS)


def _fixed(made: dict[str, bytes]) -> list[Hostile]:
    return [
        Hostile(what, lambda path, data=data: path.write_bytes(data), False)
        for what, data in made.items()
    ]


def _members(good: bytes) -> dict[str, bytes]:
    import zipfile

    with zipfile.ZipFile(io.BytesIO(good)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _of_zip(good: bytes) -> list[Hostile]:
    members = _members(good)
    return hostile.zips(members, next(iter(members)))


def _of_npz(good: bytes) -> list[Hostile]:
    members = _members(good)
    first = next(iter(members))
    arrays = [
        Hostile(
            f"{first}: {what}",
            lambda path, data=data: path.write_bytes(
                hostile.packed({**members, first: data})
            ),
            False,
        )
        for what, data in hostile.NPYS.items()
    ]
    inflating = hostile.npy(
        f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({2**30},), }}\n", b"\0"
    )
    grown = Hostile(
        "an array of 1 GB",
        lambda path: path.write_bytes(
            hostile.bomb({**members, first: inflating}, first, 2**30)
        ),
    )
    return [*hostile.zips(members, first), *arrays, grown]


def _of_words(good: bytes) -> list[Hostile]:
    long = b"w" * 50_000
    words = {
        "a word of 50,000 letters": good.replace(b"the", long, 1),
        "50,000 words": good.replace(b"the ", b"the " * 50_000, 1),
        "a line of escapes": good.replace(b"the", b"\x1b[31mthe\x1b]0;x\x07", 1),
        "half a letter": good.replace(b"the", b"\\ud800", 1),
        "one column less": good.replace(b"\t", b" ", 1),
        "every word another": b"".join(
            b"s\t1\t\tw%d v%d\n" % (n, n) for n in range(20_000)
        ),
    }
    return [*_fixed(words), *hostile.texts(good)]


def _of_vocabulary(good: bytes) -> list[Hostile]:
    import json

    words = json.loads(good)["idx_to_word"]

    def with_word(word: str) -> bytes:
        listed = [*words[:-1], word]
        ids = {w: i for i, w in enumerate(listed)}
        return json.dumps({"idx_to_word": listed, "word_to_idx": ids}).encode()

    made = {
        "a word of 50,000 letters": with_word("w" * 50_000),
        "a word of escapes": with_word("\x1b[31m\x9b2J"),
        "half a letter": with_word("\ud800"),
        "a word of white space": with_word(" \t"),
        "a word that turns": with_word("\u202e"),
        "5,000 digits": good.replace(b": 4", b": " + b"4" * 5000, 1),
    }
    return [*_fixed(made), *hostile.texts(good)]


JSON = (damage.change_json, damage.change_json, *damage.LINES)
LOG = (damage.change_json_lines, damage.change_json_lines, *damage.LINES)
HDF5 = (*damage.BYTES, damage.change_hdf5, damage.change_hdf5, damage.change_hdf5)
SIGNED = (damage.flip_bits, damage.cut, *[damage.sign_again] * 5)
ZIP = (*damage.BYTES, *[damage.change_member] * 5)
NPY = (*damage.BYTES, *[damage.change_npy] * 3)
HEADER = (*damage.BYTES, *[damage.change_header] * 4)
CHUNKS = (*damage.BYTES, *[damage.change_chunk] * 4)

VOCABULARY = "coco2014_vocab.json"


def _of_picture(good: bytes) -> list[Hostile]:
    return hostile.pictures()


def _h5(place: str, door: Door, crafted: Craft) -> Sort:
    return Sort("h5", place, door, HDF5, crafted)


def _checkpoint(place: str, door: Door, data: str) -> Sort:
    return Sort("h5", place, door, SIGNED, _of_checkpoint, (data,))


def _pth(name: str, ways: Sequence[Damage], crafted: Craft = lambda good: []) -> Sort:
    return Sort("pth", f"weights/{name}", _weights, ways, crafted)


def _zip(place: str, door: Door, crafted: Craft) -> Sort:
    return Sort("zip", place, door, ZIP, crafted)


def _npy(name: str) -> Sort:
    return Sort("zip", f"course/{name}", _corpus, NPY, _of_npy)


def _text(
    place: str,
    door: Door,
    ways: Sequence[Damage] = damage.LINES,
    crafted: Craft = hostile.texts,
    *others: str,
) -> Sort:
    return Sort("text", place, door, ways, crafted, others)


def _picture(end: str) -> Sort:
    return Sort("picture", f"pictures/p.{end}", _pictures, CHUNKS, _of_picture)


SORTS: tuple[Sort, ...] = (
    _h5("coco/coco2014_captions.h5", _learn, _of_captions),
    _h5("coco/train2014_vgg16_fc7_pca.h5", _learn, _of_features),
    _h5("packed/val2014_vgg16_fc7_pca.h5", _learn, _of_features),
    _checkpoint("run/checkpoint.h5", _sample, "coco"),
    _checkpoint("judge/checkpoint.h5", _judge, "cola"),
    _pth("zip.pth", ZIP, _of_weights),
    _pth("tagger.pth", ZIP),
    _pth("legacy.pth", damage.BYTES, _of_legacy),
    _pth("w.safetensors", HEADER, _of_safetensors),
    _zip("zip/cola.zip", _corpus_zip, _of_zip),
    _zip("zip/pictures.npz", _pictures, _of_npz),
    _zip("zip/packed.npz", _pictures, _of_npz),
    Sort("zip", "zip/set.zip", _unpack, ZIP, _of_zip, named=False),
    _zip("weights/w.npz", _weights, _of_npz),
    _npy("train_inxs.npy"),
    _npy("val_labels.npy"),
    _text(f"coco/{VOCABULARY}", _learn, JSON, _of_vocabulary),
    _text(f"packed/{VOCABULARY}", _spell, JSON, _of_vocabulary),
    _text("coco/train2014_images.txt", _show),
    _text("coco/train2014_urls.txt", _show),
    _text("coco/val2014_scenes.json", _evaluate, JSON, hostile.texts, "run"),
    _text("cola/in_domain_train.tsv", _learn_sentences, damage.LINES, _of_words),
    _text("cola/in_domain_dev.tsv", _corpus, damage.LINES, _of_words),
    _text("course/word_to_ix.csv", _corpus),
    _text("run/config.json", _sample, JSON, hostile.texts, "coco"),
    _text("judge/config.json", _judge, JSON, hostile.texts, "cola"),
    Sort(
        "text",
        "run/metrics.jsonl",
        _resume,
        LOG,
        hostile.texts,
        ("coco",),
        needed=False,
    ),
    Sort(
        "picture",
        "coco/images/train_00000.png",
        _show,
        CHUNKS,
        _of_picture,
        needed=False,
    ),
    *map(_picture, seeds.FORMATS),
)
