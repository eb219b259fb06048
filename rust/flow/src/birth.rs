//! The birth of a process: directory, ring, first segment, `ProxyStartup`; only then may anything be emitted.

use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use auditring_event::record::Encoder;
use auditring_event::{CODES, SCHEMA_VERSION, named};
use auditring_journal::{Follower, Followers, Owner, ProcessDir, SegmentHead, Writer, in_memory, purge};
use auditring_policy::{Key, Policy, Redactor, redactions};
use auditring_ring::{Clock, Geometry, Identity, Ring, boot_id};
use uuid::Uuid;

use crate::Error;
use crate::policies::hex;
use crate::timeline::journaled;

/// What a host says of itself and wants.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The audit directory.
    pub root: PathBuf,
    /// Which proxy.
    pub instance: String,
    /// Which machine.
    pub host: String,
    /// The log's policy in its journaled form.
    pub policy: Vec<u8>,
    /// The sinks that hold the journal: each by its name, with its own policy in its journaled form, empty without one.
    pub sinks: Vec<(String, Vec<u8>)>,
    /// Those of them for which the pump stops at the journal's budget; for the others segments are let go.
    pub required: Vec<String>,
    /// Those that are left to an agent, which brings them what the journal holds for them.
    pub by_agent: Vec<String>,
    /// The tap that totals and metrics count; none: all.
    pub primary_tap: Option<String>,
    /// Where the ring lies; none: `/dev/shm`, or the audit directory where that is not to be had.
    pub ring_dir: Option<PathBuf>,
    /// Bytes of records that the ring holds, a power of two; its lanes share them.
    pub ring_bytes: u32,
    /// Lanes of the ring: as many as threads that emit at the same moment.
    pub lanes: u32,
    /// What `ProxyStartup` says beside what is known here: fields of the catalog and their values.
    pub startup: Vec<(String, String)>,
    /// The key by which the log's policy hashes what it redacts.
    pub key: Option<Key>,
}

/// A process that has been born.
#[derive(Debug)]
pub struct Born {
    /// Its UUID.
    pub process: Uuid,
    /// Its directory, held.
    pub dir: ProcessDir,
    /// Its ring.
    pub ring: Arc<Ring>,
    /// Its clock.
    pub clock: Clock,
    /// The first segment, without the birth batch.
    pub(crate) writer: Writer,
    /// `ProxyStartup`, to be the birth batch's row.
    pub(crate) startup: Vec<u8>,
    /// What redacts, where the log's policy does.
    pub(crate) redactor: Option<Redactor>,
}

/// Where rings lie when nobody says: tmpfs, so that no page of a ring is ever written to a disk.
const TMPFS: &str = "/dev/shm";

/// A lane takes a sixteenth of itself in one record, and none has to take more than 64 KiB.
const LEAST_LANE: u32 = 1 << 20;
/// More than these the ring refuses.
const MOST_LANES: u32 = 64;

/// Whether process 1 here takes `/dev/shm` with it when it dies, as in a container.
fn in_container() -> bool {
    Path::new("/.dockerenv").exists()
        || Path::new("/run/.containerenv").exists()
        || std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
}

pub(crate) fn text(bytes: [u8; 16]) -> String {
    Uuid::from_bytes(bytes).to_string()
}

/// What a process's ring is called, wherever it lies.
pub(crate) fn ring_name(process: &Uuid) -> String {
    format!("auditring-{process}.ring")
}

fn owner(settings: &Settings, process: Uuid, boot: [u8; 16], ring_path: PathBuf) -> Owner {
    Owner {
        process: process.to_string(),
        instance: settings.instance.clone(),
        host: settings.host.clone(),
        pid: std::process::id(),
        boot_id: text(boot),
        machine_id: machine_id(),
        ring_path,
        redact: String::new(),
        dir: std::path::absolute(&settings.root).unwrap_or_default().join("journal").join(process.to_string()),
    }
}

/// Which machine this is; empty where it does not say.
pub(crate) fn machine_id() -> String {
    std::fs::read_to_string("/etc/machine-id").unwrap_or_default().trim().to_owned()
}

/// The audit directory, and what has to be made above it, for their owner alone, whatever the umask. One that is there stays as
/// it is: whoever made it has decided who may look into it.
fn make_root(root: &Path) -> Result<(), Error> {
    let failed = |source| Error::Io { what: "create the audit directory", path: root.to_owned(), source };
    let missing: Vec<&Path> =
        root.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.is_dir()).collect();
    for path in missing.into_iter().rev() {
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => std::fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(failed)?,
            // Somebody was faster.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && path.is_dir() => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(())
}

impl Settings {
    /// Lanes of equal size; never so small that an event of the catalog's caps, which the whole would take, finds no room.
    fn geometry(&self) -> Geometry {
        let share = self.ring_bytes / self.lanes.clamp(1, MOST_LANES).next_power_of_two();
        let lane_bytes = share.max(self.ring_bytes.min(LEAST_LANE));
        Geometry {
            lanes: self.lanes,
            lane_bytes,
            max_record: (lane_bytes / 16).min(1 << 16),
            reserve: lane_bytes / 4,
            codes: CODES as u32,
        }
    }
}

