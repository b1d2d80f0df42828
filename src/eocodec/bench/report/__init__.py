"""The report on a benchmark run: one HTML page that needs no network."""
