//! Counters and histograms (atomics only).
