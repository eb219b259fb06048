//! The contexts section.

use auditring_journal::contexts::{Context, iter, push};

#[test]
fn entries_come_back_whatever_their_length() {
    let bytes: Vec<Vec<u8>> = (0..20).map(|len| vec![0xab; len]).collect();
    let mut section = Vec::new();
    for (index, bytes) in bytes.iter().enumerate() {
        push(&mut section, index as u32, 1 << 40 | index as u64, bytes);
        assert_eq!(section.len() % 8, 0);
    }
    let expected: Vec<_> = bytes
        .iter()
        .enumerate()
        .map(|(index, bytes)| Some(Context { index: index as u32, id: 1 << 40 | index as u64, bytes }))
        .collect();
    assert_eq!(iter(&section).collect::<Vec<_>>(), expected);
}

#[test]
fn a_cut_section_ends_with_none() {
    let mut section = Vec::new();
    push(&mut section, 0, 1, b"first");
    let whole = section.len();
    push(&mut section, 1, 2, b"second");
    for cut in whole + 1..section.len() {
        let found: Vec<_> = iter(&section[..cut]).collect();
        assert_eq!(found.len(), 2);
        assert!(found[0].is_some() && found[1].is_none());
    }
}
