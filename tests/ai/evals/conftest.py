"""The evaluation's modules are imported by their full names, by its tests and by `python -m tests.ai.evals` alike."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))
