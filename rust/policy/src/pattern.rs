//! How a rule names things: exactly, or by a glob.
//!
//! A text with `*` (any run of characters, also none) or `?` (one character) is a glob over the whole value; every other
//! text is the value itself. `\*`, `\?` and `\\` stand for `*`, `?` and `\`; before anything else a `\` is itself.

use wildmatch::WildMatchPattern;

/// What stands for the wildcards inside a pattern: noncharacters, which no text has.
const MANY: char = '\u{fdd0}';
const ONE: char = '\u{fdd1}';

/// One name.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pattern {
    /// As it was written.
    pub(crate) text: String,
    means: Means,
}

#[derive(Clone, Debug, PartialEq)]
enum Means {
    Exact(String),
    /// A glob with one `*`, at its end.
    Prefix(String),
    Glob(WildMatchPattern<MANY, ONE>),
}

impl Pattern {
    pub(crate) fn new(text: &str) -> Self {
        let mut plain = String::with_capacity(text.len());
        let mut wild = false;
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            plain.push(match c {
                '\\' => chars.next_if(|next| matches!(next, '*' | '?' | '\\')).unwrap_or('\\'),
                '*' | '?' => {
                    wild = true;
                    if c == '*' { MANY } else { ONE }
                }
                other => other,
            });
        }
        let prefix = plain.strip_suffix(MANY).filter(|rest| !rest.contains([MANY, ONE]));
        let means = match (wild, prefix) {
            (false, _) => Means::Exact(plain),
            (true, Some(prefix)) => Means::Prefix(prefix.to_owned()),
            (true, None) => Means::Glob(WildMatchPattern::new(&plain)),
        };
        Self { text: text.to_owned(), means }
    }

    /// The value that it names, where it names one.
    pub(crate) fn exact(&self) -> Option<&str> {
        match &self.means {
            Means::Exact(value) => Some(value),
            _ => None,
        }
    }

    pub(crate) fn matches(&self, value: &str) -> bool {
        match &self.means {
            Means::Exact(exact) => exact == value,
            Means::Prefix(prefix) => value.starts_with(prefix.as_str()),
            Means::Glob(glob) => glob.matches(value),
        }
    }
}

/// The pattern of exactly this value.
#[must_use]
pub fn literal(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, '*' | '?' | '\\') {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_the_value_itself_or_a_glob() {
        for (pattern, value, matches) in [
            ("orders", "orders", true),
            ("orders", "orders-2", false),
            ("orders-*", "orders-", true),
            ("orders-*", "orders-eu.1", true),
            ("*", "", true),
            ("*.dlq", "a.b.dlq", true),
            ("*.dlq", "a.dlq.b", false),
            ("v?", "v1", true),
            ("v?", "vé", true),
            ("v?", "v12", false),
            ("a*b?d", "a-b-bcd", true),
            (r"\*", "*", true),
            (r"\*", "x", false),
            (r"a\*b", "a*b", true),
            (r"a\*b", r"a\*b", false),
            (r"C:\logs", r"C:\logs", true),
            (r"C:\\logs", r"C:\logs", true),
            ("[ab]", "[ab]", true),
            ("", "", true),
        ] {
            assert_eq!(Pattern::new(pattern).matches(value), matches, "{pattern:?} on {value:?}");
        }
    }

    proptest! {
        #[test]
        fn the_literal_of_a_value_matches_it_and_nothing_else(value in r"[a*?\\\-]{0,8}", other in r"[a*?\\\-]{0,8}") {
            let pattern = Pattern::new(&literal(&value));
            prop_assert_eq!(pattern.exact(), Some(value.as_str()));
            prop_assert_eq!(pattern.matches(&other), value == other);
        }
    }
}
