//! What was seen, by kind; printed at the end, and failures at once.

use std::collections::HashMap;
use std::time::Duration;

use crate::kinds::{Kind, Seen};

#[derive(Clone, Copy, Debug, Default)]
struct Line {
    inputs: u64,
    forged: u64,
    refused: u64,
    rows: u64,
    peak: usize,
    longest: Duration,
    took: Duration,
    failed: u64,
}

pub(crate) struct Table {
    seed: u64,
    lines: HashMap<&'static str, Line>,
    /// Failures by what they say, numbers left out.
    told: HashMap<String, u64>,
}

impl Table {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, lines: HashMap::new(), told: HashMap::new() }
    }

    pub(crate) fn add(&mut self, kind: Kind, seen: Seen, peak: usize, took: Duration) {
        let line = self.lines.entry(kind.name()).or_default();
        line.inputs += 1;
        line.forged += u64::from(seen.forged);
        line.refused += u64::from(seen.refused);
        line.rows += seen.rows;
        line.peak = line.peak.max(peak);
        line.longest = line.longest.max(took);
        line.took += took;
    }

    /// Tells of a failure, once of each; how many there are.
    pub(crate) fn fail(&mut self, kind: Kind, number: u64, why: &str) -> usize {
        self.lines.entry(kind.name()).or_default().failed += 1;
        // Where it was and what it said, but for the numbers of this input.
        let short: String = why.chars().filter(|char| !char.is_ascii_digit()).take(160).collect();
        let times = self.told.entry(short).or_default();
        *times += 1;
        if *times == 1 {
            let shown: String = why.chars().take(1_000).collect();
            println!(
                "FAILED {}: {shown}\n  replay: --seed {} --only {number} --kind {}",
                kind.name(),
                self.seed,
                kind.name()
            );
        }
        self.told.len()
    }

    pub(crate) fn failed(&self) -> bool {
        !self.told.is_empty()
    }

    pub(crate) fn print(&self, took: Duration) {
        let mut all = Line::default();
        println!(
            "{:<12} {:>10} {:>10} {:>10} {:>12} {:>9} {:>10} {:>8} {:>7}",
            "kind", "inputs", "forged", "refused", "rows read", "peak KiB", "longest µs", "mean µs", "failed"
        );
        for (_, name, _) in Kind::ALL {
            let Some(line) = self.lines.get(name) else { continue };
            row(name, line);
            all.inputs += line.inputs;
            all.forged += line.forged;
            all.refused += line.refused;
            all.rows += line.rows;
            all.peak = all.peak.max(line.peak);
            all.longest = all.longest.max(line.longest);
            all.took += line.took;
            all.failed += line.failed;
        }
        row("all", &all);
        let rate = (all.inputs + all.failed) as f64 / took.as_secs_f64();
        println!("seed {}: {:.0} s, {rate:.0} inputs a second", self.seed, took.as_secs_f64());
        for (why, times) in &self.told {
            println!("{times} × {why}");
        }
    }
}

fn row(name: &str, line: &Line) {
    let mean = line.took.as_micros().checked_div(line.inputs.into()).unwrap_or_default();
    println!(
        "{name:<12} {:>10} {:>10} {:>10} {:>12} {:>9} {:>10} {mean:>8} {:>7}",
        line.inputs,
        line.forged,
        line.refused,
        line.rows,
        line.peak >> 10,
        line.longest.as_micros(),
        line.failed
    );
}
