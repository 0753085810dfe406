"""Data stages: traces from a teacher, filters, rejection sampling, STaR, journeys, preference pairs, step labels."""
