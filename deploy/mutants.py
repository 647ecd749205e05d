"""Run the tests against a sample of small changes to the code, and say how many they notice.

    python deploy/mutants.py [number of mutants per module] [seed]

mutmut makes the mutants and runs them (`mutmut show NAME` prints one); it cannot sample by itself.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from mutmut.__main__ import cli
from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.file_mutation import mutate_file_contents
from mutmut.runners.harness import PytestRunner
from mutmut.stats import status_by_exit_code
from mutmut.utils.file_utils import walk_mutatable_files
from mutmut.utils.format_utils import get_mutant_name

NOTICED = {"killed", "timeout"}
ARGUMENTS = PytestRunner._pytest_args_regular_run  # noqa: SLF001


def sample(path: Path, size: int, seed: int) -> list[str]:
    """Return the names of some mutants of a module, the same ones for the same seed."""
    made = mutate_file_contents(str(path), path.read_text()).mutant_names
    names = [get_mutant_name(path, name) for name in made]
    # Shuffled, so that a larger sample holds a smaller one.
    random.Random(f"{seed} {path}").shuffle(names)  # noqa: S311
    return names[:size]


def arguments(runner: PytestRunner, tests: Iterable[str]) -> list[str]:
    """Name functions, as pytest does not find every hostile input by id; the engine's own first."""
    functions = {test.partition("[")[0] for test in tests}
    pure = {function for function in functions if function.startswith("tests/engine/")}
    return ARGUMENTS(runner, sorted(pure or functions))


def results(path: Path) -> dict[str, str]:
    data = SourceFileMutationData(path=path)
    data.load()
    return {name: status_by_exit_code[code] for name, code in data.exit_code_by_key.items()}


def report(samples: dict[Path, list[str]]) -> None:
    survivors: list[str] = []
    total: Counter[bool] = Counter()
    for path, names in samples.items():
        status = {name: each for name, each in results(path).items() if name in names}
        noticed = Counter(each in NOTICED for each in status.values())
        total += noticed
        print(f"{path!s:36}{noticed[True]:4} of {len(names):4}")
        survivors += [f"{each}: {name}" for name, each in status.items() if each not in NOTICED]
    print(f"{'together':36}{total[True]:4} of {total.total():4}", *survivors, sep="\n")


def main(size: int = 30, seed: int = 8) -> None:
    samples = {path: sample(path, size, seed) for path in sorted(walk_mutatable_files())}
    noticed = {
        name for path in samples for name, status in results(path).items() if status in NOTICED
    }
    names = [name for chosen in samples.values() for name in chosen if name not in noticed]
    PytestRunner._pytest_args_regular_run = arguments  # noqa: SLF001
    cli(["run", "--max-children", "1", *names], standalone_mode=False)
    report({path: chosen for path, chosen in samples.items() if chosen})


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
