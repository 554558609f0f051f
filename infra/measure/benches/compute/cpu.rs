//! CPU time of the thread that measures, which other processes of a busy machine do not add to as they do to the time on
//! the wall.

use std::time::Duration;

use criterion::Throughput;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use rustix::time::{ClockId, clock_gettime};

/// How often each of what is compared is measured, and how often it runs in one measurement.
const ROUNDS: usize = 400;
const RUNS: u32 = 10;

/// CPU time of this thread.
pub(crate) struct CpuTime;

impl CpuTime {
    fn now() -> Duration {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::try_from(time).expect("not negative")
    }
}

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        Self::now()
    }

    fn end(&self, start: Duration) -> Duration {
        Self::now() - start
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        &Formatter
    }
}

/// As for time on the wall.
struct Formatter;

impl ValueFormatter for Formatter {
    fn scale_values(&self, typical: f64, values: &mut [f64]) -> &'static str {
        WallTime.formatter().scale_values(typical, values)
    }

    fn scale_throughputs(
        &self,
        typical: f64,
        throughput: &Throughput,
        values: &mut [f64],
    ) -> &'static str {
        WallTime
            .formatter()
            .scale_throughputs(typical, throughput, values)
    }

    fn scale_for_machines(&self, values: &mut [f64]) -> &'static str {
        WallTime.formatter().scale_for_machines(values)
    }
}

/// The median CPU time of each, run by turns so that what disturbs one disturbs the others.
pub(crate) fn median_microseconds<const N: usize>(mut works: [&mut dyn FnMut(); N]) -> [f64; N] {
    let mut seen = [const { Vec::new() }; N];
    for _ in 0..ROUNDS {
        for (work, seen) in works.iter_mut().zip(&mut seen) {
            let began = CpuTime::now();
            for _ in 0..RUNS {
                work();
            }
            seen.push((CpuTime::now() - began) / RUNS);
        }
    }
    seen.map(|mut times| {
        times.sort_unstable();
        times.get(ROUNDS / 2).map_or(0.0, Duration::as_secs_f64) * 1e6
    })
}
