"""Run as a script: a training in child processes that are killed at random moments until one reaches its end.

Children are forked from one process that has everything imported, so that ten kills take seconds.
Arguments: folder, number of kills, seed.  Prints how many steps were done when each child was killed.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
from SegDLEngine.protocol import Reporter
from SegDLTrainingLib.fit import fit
from tiny_training import balls, smallest_recipe

SECONDS_PER_STEP = 0.05


def kill_recipe():
    return smallest_recipe(training={"checkpoint_steps": 2, "epochs": 6})


def train(folder: Path) -> None:
    """Each step takes a while, so that kills fall into all parts of the training, writing included."""
    fit(kill_recipe(), balls(), balls(2), folder, Reporter(lambda event: time.sleep(SECONDS_PER_STEP)))


def main(folder: str, kills: int, seed: int) -> None:
    torch.set_num_threads(1)
    chance = random.Random(seed)
    for remaining in range(kills, -1, -1):
        child = os.fork()
        if child == 0:
            train(Path(folder))
            os._exit(0)
        if remaining:
            time.sleep(chance.uniform(0.05, 0.35))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        print("killed" if os.WIFSIGNALED(status) else "ended", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
