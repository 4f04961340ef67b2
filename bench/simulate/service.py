"""Owns what an event costs in the simulated day: the processor time that ``bench.simulate.measure`` found, by lane.

Of two cores that other work shared: by itself 10.7, 11.3 and 7.7 ms of a core (high, medium, low), out of a backlog
0.6, 0.5 and 1.3. The day charges the former, rounded: with all its parts, from the door to the row, and with nothing
saved by working on events together. That makes a slow machine, and the same one for every scheduler. The figures are
kept, not measured at each run, so that the trace stays one.
"""

from app.models import Lane

CORES = 2
COST_S = {Lane.HIGH: 0.011, Lane.MEDIUM: 0.011, Lane.LOW: 0.008}
"""Seconds of one core."""
