"""What is wrong with a generator, beyond what gates say: detectors of known failures, and two-sample measures behind them."""
