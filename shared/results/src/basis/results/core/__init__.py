"""Pure computations over what a run left behind: no I/O, no clock."""
