"""Classify held-out handwritten digits on a device and check every output byte against the golden model and the oracle.

The oracle, TFLite Micro, and the data come with the `test` extra. Exit status 1 means that a byte differs.
"""

from __future__ import annotations

import sys

import click
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from tflite_micro import runtime as tflite_micro

from ..host.errors import SystolithError
from ..host.runtime import Session
from ..models.zoo import digits

ARENA_BYTES = 1 << 20

Int8Array = npt.NDArray[np.int8]


def oracle(images: Int8Array) -> Int8Array:
    """Return TFLite Micro's int8 outputs [n, 10] for int8 images [n, 8, 8, 1]."""
    interpreter = tflite_micro.Interpreter.from_file(str(digits.model_path()), arena_size=ARENA_BYTES)
    outputs = []
    for image in images:
        interpreter.set_input(image[None], 0)
        interpreter.invoke()
        outputs.append(interpreter.get_output(0))
    return np.concatenate(outputs)


def mismatches(found: Int8Array, expected: Int8Array, name: str) -> list[str]:
    """Return one line per sample whose bytes differ from those of `name`."""
    return [f"sample {i} differs from {name}: {found[i].tolist()}, not {expected[i].tolist()}"
            for i in np.flatnonzero((found != expected).any(axis=1))]


@click.command()
@click.option("--device", default="rtl", help="netlist, rtl, sim or golden.")
@click.option("--preset", default="edge", help="Configuration of the core.")
@click.option("--samples", default=100, type=click.IntRange(1, 540), help="How many of the 540 held-out samples.")
def main(device: str, preset: str, samples: int) -> None:
    """Classify held-out digits on a device and check every byte of the result."""
    console = Console()
    images, labels = digits.held_out(samples)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(f"{device} {preset}", total=samples)
        with Session(digits.model_path(), device, preset=preset, status=bar.print) as session:
            (found,) = session.run(images, progress=lambda done, total: bar.update(task, completed=done)).values()
    with Session(digits.model_path(), "golden") as reference:
        (golden,) = reference.run(images).values()
    assert session.last_report is not None, "a session that ran has a report"
    console.print(session.last_report.table())

    wrong = mismatches(found, golden, "the golden model") + mismatches(found, oracle(images), "TFLite Micro")
    for line in wrong[:5]:
        console.print(line, style="red")
    if wrong:
        sys.exit(1)
    correct = int((found.argmax(axis=1) == labels).sum())
    console.print(f"{found.size:,} output bytes equal those of the golden model and of TFLite Micro; "
                  f"{correct} of {samples} digits are right ({correct / samples:.1%})")


if __name__ == "__main__":
    try:
        main()
    except SystolithError as error:
        sys.exit(f"digits: {error}")
