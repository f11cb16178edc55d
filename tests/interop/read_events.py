"""TensorBoard reads what tests/io/test_tensorboard.c wrote: python3 read_events.py FOLDER. Exits 77 without the package."""

import sys

try:
    from tensorboard.backend.event_processing import event_accumulator
except ImportError:
    sys.exit(77)


def main(folder):
    events = event_accumulator.EventAccumulator(folder)
    events.Reload()
    scalars = [(event.step, event.value) for event in events.Scalars("loss/train")]
    assert scalars == [(1, 0.5), (300, -2.25)], scalars


main(sys.argv[1])