impl Born {
    /// Makes everything that a process needs. When this fails nothing of it is left behind but empty folders.
    ///
    /// # Errors
    /// [`Error`] names the path and what the system said.
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        let policy = Policy::parse(&settings.policy)?;
        let redactor = Redactor::new(&policy, settings.key.clone());
        if redactor.is_none() && !policy.redact.is_empty() {
            return Err(Error::RedactionKey);
        }
        for (_, policy) in settings.sinks.iter().filter(|(_, policy)| !policy.is_empty()) {
            Policy::parse(policy)?;
        }
        let boot = boot_id().map_err(|source| {
            let what = "learn which boot this is, to open";
            Error::Io { what, path: settings.root.clone(), source }
        })?;
        make_root(&settings.root)?;
        purge(&settings.root)?;
        let process = Uuid::new_v4();
        let clock = Clock::detect();
        let birth = clock.anchor();
        let (ring_dir, fallback) = match &settings.ring_dir {
            Some(dir) => (dir.clone(), None),
            // What is to be redacted stands in the ring as it is: no disk may have that, also where tmpfs goes sooner.
            None if redactor.is_some() => (PathBuf::from(TMPFS), None),
            None if in_container() || !Path::new(TMPFS).is_dir() => (settings.root.clone(), None),
            None => (PathBuf::from(TMPFS), Some(settings.root.clone())),
        };
        let name = ring_name(&process);
        let identity = Identity { process: *process.as_bytes(), boot_id: boot, generation: 0, pid: std::process::id() };
        let geometry = settings.geometry();
        // The directory first: whoever finds it knows where to look for the ring, so that none is left behind unknown.
        let mut owner =
            Owner { redact: redactions(&settings.policy)?, ..owner(settings, process, boot, ring_dir.join(&name)) };
        let dir = ProcessDir::create(&settings.root, &owner)?;
        let make = |path: &Path| Ring::create(path, &geometry, &identity, clock.kind(), &birth);
        let ring = match (make(&owner.ring_path), fallback) {
            (Ok(ring), _) => Ok(ring),
            // A small tmpfs is no reason not to audit: slower tails, but it survives.
            (Err(_), Some(fallback)) => {
                owner.ring_path = fallback.join(&name);
                owner.store(&dir).map_err(Error::from).and_then(|()| Ok(make(&owner.ring_path)?))
            }
            (Err(error), None) => Err(error.into()),
        };
        // What is asked is the ring itself, not where it was to lie.
        let ring = ring.and_then(|ring| {
            if redactor.is_none() || in_memory(ring.path()) {
                return Ok(ring);
            }
            let _ = ring.unlink();
            Err(Error::NotInMemory(ring.path().to_owned()))
        });
        let made = ring.and_then(|ring| match Self::journal(settings, &dir, process, boot, clock, birth) {
            Ok(rest) => Ok((ring, rest)),
            Err(error) => {
                // What is told is why it failed; what cannot even be removed is found by the next opener's recovery.
                let _ = ring.unlink();
                Err(error)
            }
        });
        match made {
            Ok((ring, (writer, startup))) => {
                Ok(Self { process, dir, ring: Arc::new(ring), clock, writer, startup, redactor })
            }
            Err(error) => {
                let _ = dir.remove();
                Err(error)
            }
        }
    }

    fn journal(
        settings: &Settings,
        dir: &ProcessDir,
        process: Uuid,
        boot: [u8; 16],
        clock: Clock,
        birth: auditring_ring::Anchor,
    ) -> Result<(Writer, Vec<u8>), Error> {
        let entries = settings.sinks.iter().map(|(name, policy)| Follower {
            name: name.clone(),
            since_seq: 0,
            policy: policy.clone(),
            policy_since: 0,
            required: settings.required.contains(name),
            by_agent: settings.by_agent.contains(name),
        });
        Followers { entries: entries.collect() }.store(dir.path())?;
        let birth = journaled(birth);
        let head = SegmentHead {
            schema_version: SCHEMA_VERSION,
            process: *process.as_bytes(),
            boot_id: boot,
            instance: settings.instance.clone(),
            host: settings.host.clone(),
            pid: std::process::id(),
            clock: clock.kind() as u32,
            birth,
            anchor: birth,
            policy: settings.policy.clone(),
            policy_digest: Policy::digest(&settings.policy),
            primary_tap: settings.primary_tap.clone(),
            ..SegmentHead::default()
        };
        let writer = Writer::create(dir.path(), &head)?;
        let mut startup = Encoder::new(const { named("ProxyStartup") });
        startup
            .text("version", env!("CARGO_PKG_VERSION"))
            .int("pid", i64::from(std::process::id()))
            .text("boot_id", &text(boot))
            .text("clock", if clock.kind() == auditring_ring::ClockKind::Tsc { "tsc" } else { "monotonic" })
            .int("schema_version", SCHEMA_VERSION.into())
            .text("policy_digest", &hex(&Policy::digest(&settings.policy)));
        for (name, value) in &settings.startup {
            startup.text(name, value);
        }
        Ok((writer, startup.to_vec()))
    }
}
