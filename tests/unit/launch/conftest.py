import pytest

from tapo.launch import definitions

FILES = {
    "__init__.py": "from .trainer import Trainer as Renamed\nfrom madeup.deep import helper\nraise RuntimeError\n",
    "trainer.py": """
from .deep.base import Base
LIMIT: int = 3
class Trainer(Base):
    kind = "sync"
    def step(self, batch, metrics, *args, prefix="x", **kwargs):
        self.prepare()
        return finish("done")
try:
    import torch
except ImportError:
    def fallback(a, b=1): pass
""",
    "deep/__init__.py": "def helper(tensor, /, mask, *, eps): pass\n",
    "deep/base.py": "class Base:\n    def __init__(self, config): pass\n    async def stop(self): pass\n",
    "circle/__init__.py": "from .half import lost\n",
    "circle/half.py": "from . import lost\n",
    "fields.py": "class Row:\n    key: str\n    tag: dict = {}\n",
}


@pytest.fixture
def madeup(tmp_path, monkeypatch):
    """A package `madeup` that fails where it is imported."""
    for name, text in FILES.items():
        path = tmp_path / "madeup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    definitions._source.cache_clear()
    yield
    definitions._source.cache_clear()
