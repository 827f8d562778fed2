"""Where do the values come from that the tests compare with PyTorch's? From this.

Run it by hand, from the root of the project, where PyTorch is installed:

    python -m scripts.make_torch_fixtures

It writes tests/fixtures/torch/: what PyTorch computes in the cases of
tests/interop/cases.py, and small files as `torch.save` writes them.
"""

from __future__ import annotations

import torch

from tests.interop import cases, files, torch_side


def main() -> None:
    """Write all fixtures."""
    cases.FIXTURES.mkdir(parents=True, exist_ok=True)
    for group, (_, known) in cases.GROUPS.items():
        records = {name: cases.run(torch_side, group, name) for name in known}
        cases.write_fixture(group, records)
    for name, is_zip in files.CONTAINERS.items():
        torch.save(
            files.make_content(torch, is_zip),
            cases.FIXTURES / name,
            _use_new_zipfile_serialization=is_zip,
        )
    torch.manual_seed(0)
    torch.save(files.make_tagger(torch).state_dict(), cases.FIXTURES / files.TAGGER)
    for path in sorted(cases.FIXTURES.iterdir()):
        print(f"{path.name:20} {path.stat().st_size:7} bytes")


if __name__ == "__main__":
    main()
