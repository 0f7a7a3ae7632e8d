"""Public helpers for tests, ours and third parties': a clock to turn by hand, a scripted guest, contract suites."""
