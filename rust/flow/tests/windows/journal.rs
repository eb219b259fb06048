//! A journal of events at ages of our own, and the rows that a follower makes of it.

use std::path::Path;
use std::sync::Arc;

use auditring_event::record::{Encoder, FIRST_TOUCH, RecordView};
use auditring_event::row::{NO_CONTEXT, from_record};
use auditring_event::{Column, Context, Outcome, RowSet, by_name, event::Event};
use auditring_flow::{Batch, Declined, Follower, Form, Progress};
use auditring_journal::{Anchor, BatchFlags, BatchMeta, SegmentHead, Writer, contexts};

pub(crate) const PROCESS: [u8; 16] = [7; 16];
/// Where the wall clock stands at age 0: a thousand seconds before midnight.
pub(crate) const EPOCH: i64 = 20_000 * 86_400_000_000_000 - 1_000_000_000_000;
pub(crate) const S: i64 = 1_000_000_000;

/// An event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sent {
    pub(crate) action: &'static str,
    /// 0: of no session.
    pub(crate) session: usize,
    /// Which of the session's contexts: one a broker.
    pub(crate) broker: usize,
    pub(crate) topic: &'static str,
    pub(crate) partition: i64,
    pub(crate) offsets: Option<(i64, i64)>,
    pub(crate) records: Option<i64>,
    pub(crate) correlation: Option<i64>,
    pub(crate) tap: Option<&'static str>,
    pub(crate) group: Option<&'static str>,
    pub(crate) failed: bool,
    pub(crate) touch: bool,
    pub(crate) age_ns: i64,
}

impl Sent {
    pub(crate) fn new(action: &'static str, age_ns: i64) -> Self {
        Self {
            action,
            session: 1,
            broker: 0,
            topic: "orders",
            partition: 0,
            offsets: None,
            records: None,
            correlation: None,
            tap: None,
            group: None,
            failed: false,
            touch: false,
            age_ns,
        }
    }

    /// A Read of so many records.
    pub(crate) fn read(age_ns: i64, first: i64, last: i64) -> Self {
        Self { offsets: Some((first, last)), records: Some(last + 1 - first), ..Self::new("Read", age_ns) }
    }

    fn record(&self) -> Vec<u8> {
        let mut event = Encoder::new(by_name(self.action).unwrap());
        match self.action {
            "Read" | "Write" | "Delete" => {
                event.text("topic", self.topic).int("partition", self.partition);
            }
            "OperationAllowed" => {
                event.text("operation", "READ").text("resource_type", "Topic").text("resource", self.topic);
            }
            _ => {}
        }
        if let Some((first, last)) = self.offsets {
            event.int("first_offset", first).int("last_offset", last);
        }
        if let Some(records) = self.records {
            event.int("records", records);
        }
        if let Some(id) = self.correlation {
            event.int("client_correlation_id", id);
        }
        if let Some(group) = self.group {
            event.text(if self.action == "Write" { "transactional_id" } else { "group_id" }, group);
        }
        if let Some(tap) = self.tap {
            event.tap(tap);
        }
        if self.failed {
            event.outcome(Outcome::Failure).status("ReadFailed");
        }
        event.to_vec()
    }

    fn context(&self) -> Option<usize> {
        (self.session > 0).then(|| (self.session - 1) * 2 + self.broker)
    }
}

/// The context of a session's client, or of its connection to a broker.
pub(crate) fn context(at: usize) -> Context {
    Context {
        session: Some(format!("s{}", at / 2 + 1)),
        principal: Some("alice".into()),
        server: (at % 2 == 1).then(|| "broker-1:9092".into()),
        ..Context::default()
    }
}

/// The journal.
pub(crate) struct Journal {
    pub(crate) folder: tempfile::TempDir,
    writer: Writer,
    next: BatchMeta,
    told: Vec<bool>,
}

impl Journal {
    pub(crate) fn new(policy: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let head = SegmentHead { process: PROCESS, policy: policy.into(), ..SegmentHead::default() };
        let writer = Writer::create(folder.path(), &head).unwrap();
        let next = BatchMeta { flags: BatchFlags::BIRTH, process: PROCESS, ..BatchMeta::default() };
        Self { folder, writer, next, told: Vec::new() }
    }

