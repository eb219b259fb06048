//! Cells' names, and the set of counters.

use auditring_journal::counters::{Name, edge_reported, edge_seen, journaled, name};
use auditring_journal::{Counters, Tally, counters};

#[test]
fn every_cell_has_a_name_of_its_own() {
    let mut all = std::collections::HashSet::new();
    for code in [0, 1, 767, 768, 1023, 4095] {
        for outcome in 0..8 {
            for primary in [false, true] {
                let cell = journaled(code, outcome, primary);
                assert_eq!(name(cell), Name::Journaled { code, outcome, primary });
                assert!(all.insert(cell));
            }
            for lane in [0, 1, 255] {
                for kind in 0..3 {
                    for (reported, cell) in [
                        (false, edge_seen(lane, code, outcome, kind)),
                        (true, edge_reported(lane, code, outcome, kind)),
                    ] {
                        assert_eq!(name(cell), Name::Edge { reported, lane, code, outcome, kind });
                        assert!(all.insert(cell));
                    }
                }
            }
        }
    }
    assert_eq!(name(counters::TORN), Name::Plain(counters::TORN));
    assert_eq!(name(u32::MAX), Name::Unknown(u32::MAX));
}

#[test]
fn changed_cells_stay_changed_until_they_are_written() {
    let mut set = Counters::default();
    set.set(counters::TORN, 3);
    set.add(counters::BORN, 2);
    set.set(counters::CLAIMED, 0);
    assert_eq!(set.changed(), [(counters::TORN, 3), (counters::BORN, 2)]);
    set.add(counters::TORN, 1); // the append failed, and more came
    assert_eq!(set.changed(), [(counters::TORN, 4), (counters::BORN, 2)]);
    set.written();
    assert_eq!(set.changed(), []);
    set.set(counters::TORN, 4);
    assert_eq!(set.changed(), [], "the same value is no change");
}

#[test]
fn counters_come_back_from_their_cells() {
    let mut set = Counters::default();
    set.set(edge_seen(0, 3, 0, 1), 5);
    set.set(edge_seen(2, 4, 0, 1), 6);
    set.set(edge_reported(2, 4, 0, 1), 2);
    let back = Counters::from_cells(&set.all());
    assert_eq!(back, set);
    assert_eq!((back.edge_total(1, false), back.edge_total(1, true), back.edge_total(0, false)), (11, 2, 0));
}

#[test]
fn a_tally_adds_up_per_kind_of_row() {
    let (mut tally, mut set) = (Tally::default(), Counters::default());
    for _ in 0..3 {
        tally.row(5, 0, true);
    }
    tally.row(1023, 4, false);
    tally.drain(&mut set);
    tally.row(5, 0, true);
    tally.clear();
    tally.drain(&mut set);
    assert_eq!(set.all(), [(journaled(5, 0, true), 3), (journaled(1023, 4, false), 1)]);
}
