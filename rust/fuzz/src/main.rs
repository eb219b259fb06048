//! Hostile files, as many as one likes: what the library itself has written is cut, flipped, spliced and forged, and given to
//! what reads it for real.
//!
//! ```text
//! fuzz [--inputs N | --seconds T] [--seed S] [--kind K]      as `make fuzz` does; the seed is printed
//! fuzz --seed S --only N [--kind K]                          one input once more
//! ```
//!
//! What must hold of each: no panic; no read beyond what there is (`make fuzz` builds it with `AddressSanitizer`); memory in
//! proportion to the input; an end, in time; of what nobody has forged no row that was never written, and every row under its
//! own seq; of what is forged only rows that can be shown. An input is its seed and its number and depends on no other. It is
//! read in a child, so that one that ends the process, or never ends, is told of by its number, too.

mod blocks;
mod corpus;
mod harm;
mod kinds;
mod oracle;
mod table;

use std::fmt::Write as _;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::process::parent_id;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use fastrand::Rng;
use nix::time::{ClockId, clock_gettime};
use peak_alloc::PeakAlloc;

use crate::kinds::{Kind, Kinds, Seen};
use crate::table::Table;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What goes wrong before there is an input.
pub(crate) type Failure = Box<dyn std::error::Error>;

/// What any input may take: the tables of a pump, of a policy, of Arrow's columns are there for the emptiest journal.
const MEMORY_FLOOR: usize = 48 << 20;
/// And for each of its bytes.
const MEMORY_PER_BYTE: usize = 64;
/// Time of the processor that any input may take. It is a few milliseconds for the largest.
const TIME: Duration = Duration::from_secs(5);
/// An input that has not ended after so long never will.
const NEVER: Duration = Duration::from_secs(120);
/// How the child ends that has told of failures: as no sanitizer and no panic ends it.
const TOLD: i32 = 33;
/// Failures that are told of before the run is given up.
const MOST_FAILURES: usize = 20;

#[derive(Clone, Debug, Default)]
struct Order {
    seed: u64,
    inputs: Option<u64>,
    seconds: Option<u64>,
    only: Option<u64>,
    kind: Option<String>,
    /// Of the child: where to say which input is being read.
    folder: Option<PathBuf>,
}

impl Order {
    fn read() -> Result<Self, Failure> {
        let drawn = SystemTime::UNIX_EPOCH.elapsed()?.as_nanos() as u64 % 1_000_000_000;
        let mut order = Self { seed: drawn, ..Self::default() };
        let mut args = std::env::args().skip(1);
        while let Some(name) = args.next() {
            let value = args.next().ok_or_else(|| format!("{name} wants a value"))?;
            match name.as_str() {
                "--seed" => order.seed = value.parse()?,
                "--inputs" => order.inputs = Some(value.parse()?),
                "--seconds" => order.seconds = Some(value.parse()?),
                "--only" => order.only = Some(value.parse()?),
                "--kind" => {
                    Kind::from_name(&value).ok_or_else(|| format!("no kind {value:?}"))?;
                    order.kind = Some(value);
                }
                "--folder" => order.folder = Some(value.into()),
                _ => return Err(format!("no option {name:?}").into()),
            }
        }
        Ok(order)
    }

    /// The generator of one input, and its kind: of nothing but the seed and the number.
    fn input(&self, number: u64) -> (Kind, Rng) {
        let mut rng =
            Rng::with_seed(self.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ number.wrapping_mul(0xD1B5_4A32_D192_ED03));
        let chosen = Kind::choose(&mut rng);
        (self.kind.as_deref().and_then(Kind::from_name).unwrap_or(chosen), rng)
    }
}

fn main() -> Result<ExitCode, Failure> {
    let order = Order::read()?;
    if let Some(folder) = &order.folder {
        return read_all(&order, folder);
    }
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let folder = tempfile::Builder::new().prefix("auditring-fuzz-").tempdir_in(folder)?;
    watch(&order, folder.path())
}

