"""The tasks that the repository ships."""

from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"
SHIPPED = [path.parent for path in sorted(EXAMPLES.glob("*/quickstart.sh"))]
