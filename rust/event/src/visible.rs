//! Text made safe to look at. What is in an audit log was written by whoever was audited.
//!
//! What must always hold: nothing that comes out of here moves the cursor, changes a colour, reverses the text around it or
//! hides in it; and what stands for itself stays. The command line holds to the same set of characters.

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// Whether a character acts on its surroundings instead of standing for itself: controls, format marks (bidirectional
/// overrides, zero-width joiners, tags), separators of lines and paragraphs, private use.
#[must_use]
pub fn acts(c: char) -> bool {
    !(' '..='~').contains(&c)
        && matches!(
            c.general_category(),
            GeneralCategory::Control
                | GeneralCategory::Format
                | GeneralCategory::LineSeparator
                | GeneralCategory::ParagraphSeparator
                | GeneralCategory::PrivateUse
                | GeneralCategory::Surrogate
        )
}

/// Appends text in which acting characters are shown as their escapes: `\x1b`, `\u202e`, `\U000e0041`.
pub fn visible(out: &mut Vec<u8>, text: &str) {
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    for c in text.chars() {
        let code = u32::from(c);
        if !acts(c) {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        } else if code < 0x100 {
            out.extend_from_slice(format!("\\x{code:02x}").as_bytes());
        } else if code < 0x1_0000 {
            out.extend_from_slice(format!("\\u{code:04x}").as_bytes());
        } else {
            out.extend_from_slice(format!("\\U{code:08x}").as_bytes());
        }
    }
}

/// JSON lines in which acting characters are escaped as JSON escapes them: they mean the same, and are safe on a terminal.
#[must_use]
pub fn visible_json(lines: Vec<u8>) -> Vec<u8> {
    // Below are only the ends of lines: in a string of JSON a control character is an escape already.
    if lines.chunks(64).all(is_plain) {
        return lines;
    }
    let mut out = Vec::with_capacity(lines.len() + 64);
    for chunk in lines.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c != '\n' && acts(c) {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
                }
            } else {
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
    }
    out
}

/// Whether all bytes are below 0x7f. Without a way out in the middle, so that the compiler takes many at once.
fn is_plain(bytes: &[u8]) -> bool {
    bytes.iter().fold(0, |seen, byte| seen | byte | byte.wrapping_add(1)) & 0x80 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let mut out = Vec::new();
        visible(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_stands_for_itself_stays_and_what_acts_is_shown() {
        assert_eq!("päth 日本 e\u{301} ok", shown("päth 日本 e\u{301} ok"));
        let acting = "\0\t\u{1b}\u{7f}\u{9b}\u{202e}\u{2066}\u{200b}\u{2028}\u{feff}\u{e000}\u{e0041}";
        let escapes = r"\x00\x09\x1b\x7f\x9b\u202e\u2066\u200b\u2028\ufeff\ue000\U000e0041";
        assert_eq!(escapes, shown(acting));
    }

    #[test]
    fn lines_mean_the_same_and_stay_lines() {
        let text = "a\u{9b}\u{202e}\u{e0041}\u{7f}é";
        let mut line = serde_json::to_vec(&text).unwrap();
        line.extend_from_slice(b"\n\"second\"\n");
        let safe = String::from_utf8(visible_json(line)).unwrap();
        assert!(safe.chars().all(|c| c == '\n' || !acts(c)), "{safe}");
        let lines: Vec<String> = safe.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!([text, "second"], lines[..]);
    }
}
