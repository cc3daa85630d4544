//! The flags of what a node tells about itself: statsd and latencies.

use super::NsqdFlagError;
use crate::cli::goflags::Given;
use crate::config::{LatencyTracking, NsqdConfig};

/// Takes what is given into `nsqd`.
pub(super) fn read(given: &Given, nsqd: &mut NsqdConfig) -> Result<(), NsqdFlagError> {
    let quantiles = given.floats("e2e-processing-latency-percentile");
    let window = given.duration("e2e-processing-latency-window-time");
    let window = window.unwrap_or_else(|| nsqd.e2e_processing_latency.window());
    let tracking = LatencyTracking::new(quantiles, window);
    nsqd.e2e_processing_latency =
        tracking.map_err(|error| NsqdFlagError::Range(error.to_string()))?;

    let statsd = &mut nsqd.statsd;
    let address = given.text("statsd-address").filter(|address| !address.is_empty());
    statsd.address = address.map(str::to_owned);
    if let Some(prefix) = given.text("statsd-prefix") {
        prefix.clone_into(&mut statsd.prefix);
    }
    if let Some(interval) = given.duration("statsd-interval") {
        if interval.is_zero() {
            return Err(NsqdFlagError::Range("--statsd-interval must be above 0".to_owned()));
        }
        statsd.interval = interval;
    }
    if let Some(size) = given.int("statsd-udp-packet-size") {
        let size = usize::try_from(size).ok().filter(|&size| size > 0);
        statsd.packet_size = size.ok_or_else(|| {
            NsqdFlagError::Range("--statsd-udp-packet-size must be above 0".to_owned())
        })?;
    }
    for (name, switch) in [
        ("statsd-mem-stats", &mut statsd.mem_stats),
        ("statsd-exclude-ephemeral", &mut statsd.exclude_ephemeral),
    ] {
        *switch = given.bool(name).unwrap_or(*switch);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::goflags::parse;
    use crate::cli::nsqd::FLAGS;

    fn run(args: &str) -> Result<NsqdConfig, NsqdFlagError> {
        let args: Vec<String> = args.split_whitespace().map(str::to_owned).collect();
        let mut nsqd = NsqdConfig::default();
        read(&parse(FLAGS, &args).unwrap(), &mut nsqd)?;
        Ok(nsqd)
    }

    #[test]
    fn all_of_them_are_taken() {
        let nsqd = run("--statsd-address=h:8125 --statsd-prefix=p --statsd-interval=500ms \
                        --statsd-mem-stats=false --statsd-udp-packet-size=9 --statsd-exclude-ephemeral \
                        --e2e-processing-latency-percentile=0.5,0.99 --e2e-processing-latency-window-time=1m")
            .unwrap();
        let statsd = nsqd.statsd;
        assert_eq!(statsd.address.as_deref(), Some("h:8125"));
        assert_eq!((statsd.prefix.as_str(), statsd.packet_size), ("p", 9));
        assert_eq!(statsd.interval, Duration::from_millis(500));
        assert!(!statsd.mem_stats && statsd.exclude_ephemeral);
        assert_eq!(nsqd.e2e_processing_latency.quantiles(), [0.99, 0.5]);
        assert_eq!(nsqd.e2e_processing_latency.window(), Duration::from_secs(60));
        assert_eq!(run("--statsd-address="), Ok(NsqdConfig::default()));
    }

    #[test]
    fn what_is_out_of_range_is_refused() {
        for (flags, words) in [
            (
                "--e2e-processing-latency-percentile=1.5",
                "invalid E2E processing latency percentile: 1.5",
            ),
            (
                "--e2e-processing-latency-percentile=0",
                "invalid E2E processing latency percentile: 0",
            ),
            ("--e2e-processing-latency-window-time=0", "window time must be above 0"),
            ("--statsd-interval=0", "--statsd-interval must be above 0"),
            ("--statsd-interval=-5s", "--statsd-interval must be above 0"),
            ("--statsd-udp-packet-size=0", "--statsd-udp-packet-size must be above 0"),
        ] {
            let error = run(flags).unwrap_err().to_string();
            assert!(error.contains(words), "{flags}: {error}");
        }
    }
}
