//! What a tap costs in instructions: the same on a busy machine as on a calm one, so that a change can be told from noise.
//!
//! ```sh
//! cargo bench --package auditring-kafka --bench counted      # needs valgrind
//! ```
//!
//! Each case runs twice under callgrind, once with more exchanges than the other; the difference
//! is what the exchanges alone took.

#![allow(missing_docs, reason = "a program")]

mod messages;

use std::env;
use std::process::Command;

use messages::{Messages, Seen, fetch, produce};

/// Exchanges of the longer run beyond those of the shorter one.
const MORE: u64 = 40;
const FEW: u64 = 10;

/// Cases by name: the messages, and how many partitions they are about.
fn cases() -> [(&'static str, Messages, u64); 5] {
    [
        ("fetch of 500 partitions, a partition", fetch(500, 100), 500),
        ("produce of 500 partitions, a partition", produce(500, 100), 500),
        ("small fetch, an exchange", fetch(1, 100), 1),
        ("small produce, an exchange", produce(1, 100), 1),
        ("empty fetch, an exchange", fetch(0, 0), 1),
    ]
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [case, times] = &arguments[..]
        && let (Ok(case), Ok(times)) = (case.parse::<usize>(), times.parse::<u64>())
    {
        let (_, messages, _) = &cases()[case];
        let mut seen = Seen::new();
        for _ in 0..times {
            seen.exchange(messages, usize::MAX);
        }
        return;
    }
    for (at, (name, _, each)) in cases().iter().enumerate() {
        match (instructions(at, FEW), instructions(at, FEW + MORE)) {
            (Some(few), Some(many)) => println!("{name}: {} instructions", (many - few) / MORE / each),
            _ => return println!("not counted: there is no valgrind here"),
        }
    }
}

/// Instructions of a run of this program.
fn instructions(case: usize, times: u64) -> Option<u64> {
    let program = env::current_exe().ok()?;
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    let output = valgrind.arg(program).args([case.to_string(), times.to_string()]).output().ok()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    said.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok())
}
