"""Commands in guests: their records, their output, their results, until they are forgotten."""
