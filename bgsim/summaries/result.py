from bgsim.result import SimulationResult
from bgsim.summaries.column import TallyColumn


class SummaryResult(SimulationResult):
    def _close_columns(self):
        pass


def result_of(simulation, parameters, seed, columns, fingerprint):
    kind = SummaryResult if any(isinstance(c, TallyColumn) for c in columns.values()) else SimulationResult
    return kind(simulation, parameters, seed, columns, fingerprint)
