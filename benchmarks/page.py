r"""Size of the inspection page, time to build it, and how long it takes headless Chromium to load and to search it.

    python benchmarks/page.py [--trajectories 5000] [--tokens 1500] [--steps 100]

Needs Chromium and its driver (Debian: chromium, chromium-driver). Texts are passages of Python's reference manual from
random places, so that they compress as prose and formulas do; no trajectory shares a rollout with another.
"""

import random
import re
import tempfile
import time
from pathlib import Path
from pydoc_data.topics import topics

import typer
from measure import peak_mib
from rich.console import Console
from rich.table import Table
from selenium.webdriver.support.wait import WebDriverWait

from tapo.inspection.options import InspectOptions
from tapo.inspection.page import write_page
from tapo.records import ConstructionRecord, RecordWriter, TrainedRecord
from tests.browser.chromium import chromium

NEEDLE = "a needle that occurs once"
PATIENCE_S = 300


class Texts:
    """Passages of Python's own reference manual, cut into tokens of the length that language models use."""

    def __init__(self, seed: int):
        self.draw = random.Random(seed)
        self.pieces = re.findall(r" ?[^\W\d_]{1,6}|\d|\s+|.", "\n".join(topics.values()))

    def tokens(self, number: int) -> list[str]:
        """A passage of so many tokens from a random place."""
        start = self.draw.randrange(len(self.pieces) - number)
        return self.pieces[start : start + number]


def construction(texts: Texts, step: int, name: str, tokens: int) -> tuple[ConstructionRecord, TrainedRecord]:
    """Half of the wrong rollout is kept, reflection and correction are as long again."""
    wrong, sibling, query = texts.tokens(tokens), texts.tokens(tokens), texts.tokens(80)
    kept, new = wrong[: tokens // 2], texts.tokens(tokens - tokens // 2 - 1)
    prefix = "".join(kept)
    record = ConstructionRecord(
        step=step,
        uid=name,
        key=f"{name}_ref_8_0",
        query="".join(query),
        wrong_session=0,
        wrong="".join(wrong),
        wrong_reward=0.0,
        correct_session=1,
        correct="".join(sibling),
        answer=f"<analysis>{''.join(texts.tokens(60))}</analysis><reconstruction>{prefix}</reconstruction>",
        prefix=prefix,
        reflection="".join(new[:30]),
        correction="".join(new[30:]),
        prefix_length=len(kept),
        reward=float(texts.draw.random() < 0.8),
        outcome="trained",
        token_lengths=[*map(len, kept + new), 0],
    )
    weights = [min(10.0, max(0.01, texts.draw.lognormvariate(-0.3, 1.0))) for _ in range(tokens)]
    return record, TrainedRecord(step=step, key=record.key, constructed=True, advantage=0.5, weights=weights)


def write_dump(folder: Path, trajectories: int, tokens: int, steps: int) -> None:
    texts = Texts(seed=0)
    built, trained = (RecordWriter(str(folder), kind) for kind in (ConstructionRecord, TrainedRecord))
    for i in range(trajectories):
        record, row = construction(texts, 1 + i * steps // trajectories, f"u{i}", tokens)
        if i == trajectories // 2:
            record = record.model_copy(update={"correct": record.correct + NEEDLE})
        built.write(record)
        trained.write(row)


def browse(page: Path, profile: Path) -> dict[str, str]:
    """Seconds from navigation to an interactive page, of two searches over all texts, and the memory after them."""
    with chromium(profile, "--enable-precise-memory-info") as driver:
        driver.set_page_load_timeout(PATIENCE_S)
        driver.get(page.as_uri())
        ready = driver.execute_script("return performance.getEntriesByName('interactive')[0].startTime") / 1000
        found = {"interactive after, s": f"{ready:.2f}"}
        for name in ("first search, unpacking all texts, s", "next search, s"):
            started = time.perf_counter()
            needle = NEEDLE if name.startswith("first") else NEEDLE.upper()
            driver.execute_script("byId('query').value = arguments[0]; update()", needle)
            WebDriverWait(driver, PATIENCE_S, poll_frequency=0.01).until(
                lambda driver: driver.execute_script("return byId('list').getAttribute('aria-busy')") == "false"
            )
            found[name] = f"{time.perf_counter() - started:.2f}"
            shown = driver.execute_script("return shown.length")
            assert shown == 1, f"{shown} trajectories found, not the one that holds the needle"
        heap = driver.execute_script("return performance.memory.usedJSHeapSize")
        return found | {"JavaScript heap after them, MB": f"{heap / 1e6:.0f}"}


def main(trajectories: int = 5000, tokens: int = 1500, steps: int = 100) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_dump(folder, trajectories, tokens, steps)
        dump_size = sum(path.stat().st_size for path in folder.iterdir())
        started = time.perf_counter()
        report = write_page(InspectOptions(dump=folder), folder / "page.html")
        seconds = time.perf_counter() - started
        assert report.shown == trajectories and report.unshaded == 0, report
        results = {
            "dump, MB": f"{dump_size / 1e6:.0f}",
            "page, MB": f"{report.size / 1e6:.1f}",
            "build, s": f"{seconds:.1f}",
            "peak memory of the build, MiB": f"{peak_mib():.0f}",
        } | browse(folder / "page.html", folder / "profile")
    table = Table("", "", title=f"{trajectories:,} trajectories of {tokens:,} tokens", show_header=False)
    for key, value in results.items():
        table.add_row(key, value)
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
