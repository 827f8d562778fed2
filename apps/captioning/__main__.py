"""`python -m apps.captioning`: the captioning commands without installing anything."""

from apps.captioning.commands import caption
from apps.cli import main

if __name__ == "__main__":
    main(caption, prog_name="python -m apps.captioning")