/// Runs the child that reads, and says which input it was if it does not end as it should.
fn watch(order: &Order, folder: &Path) -> Result<ExitCode, Failure> {
    let progress = File::create_new(folder.join("progress"))?;
    progress.write_all_at(&[0; 8], 0)?;
    let progress = File::open(folder.join("progress"))?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--seed", &order.seed.to_string()]).arg("--folder").arg(folder);
    for (name, value) in [("--inputs", order.inputs), ("--seconds", order.seconds), ("--only", order.only)] {
        if let Some(value) = value {
            command.args([name, &value.to_string()]);
        }
    }
    if let Some(kind) = &order.kind {
        command.args(["--kind", kind]);
    }
    let mut child = command.spawn()?;
    let at = || -> Result<u64, Failure> {
        let mut bytes = [0; 8];
        progress.read_exact_at(&mut bytes, 0)?;
        Ok(u64::from_le_bytes(bytes))
    };
    let (mut last, mut since) = (at()?, Instant::now());
    let why = loop {
        if let Some(status) = child.try_wait()? {
            match status.code() {
                Some(0) => return Ok(ExitCode::SUCCESS),
                Some(TOLD) => return Ok(ExitCode::FAILURE),
                _ => break format!("ended the process: {status}"),
            }
        }
        let now = at()?;
        if now != last {
            (last, since) = (now, Instant::now());
        } else if since.elapsed() > NEVER {
            end(&mut child)?;
            break "never came to an end".to_owned();
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    println!("input {} {why}; replay: --seed {} --only {}", at()?, order.seed, at()?);
    Ok(ExitCode::FAILURE)
}

fn end(child: &mut Child) -> Result<(), Failure> {
    child.kill()?;
    child.wait()?;
    Ok(())
}

/// The time of the processor that this thread has had.
fn spent() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// Reads all inputs.
fn read_all(order: &Order, folder: &Path) -> Result<ExitCode, Failure> {
    let mut kinds = Kinds::new(folder)?;
    let progress = File::options().write(true).open(folder.join("progress"))?;
    let said: &'static Mutex<String> = Box::leak(Box::default());
    std::panic::set_hook(Box::new(move |panic| {
        if let Ok(mut said) = said.lock() {
            said.clear();
            let _ = write!(said, "{panic}");
        }
    }));
    let mut table = Table::new(order.seed);
    let began = Instant::now();
    let (first, last) = match (order.only, order.inputs) {
        (Some(only), _) => (only, only + 1),
        (None, Some(inputs)) => (0, inputs),
        (None, None) => (0, u64::MAX),
    };
    let parent = parent_id();
    let until = order.seconds.map(|seconds| began + Duration::from_secs(seconds));
    for number in first..last {
        // Nobody watches any more: whoever did was killed.
        let alone = number % 1024 == 0 && parent_id() != parent;
        if alone || until.is_some_and(|until| Instant::now() >= until) {
            break;
        }
        progress.write_all_at(&number.to_le_bytes(), 0)?;
        let (kind, mut rng) = order.input(number);
        let (held, before) = (MEMORY.current_usage(), spent());
        MEMORY.reset_peak_usage();
        let verdict = catch_unwind(AssertUnwindSafe(|| kinds.one(kind, &mut rng)));
        let (peak, took) = (MEMORY.peak_usage().saturating_sub(held), spent().saturating_sub(before));
        let verdict = match verdict {
            Ok(verdict) => verdict,
            Err(_) => Err(said.lock().map_or_else(|_| "a panic".to_owned(), |said| said.clone())),
        };
        match verdict.and_then(|seen| bounded(seen, peak, took)) {
            Ok(seen) => table.add(kind, seen, peak, took),
            Err(why) if table.fail(kind, number, &why) >= MOST_FAILURES => break,
            Err(_) => {}
        }
    }
    table.print(began.elapsed());
    Ok(if table.failed() { ExitCode::from(TOLD as u8) } else { ExitCode::SUCCESS })
}

/// What an input may take.
fn bounded(seen: Seen, peak: usize, took: Duration) -> Result<Seen, String> {
    let most = MEMORY_FLOOR + MEMORY_PER_BYTE * seen.size;
    if peak > most {
        return Err(format!("{} bytes took {peak} bytes of memory, and at most {most} may", seen.size));
    }
    if took > TIME {
        return Err(format!("{} bytes took {took:?}", seen.size));
    }
    Ok(seen)
}
