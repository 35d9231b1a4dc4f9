import subprocess
import sys

import pytest

from tests.e2e.harness import COMMON, ENVIRONMENT, EXAMPLE, launch


def pytest_collection_modifyitems(items):
    for item in items:
        if "e2e" in item.path.parts:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """A few problems of the arithmetic example."""
    folder = tmp_path_factory.mktemp("data")
    sizes = ["--train", "96", "--test", "32", "--sampled", "8", "--seeded", "8"]
    subprocess.run([sys.executable, COMMON / "make_data.py", EXAMPLE, folder, *sizes], check=True, env=ENVIRONMENT)
    return folder


@pytest.fixture(scope="session")
def tapo_run(tmp_path_factory, data):
    """Two steps of TAPO with a checkpoint behind them, on one rank."""
    folder = tmp_path_factory.mktemp("tapo")
    return launch(folder, data, "trainer.total_training_steps=2", "trainer.save_freq=2")