    /// A batch of these events, or, at an age, of none.
    pub(crate) fn batch(&mut self, events: &[Sent], age_ns: i64, flags: BatchFlags) {
        let (mut rows, mut told) = (Vec::new(), Vec::new());
        for event in events {
            let at = event.context();
            // A segment numbers its contexts from 0 on, without a hole.
            for new in self.told.len()..at.map_or(0, |at| at + 1) {
                let mut bytes = Vec::new();
                context(new).encode(&mut bytes);
                contexts::push(&mut told, new as u32, new as u64 + 1, &bytes);
                self.told.push(true);
            }
            let record = event.record();
            let flags = if event.touch { FIRST_TOUCH } else { 0 };
            let at = at.map_or(NO_CONTEXT, |at| at as u32);
            let time_ns = EPOCH + event.age_ns;
            from_record(&RecordView::parse(&record).unwrap(), at, time_ns, event.age_ns, flags, &mut rows);
        }
        let meta = BatchMeta {
            flags: self.next.flags | flags,
            rows: events.len() as u32,
            anchor: Anchor { stamp: 0, mono_ns: age_ns, real_ns: EPOCH + age_ns },
            ..self.next.clone()
        };
        self.writer.append(&meta, &told, b"", &rows).unwrap();
        self.next = BatchMeta {
            flags: BatchFlags::NONE,
            batch_no: self.next.batch_no + 1,
            first_seq: self.next.first_seq + events.len() as i64,
            ..self.next.clone()
        };
    }

    /// One batch of all events.
    pub(crate) fn of(policy: &str, events: &[Sent]) -> Self {
        let mut journal = Self::new(policy);
        journal.batch(events, 0, BatchFlags::NONE);
        journal
    }

    pub(crate) fn end(&mut self, age_ns: i64) {
        self.batch(&[Sent { session: 0, ..Sent::new("ProxyCleanShutdown", age_ns) }], age_ns, BatchFlags::FINAL_CLEAN);
    }

    pub(crate) fn roll(&mut self) {
        let head = self.writer.next_head();
        self.writer.roll(&head).unwrap();
        self.told.clear();
    }

    pub(crate) fn dir(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn follow(&self, sink: &str, form: Form) -> Follower {
        Follower::open(self.dir(), sink, Declined::default(), form, Arc::new(Progress::default())).unwrap()
    }
}

/// A row as a reader sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Row {
    pub(crate) seq: i64,
    pub(crate) count: i64,
    pub(crate) action: String,
    pub(crate) session: Option<String>,
    pub(crate) topic: Option<String>,
    pub(crate) partition: Option<i64>,
    pub(crate) offsets: Option<(i64, i64)>,
    pub(crate) records: Option<i64>,
    pub(crate) correlation: Option<i64>,
    /// Ages.
    pub(crate) begin_ns: i64,
    pub(crate) end_ns: Option<i64>,
}

pub(crate) fn shown(set: &RowSet) -> Vec<Row> {
    let row = |at| {
        let event = Event::of(set, at).unwrap();
        let text = |column| event.text(column).map(str::to_owned);
        let int = |column| event.int(column);
        Row {
            seq: int(Column::Seq).unwrap(),
            count: int(Column::Count).unwrap(),
            action: text(Column::Action).unwrap(),
            session: text(Column::Session),
            topic: text(Column::Resource),
            partition: int(Column::Partition),
            offsets: int(Column::FirstOffset).zip(int(Column::LastOffset)),
            records: int(Column::Records),
            correlation: int(Column::ClientCorrelationId),
            begin_ns: int(Column::AgeNs).unwrap(),
            end_ns: int(Column::EndTime).map(|time_ns| time_ns - EPOCH),
        }
    };
    set.rows.iter().map(row).collect()
}

pub(crate) fn rows(batch: &Batch) -> Vec<Row> {
    shown(&batch.set)
}

/// Everything that a follower hands out of what is there, window after window.
pub(crate) fn drained(follower: &mut Follower) -> Vec<Row> {
    let mut all = Vec::new();
    while let Some(batch) = follower.next(1 << 20, std::time::Duration::ZERO, true).unwrap() {
        all.extend(rows(&batch));
    }
    all
}
