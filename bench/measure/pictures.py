"""``python -m bench.measure.pictures RESULTS.json FOLDER``: the pictures of a run of `make bench`, as SVG files."""

import sys
from pathlib import Path

from bench.harness.figures import read_series
from bench.measure.chart import draw


def main(results: Path, folder: Path) -> int:
    """Write one file a series, named for it; return the exit status."""
    try:
        found = read_series(results)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"bench.measure.pictures: {error}\n")
        return 1
    if not found:
        sys.stderr.write(f"bench.measure.pictures: {results} has nothing to draw: ceilings, sustained and growth do\n")
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    for name, series in found.items():
        (folder / f"{name}.svg").write_text(draw(series))
        sys.stdout.write(f"{folder / name}.svg\n")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python -m bench.measure.pictures RESULTS.json FOLDER")
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
