"""Due recordings are given to an executor, and what came of them is written down."""
