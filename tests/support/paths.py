"""Where the tests' data is."""

from pathlib import Path

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent
SUPPORT = TESTS / "support"
GOLDEN = TESTS / "golden"
REFERENCES = TESTS / "references"
ENCOUNTERS = ROOT / "examples" / "encounters"
