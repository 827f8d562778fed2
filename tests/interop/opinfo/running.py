"""Which names are compared, and what comes out when all their samples run?"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor

from tests.interop.opinfo import functions, samples, trained
from tests.interop.opinfo.compare import Outcome, outcome
from tests.interop.opinfo.listing import Listing, Place, Reason

SECTIONS = {
    "element by element": functions.ELEMENTWISE,
    "whole numbers": functions.WHOLE_NUMBERS,
    "along axes": functions.ALONG_AXES,
    "rearranged": functions.REARRANGED,
    "looked up": functions.LOOKED_UP,
    "made": functions.MADE,
    "products": functions.PRODUCTS,
    "layers and losses": functions.LAYERS,
    "modules": trained.MODULES,
    "optimisers": trained.OPTIMIZERS,
}
EVERY = [name for names in SECTIONS.values() for name in names]
THEIRS = [*samples.OPS, *trained.INFOS, *trained.OPTIMIZER_INFOS]

Outcomes = dict[str, list[Outcome]]  # by dtype, in the samples' order


def run(name: str) -> tuple[str, Outcomes]:
    """The outcome of every sample of one name, by dtype."""
    if name in samples.FUNCTIONS:
        make, dtypes = samples.samples_of, samples.DTYPES[name]
    elif name in trained.MODULES:
        make, dtypes = trained.samples_of_module, ("float64", "float32")
    else:
        make, dtypes = trained.samples_of_optimizer, ("float64", "float32")
    return name, {dtype: list(map(outcome, make(name, dtype))) for dtype in dtypes}


def found_in(results: Iterable[tuple[str, Outcomes]]) -> Listing:
    """What a run found, its differences without a reason unless they were left out."""
    found = Listing({}, {}, [])
    for name, outcomes in results:
        for dtype, ones in outcomes.items():
            if ones:
                found.runs[name, dtype] = len(ones)
            for number, (what, detail) in enumerate(ones):
                place = Place(name, dtype, number)
                if what == "left out":
                    found.known[place] = Reason("not offered", what, detail)
                elif what:
                    found.known[place] = Reason("?", what, "?")
    return found


def run_all(names: list[str]) -> list[tuple[str, Outcomes]]:
    """Run names in as many processes as there are cores, at most eight."""
    context = multiprocessing.get_context("spawn")
    cores = min(len(os.sched_getaffinity(0)), 8, len(names))
    with ProcessPoolExecutor(cores, context) as pool:
        return list(pool.map(run, names))
